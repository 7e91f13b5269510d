"""What estimating works with: ceilings of a device, what a net does, and what is said of another machine.

Times in seconds, sizes in bytes, FLOP counting a multiply-add as two.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hwdiag.model import Value

DType = Literal["float32", "bfloat16", "int8"]
WIDTH: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
"""Bytes of one element."""


class Ceiling(Value):
    """The most that this device reached of something in this run."""

    device: str
    kind: Literal["compute", "memory"]
    dtype: str
    """``float32``, ``bfloat16``; for memory the type of the arrays."""
    value: float
    """FLOP/s, or bytes/s (read plus written)."""
    workload: str
    measurement: str
    """The process whose median it is: the fastest one."""


class NetSpec(Value):
    """A net, and how it is run once."""

    net: str
    """A name of ``hwdiag.estimate.nets``, or ``module:function`` of the person's own."""
    batch: int = Field(1, ge=1)
    phase: Literal["prefill", "decode"] = "prefill"
    """``decode``: one token more, with ``tokens`` in the cache."""
    tokens: int | None = Field(None, ge=1)
    """None for the net's own default; images take ``side`` in its place."""
    side: int | None = Field(None, ge=32)
    """Height and width of an image in pixels."""
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def title(self) -> str:
        """``gpt2 decode, 128 tokens, batch 4``."""
        parts = [f"{self.net} decode" if self.phase == "decode" else self.net]
        parts += [f"{self.tokens} tokens"] if self.tokens else []
        parts += [f"{self.side} x {self.side}"] if self.side else []
        parts += [f"batch {self.batch}"] if self.batch > 1 else []
        return ", ".join(parts)


Kind = Literal[
    "gemm",
    "conv",
    "attention",
    "attention-causal",
    "norm",
    "softmax",
    "reduce",
    "pool",
    "copy",
    "gather",
    "create",
    "slow",
    "pointwise",
]
"""Class of an operation. ``slow``: element by element with a transcendental function, ``pointwise``: without."""
MATRIX: tuple[Kind, ...] = ("gemm", "conv", "attention", "attention-causal")
"""Classes whose floating-point operations are counted: they are nearly all of a net's."""


class Operation(Value):
    """Operations of one shape."""

    kind: Kind
    name: str
    """PyTorch's name, ``addmm``."""
    dtype: str
    dims: tuple[int, ...] = ()
    """``gemm``: batches, rows, inner, columns; ``conv``: images, in, out, kernel elements, output pixels, groups,
    stride; ``attention``: batches times heads, queries, keys, width of a key, width of a value."""
    flops: float
    """Of one; 0 outside ``MATRIX``."""
    weight_bytes: float
    """Weights read by one; of an embedding the rows that are."""
    read_bytes: float
    written_bytes: float
    strided: bool = False
    """Whether an operand is not contiguous."""
    times: int

    @property
    def bytes(self) -> float:
        """All bytes that one reads and writes."""
        return self.weight_bytes + self.read_bytes + self.written_bytes


class Uncounted(Value):
    """Operations whose class is not known; few, or the count would have been refused."""

    name: str
    times: int
    bytes: float


class Count(Value):
    """What a net does in one run, operation by operation."""

    spec: NetSpec
    parameters: int
    operations: tuple[Operation, ...]
    uncounted: tuple[Uncounted, ...] = ()
    weights_bytes: float
    """All parameters and buffers, each once."""
    touched_bytes: float
    """Those of them that one run reads: a mixture of experts reads its active ones, an embedding a few rows."""
    kv_bytes: float = 0
    """Keys and values in the cache, for a decoding step."""
    modules: int = 0
    """Calls of modules."""
    took_s: float | None = None
    peak_rss_bytes: int | None = None
    """Of the counting process, torch itself included."""

    @property
    def flops(self) -> float:
        """FLOP of one run: products, convolutions and attention."""
        return sum(o.flops * o.times for o in self.operations)

    @property
    def unfused_bytes(self) -> float:
        """What all operations together read and write if none is fused with its neighbour."""
        return sum(o.bytes * o.times for o in self.operations)

    @property
    def least_bytes(self) -> float:
        """What no fusion can spare: weights and cache once, and what products read and write of activations."""
        rows = (o for o in self.operations if o.kind in ("gemm", "conv"))
        return self.touched_bytes + self.kv_bytes + sum(o.written_bytes * o.times for o in rows)

    @property
    def calls(self) -> int:
        """Operators that are started, views left out."""
        return sum(o.times for o in self.operations)
