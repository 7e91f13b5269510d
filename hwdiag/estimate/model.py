"""Data of estimates: ceilings of a device, the work of a net, and its time on another machine.

Times in seconds, sizes in bytes, FLOP counting a multiply-add as two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from hwdiag.core.interval import Interval
from hwdiag.core.value import TopicStudy, Value
from hwdiag.experiment.net_count import Count, NetSpec

WIDTH: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
"""Bytes of one element."""
WorkKind = Literal["convolutions", "products", "decoding"]
"""What most of a net's time goes into: an estimate's error differs by it."""


class HoldoutError(Value):
    """The errors of estimates on devices that their constants had not seen, each device left out in turn."""

    device_class: str
    """A class of devices, or several together."""
    work: WorkKind | None = None
    """None for all work of the class."""
    points: int
    devices: int
    median: float
    """Median absolute error: of predicted over published speed, less one."""
    ninetieth: float
    factor: float
    """The interval: the likely time divided and multiplied by it."""

    @property
    def title(self) -> str:
        """Return the class and the work as text: ``datacenter GPUs, decoding``."""
        return f"{self.device_class}, {self.work}" if self.work else self.device_class


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
    """The times of single operations on this host, with so many threads."""

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
    """The time of one class of operations."""

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
    """The time of one run of a net on one machine, in seconds."""

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
    software: str | None = None
    """What runs it, of an estimate by data sheet."""
    samples: int | None = None
    """Samples of one run, where the net brings its own inputs."""
    fast: float | None = None
    """The lower end of the interval in which nine of ten published speeds lie; ``pessimistic`` is the upper one."""
    evidence: HoldoutError | None = None
    fits: bool | None = None
    """Whether weights and cache fit into the part's own memory; None where memory is what somebody puts in."""

    @property
    def per_second(self) -> float:
        """Return the samples a second: images, prompts, or tokens of a decoding step."""
        return (self.samples or self.spec.batch) / self.likely


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
    held_out: bool = False
    """Whether it is one of the nets that no improvement was made with."""
    decided: bool
    """Whether calibration and measurement were left alone: only then does the error say something."""

    @property
    def error(self) -> float:
        """Return predicted over measured, less one: -0.1 predicts a tenth too fast."""
        return self.ratio.median - 1


MEAN_TARGET, WORST_TARGET = 0.10, 0.25
MEAN_OUTSIDE, WORST_OUTSIDE = 0.15, 0.35
"""The same for the nets that no improvement was made with."""


class Checked(Value):
    """The errors of the estimator on one host."""

    host: str
    cpu: str
    started_at: str
    rows: tuple[CheckRow, ...]
    quiet: bool
    why: str = ""
    """What disturbed it."""
    open: int = 0
    """Turns that are still to be measured: the check ran out of time, and goes on from there the next time."""
    lost: tuple[str, ...] = ()
    """Nets that gave no answer, with the reason."""

    @property
    def decided(self) -> tuple[CheckRow, ...]:
        """Return the rows that decide something."""
        return tuple(r for r in self.rows if r.decided)

    @property
    def mean_error(self) -> float:
        """Return the mean of the absolute errors, over what is decided (over all where nothing is)."""
        return mean_error(self.decided or self.rows)

    @property
    def worst(self) -> CheckRow:
        """Return the row that is furthest off."""
        return max(self.decided or self.rows, key=lambda r: abs(r.error))

    @property
    def verdict(self) -> str:
        """Return the verdict in one sentence. Under contention, or before all was measured, it decides nothing."""
        if not self.rows:
            return f"Undecided: nothing was measured{f' ({self.why})' if self.why else ''}."
        inside = [r for r in self.decided or self.rows if not r.held_out]
        outside = [r for r in self.decided or self.rows if r.held_out]
        numbers = "; ".join(filter(None, (told(inside, "of the list"), told(outside, "outside it"))))
        numbers += f"; no figure of {', '.join(self.lost)}" if self.lost else ""
        if self.open:
            return f"Undecided: {self.open} more turns are to be measured, the same command goes on; {numbers}."
        if len(self.decided) < len(self.rows):
            left = len(self.rows) - len(self.decided)
            return f"Undecided: {left} of {len(self.rows)} rows were disturbed ({self.why}); {numbers}."
        good = holds(inside, MEAN_TARGET, WORST_TARGET) and holds(outside, MEAN_OUTSIDE, WORST_OUTSIDE)
        return f"{'The estimator holds here' if good else 'The estimator is not good enough here'}: {numbers}."


def mean_error(rows: Sequence[CheckRow]) -> float:
    """Return the mean of the absolute errors; 0 without rows."""
    return sum(abs(r.error) for r in rows) / len(rows) if rows else 0.0


def holds(rows: Sequence[CheckRow], mean: float, worst: float) -> bool:
    """Return whether the errors stay within these."""
    return mean_error(rows) <= mean and all(abs(r.error) <= worst for r in rows)


def told(rows: Sequence[CheckRow], which: str) -> str:
    """Return the errors of some rows in words; nothing without rows."""
    if not rows:
        return ""
    worst = max(rows, key=lambda r: abs(r.error))
    nets = len({r.spec.title for r in rows})
    return (
        f"mean error {mean_error(rows):.1%}, worst {worst.error:+.1%} ({worst.spec.title}), over {nets} nets {which} "
        f"in {len(rows)} settings"
    )


class EstimateStudy(TopicStudy):
    """The data that an estimate's figures are drawn from, besides the catalogue."""

    counts: tuple[Count, ...]
    checked: Checked | None = None
