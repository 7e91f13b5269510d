"""What estimating works with: ceilings of a device, what a net does, and what is said of another machine.

Times in seconds, sizes in bytes, FLOP counting a multiply-add as two.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hwdiag.core.interval import Interval
from hwdiag.core.value import TopicStudy, Value
from hwdiag.experiment.net_count import Count, NetSpec

WIDTH: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
"""Bytes of one element."""


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
