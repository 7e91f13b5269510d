"""Matrix products and convolutions in a trace of torch.profiler: their sizes, their types and the rates they reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import prod
from statistics import median
from typing import Any

from hwdiag.core.outside import parse_json
from hwdiag.core.value import Value
from hwdiag.process.trace_events import argument

MOST_HEAVY = 8
WIDTHS = {"float": 4, "double": 8, "c10::BFloat16": 2, "c10::Half": 2}
"""Bytes of one number, by the profiler's name of its type."""


class HeavyOperation(Value):
    """All calls of one matrix product or convolution with inputs of the same sizes and types."""

    name: str
    dims: tuple[tuple[int, ...], ...]
    """Of its inputs."""
    types: tuple[str, ...]
    """``float``, ``c10::BFloat16`` ..."""
    concrete: tuple[str, ...]
    """Its other arguments, as the profiler writes them."""
    calls: int
    seconds: float
    """Of all calls, with what they called in turn."""
    flop: float
    """Of one call; a multiplication with its addition counts two."""
    median_s: float = 0.0
    """Of one call: half of them took longer."""
    bytes: float = 0.0
    """Of the inputs of one call, each counted once."""

    @property
    def rate(self) -> float:
        """Return the achieved rate, FLOP/s."""
        return self.flop * self.calls / self.seconds if self.seconds else 0.0


def heavy_operations(work: Sequence[dict[str, Any]]) -> tuple[HeavyOperation, ...]:
    """Return the matrix products and convolutions on the CPU that took longest, by sizes and types of their inputs."""
    groups: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for event in work:
        if event["cat"] == "cpu_op" and event["name"] in FLOP:
            dims, types, concrete = (argument(event, name) for name in ("Input Dims", "Input type", "Concrete Inputs"))
            words = concrete if isinstance(concrete, list) else ()
            if isinstance(dims, list) and isinstance(types, list):
                key = (event["name"], frozen(dims), tuple(map(str, types)), tuple(map(str, words)))
                groups[key].append(event["dur"])
    longest = sorted(groups, key=lambda k: sum(groups[k]), reverse=True)[:MOST_HEAVY]
    found = []
    for key in longest:
        name, dims, types, concrete = key
        try:
            flop = FLOP[name](dims, concrete)
        except (ArithmeticError, IndexError, ValueError, TypeError):
            continue
        seconds = sum(groups[key]) / 1e6
        found.append(
            HeavyOperation(
                name=name,
                dims=dims,
                types=types[: len(dims)],
                concrete=tuple(c[:100] for c in concrete),
                calls=len(groups[key]),
                seconds=seconds,
                flop=flop,
                median_s=median(groups[key]) / 1e6,
                bytes=float(sum(prod(d) * WIDTHS.get(t, 0) for d, t in zip(dims, types, strict=False) if d)),
            )
        )
    return tuple(found)


def frozen(dims: list[Any]) -> tuple[tuple[int, ...], ...]:
    """Return sizes of tensors; a list of tensors, or none, has none."""
    return tuple(tuple(d) if isinstance(d, list) and all(isinstance(n, int) for n in d) else () for d in dims[:12])


def product_flop(a: Sequence[int], b: Sequence[int]) -> float:
    """Return the operations of a product of matrices, or of batches of them."""
    return 2.0 * prod(a) * b[-1]


def convolution_flop(dims: Sequence[Sequence[int]], concrete: Sequence[str]) -> float:
    """Return the operations of a convolution that is not transposed."""
    x, weight = dims[0], dims[1]
    stride, padding, dilation = (parse_json(concrete[i]) for i in (3, 4, 5))
    if concrete[6] == "True":
        return float(2 * prod(x) * prod(weight[1:]))
    each = range(len(weight) - 2)
    out = [(x[2 + i] + 2 * padding[i] - dilation[i] * (weight[2 + i] - 1) - 1) // stride[i] + 1 for i in each]
    return float(2 * x[0] * prod(out) * prod(weight))


FLOP: dict[str, Callable[[Sequence[Sequence[int]], Sequence[str]], float]] = {
    "aten::mm": lambda dims, _: product_flop(dims[0], dims[1]),
    "aten::bmm": lambda dims, _: product_flop(dims[0], dims[1]),
    "aten::addmm": lambda dims, _: product_flop(dims[1], dims[2]),
    "aten::baddbmm": lambda dims, _: product_flop(dims[1], dims[2]),
    "aten::convolution": convolution_flop,
}
"""Floating-point operations of one call, by its inputs' sizes."""
