"""What estimating works with: ceilings of a device, what a net does, and what is said of another machine.

Times in seconds, sizes in bytes, FLOP counting a multiply-add as two.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hwdiag.measure.model import Interval
from hwdiag.model import TopicStudy, Value

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
    views: int = 0
    """Operators that move no data: views, and tensors made without being filled."""
    took_s: float | None = None
    cpu_s: float | None = None
    """CPU seconds of it, which others that keep the machine busy do not lengthen."""
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
    def working_set(self) -> float:
        """Bytes that one run comes back to: what it keeps, and what its largest operation reads and writes."""
        largest = max((o.read_bytes + o.written_bytes for o in self.operations), default=0.0)
        return self.touched_bytes + self.kv_bytes + largest

    @property
    def calls(self) -> int:
        """Operators that are started, views left out."""
        return sum(o.times for o in self.operations)


class Point(Value):
    """One single operation, timed on this host."""

    kind: Literal["gemm", "conv", "attention", "elementwise", "overhead", "reread"]
    name: str = ""
    """Of elementwise operations: which one; ``plain`` of a product whose weights are (inner, columns) in memory."""
    dtype: str
    dims: tuple[int, ...]
    """``gemm``: rows, inner, columns; ``conv``: in, out, kernel, output side, groups, stride; ``attention``: heads,
    queries, keys, width; ``elementwise``: elements, and of them in a row; ``overhead``: modules that take turns;
    ``reread``: bytes that are read again and again."""
    causal: bool = False
    near: bool = False
    """Whether what it needs was in the last-level cache, and not in memory alone."""
    seconds: float = Field(gt=0)
    """Median over processes."""
    spread: float = Field(1.0, ge=1)
    """Slowest over fastest process."""


class Calibration(Value):
    """How fast single operations are on this host, with so many threads."""

    threads: int
    dtype: Literal["float32", "bfloat16"]
    points: tuple[Point, ...]
    processes: int
    llc_bytes: int
    """The last-level caches."""
    quiet: bool = True
    """Whether the machine was left alone meanwhile."""
    why: str = ""
    """What disturbed it."""


class PartEstimate(Value):
    """What one class of operations takes."""

    kind: str
    flops: float = 0
    bytes: float = 0
    floor: float
    likely: float
    pessimistic: float
    bound: Literal["compute", "memory", "overhead"]
    utilisation: float | None = None
    """FLOP a second over the peak of this type, 0..1."""


class NetEstimate(Value):
    """How long one run of a net takes on one machine, in seconds."""

    spec: NetSpec
    part: str
    """The machine's name."""
    dtype: str
    """What it computes in."""
    threads: int | None = None
    floor: float
    """No run is faster: nothing but arithmetic at the peak, or memory at its full bandwidth."""
    likely: float
    pessimistic: float
    bound: Literal["compute", "memory", "overhead"]
    """What most of the likely time goes into."""
    utilisation: float
    """FLOP a second, where likely, over the peak of this type: 0..1."""
    parts: tuple[PartEstimate, ...]
    fits: bool | None = None
    """Whether weights and cache fit into the part's own memory; None where memory is what somebody puts in."""

    @property
    def per_second(self) -> float:
        """Runs' worth of samples a second: images, prompts, or tokens of a decoding step."""
        return self.spec.batch / self.likely


class CheckRow(Value):
    """One net on this host: predicted and measured, in seconds."""

    spec: NetSpec
    threads: int
    floor: float
    likely: float
    pessimistic: float
    bound: Literal["compute", "memory", "overhead"]
    utilisation: float
    measured: Interval
    ratio: Interval
    """Predicted over measured, block by block: each block's net beside the single operations around it."""
    decided: bool
    """Whether calibration and measurement were left alone: only then does the error say something."""

    @property
    def error(self) -> float:
        """Predicted over measured, less one: -0.1 predicts a tenth too fast."""
        return self.ratio.median - 1


MEAN_TARGET, WORST_TARGET = 0.12, 0.25


class Checked(Value):
    """How far off the estimator is on one host."""

    host: str
    cpu: str
    started_at: str
    rows: tuple[CheckRow, ...]
    quiet: bool
    why: str = ""
    """What disturbed it."""

    @property
    def decided(self) -> tuple[CheckRow, ...]:
        """The rows that say something."""
        return tuple(r for r in self.rows if r.decided)

    @property
    def mean_error(self) -> float:
        """Mean of the absolute errors, over what is decided (over all where nothing is)."""
        rows = self.decided or self.rows
        return sum(abs(r.error) for r in rows) / len(rows)

    @property
    def worst(self) -> CheckRow:
        """The row that is furthest off."""
        return max(self.decided or self.rows, key=lambda r: abs(r.error))

    @property
    def verdict(self) -> str:
        """One sentence; under contention it decides nothing."""
        numbers = f"mean error {self.mean_error:.1%}, worst {self.worst.error:+.1%} ({self.worst.spec.title})"
        nets = len({r.spec.title for r in self.rows})
        if len(self.decided) < len(self.rows):
            left = len(self.rows) - len(self.decided)
            return f"Undecided: {left} of {len(self.rows)} rows were disturbed ({self.why}); {numbers}."
        good = self.mean_error <= MEAN_TARGET and abs(self.worst.error) <= WORST_TARGET
        state = "The estimator holds here" if good else "The estimator is not good enough here"
        return f"{state}: {numbers}, over {nets} nets in {len(self.rows)} settings."


class EstimateStudy(TopicStudy):
    """What an estimate's figures are drawn from, besides the catalogue."""

    counts: tuple[Count, ...]
    checked: Checked | None = None
