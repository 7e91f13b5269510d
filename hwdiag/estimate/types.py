"""The numeric types in which people publish speeds: what they compute in, and the bytes of weights and activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hwdiag.catalogue.parts import Part
from hwdiag.core.choices import EstimateType

Width = Literal["32 bits", "16 bits", "8 bits", "weights alone"]
"""By which the share of the peak that software reaches differs."""


@dataclass(frozen=True)
class NumericType:
    """One way to hold and multiply numbers."""

    weight_bits: float
    """Of one weight, with its share of the scales of its group."""
    activation_bytes: float
    width: Width
    arithmetic: tuple[str, ...]
    """Types of the catalogue that it may be computed in, the best first."""
    on_cpu: tuple[str, ...] | None = None
    """On CPUs, where it differs."""

    def computed_in(self, part: Part) -> str | None:
        """Return the first of its arithmetic types that the part has; None where it has none."""
        order = self.on_cpu if part.kind == "cpu" and self.on_cpu else self.arithmetic
        return next((name for name in order if part.peak(name) is not None), None)

    @property
    def weight_bytes(self) -> float:
        """Return the bytes of one weight."""
        return self.weight_bits / 8


TYPES: dict[EstimateType, NumericType] = {
    "float32": NumericType(32, 4, "32 bits", ("float32",)),
    "bfloat16": NumericType(16, 2, "16 bits", ("bfloat16", "float16"), ("bfloat16",)),
    "float16": NumericType(16, 2, "16 bits", ("float16", "bfloat16", "float32"), ("float16", "float32")),
    "float8": NumericType(8, 1, "8 bits", ("float8",)),
    "int8": NumericType(8, 1, "8 bits", ("int8",)),
    # Groups of 32 weights with a scale of 16 bits (Q8_0 and Q4_0 of llama.cpp), multiplied in 16 bits on GPUs; CPUs
    # quantise the activations and multiply integers.
    "int8-weights": NumericType(8.5, 2, "weights alone", ("float16", "bfloat16", "int8"), ("int8", "float32")),
    "int4-weights": NumericType(4.5, 2, "weights alone", ("float16", "bfloat16", "int8"), ("int8", "float32")),
}
FALLBACK: dict[str, tuple[EstimateType, ...]] = {
    "cpu": ("bfloat16", "float32"), "gpu": ("bfloat16", "float16", "float32"),
}  # fmt: skip
"""What is estimated on a part that lacks the type that was asked for."""
