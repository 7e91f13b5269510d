"""Counting a net's operations in a child that has torch: the parent's side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.value import Value
from hwdiag.process.net_child import ask_once

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


class NetSpec(Value):
    """A net, and how it is run once."""

    net: str
    """A name of ``hwdiag.agent.nets``, or ``module:function`` of the person's own."""
    batch: int = Field(1, ge=1)
    resize: bool = False
    """Of a net of the person's own: whether its inputs are made as long as ``batch``; else it brings its own."""
    phase: Literal["prefill", "decode"] = "prefill"
    """``decode``: one token more, with ``tokens`` in the cache."""
    tokens: int | None = Field(None, ge=1)
    """None for the net's own default; images take ``side`` in its place."""
    side: int | None = Field(None, ge=32)
    """Height and width of an image in pixels."""
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def title(self) -> str:
        """Return the net's title: ``gpt2 decode, 128 tokens, batch 4``."""
        parts = [f"{self.net} decode" if self.phase == "decode" else self.net]
        parts += [f"{self.tokens} tokens"] if self.tokens else []
        parts += [f"{self.side} x {self.side}"] if self.side else []
        parts += [f"batch {self.batch}"] if self.batch > 1 else []
        return ", ".join(parts)


class Operation(Value):
    """Operations of one shape."""

    kind: Kind
    name: str
    """PyTorch's name, ``addmm``."""
    dtype: str
    dims: tuple[int, ...] = ()
    """``gemm``: batches, rows, inner, columns; ``conv``: images, in, out, kernel elements, output pixels, groups,
    stride; ``attention``: batches times heads, queries, keys, width of a key, width of a value; ``norm``, ``softmax``
    and ``pool``: rows, elements in one."""
    flops: float
    """Of one; 0 outside ``MATRIX``."""
    weight_bytes: float
    """Weights read by one; of an embedding the rows that are."""
    read_bytes: float
    written_bytes: float
    strided: bool = False
    """Whether an operand is not contiguous; of a product with weights, whether these are not."""
    times: int

    @property
    def bytes(self) -> float:
        """Return the bytes that one operation reads and writes."""
        return self.weight_bytes + self.read_bytes + self.written_bytes


class Uncounted(Value):
    """Operations whose class is not known; few, or the count would have been refused."""

    name: str
    times: int
    bytes: float


class Count(Value):
    """The work of one run of a net, operation by operation."""

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
    samples: int | None = None
    """Samples of one run, of a net that brings its own inputs: the length that these share in their first dimension."""
    modules: int = 0
    """Calls of modules."""
    views: int = 0
    """Operators that move no data: views, and tensors made without being filled."""
    took_s: float | None = None
    cpu_s: float | None = None
    """CPU seconds of it, which others that keep the machine busy do not lengthen."""
    peak_rss_bytes: int | None = None
    """Of the counting process, torch itself included."""

    @property
    def flops(self) -> float:
        """Return the FLOP of one run: products, convolutions and attention."""
        return sum(o.flops * o.times for o in self.operations)

    @property
    def unfused_bytes(self) -> float:
        """Return the bytes that all operations together read and write if none is fused with its neighbour."""
        return sum(o.bytes * o.times for o in self.operations)

    @property
    def least_bytes(self) -> float:
        """Return the bytes that no fusion can spare: weights and cache once, and the results that products write."""
        rows = (o for o in self.operations if o.kind in ("gemm", "conv"))
        return self.touched_bytes + self.kv_bytes + sum(o.written_bytes * o.times for o in rows)

    @property
    def working_set(self) -> float:
        """Return the bytes that one run comes back to: weights, cache, and the operands of its largest operation."""
        largest = max((o.read_bytes + o.written_bytes for o in self.operations), default=0.0)
        return self.touched_bytes + self.kv_bytes + largest

    @property
    def calls(self) -> int:
        """Return the number of operators that are started, without views."""
        return sum(o.times for o in self.operations)


TIMEOUT_S = 60.0
"""For each net, and once for starting."""


def count_nets(python: str, specs: Sequence[NetSpec], *, timeout_s: float | None = None) -> tuple[Count, ...]:
    """Count each net, all in one child of the interpreter ``python``.

    Raises:
        UsageError: a net is not known, cannot be built, or cannot be counted: with data-dependent control flow, or
            operations of unknown cost that matter.
        HwdiagError: the child died.
    """
    wanted = [spec.model_dump() for spec in specs]
    report = ask_once(python, "count", wanted, timeout_s=timeout_s or TIMEOUT_S * (1 + len(specs)))
    counts = []
    for n, spec in enumerate(specs):
        done = next((e for e in report.events if e.get("index") == n), None)
        if done is None:
            raise HwdiagError(f"{spec.net} was not counted: {report.outcome.detail or 'the child ended early'}")
        if done["event"] == "failed":
            raise UsageError(f"{spec.net} cannot be counted: {done['detail']}")
        about = {"spec": spec, "took_s": done["took_s"], "cpu_s": done["cpu_s"], "peak_rss_bytes": done["peak_rss"]}
        counts.append(Count.model_validate({**done["found"], **about}))
    return tuple(counts)
