"""Data of measurements: Software, Workload, Measurement and Comparison. Times in seconds, sizes in bytes."""

from __future__ import annotations

from statistics import median
from typing import Literal

from hwdiag.core.interval import Interval
from hwdiag.core.value import Value
from hwdiag.process.model import Applied, Command, Disturbance, Outcome

OVERALL = "overall"
"""The scope of a comparison over several workloads, where others have a workload's name."""


Phase = Literal["noise", "screen", "confirm", "device"]
"""``noise``: today's default against itself; ``screen``: candidates; ``confirm``: the finalists and the default,
measured afresh; ``device``: a GPU."""


UNITS = {"own": "ms", "memory": "GB/s", "transfer": "GB/s", "compute": "GFLOP/s", "model": "ms", "latency": "µs"}
"""Of each family of workloads."""


class Workload(Value):
    """A named piece of work with its known operations and bytes."""

    name: str
    """``matmul-fp32``."""
    title: str
    """``Matrix product, fp32, 2048 x 2048``."""
    kind: Literal[
        "matmul", "onednn", "numpy", "conv2d", "copy", "triad", "resnet18", "gpt2", "file", "command",
        "elementwise", "attention", "reduction", "transfer", "in-place", "dispatch", "precision", "inference",
        "training", "decode",
    ]  # fmt: skip
    family: Literal["compute", "memory", "model", "own", "transfer", "latency"]
    """``own`` is the user's: its operations and bytes are not known, and given as 0. ``transfer``: between memories,
    its bytes counted once. ``latency``: what starting something costs."""
    dtype: Literal["float32", "bfloat16", "float64", "float16", "int8", "float8_e4m3fn"]
    size: dict[str, int]
    """What its builder in the worker is called with."""
    what: str | None = None
    """Which of its kind: a net, a direction of a transfer, a precision."""
    path: str | None = None
    """Of a ``file``: the Python file whose ``build()`` gives what is called."""
    command: Command | None = None
    """Of a ``command``."""
    flops: float
    """Floating-point operations of one iteration, a multiply-add counted as two."""
    bytes: float
    """Bytes that one iteration must move at least: every operand read once plus every result written once."""
    note: str | None = None
    """What limits its meaning here: ``arrays hold only 1.3 times the last-level cache``."""

    @property
    def unit(self) -> str:
        """Return the unit: ``GB/s`` (10^9 bytes, read plus written), ``GFLOP/s``, ``ms`` for nets and files, or a
        command's own."""
        if self.command is not None:
            return self.command.unit
        return "GOP/s" if self.dtype == "int8" and self.family == "compute" else UNITS[self.family]

    @property
    def intensity(self) -> float:
        """Return the arithmetic intensity in FLOP per byte."""
        return self.flops / self.bytes

    def value(self, seconds: float) -> float:
        """Return the time of one iteration converted to this workload's unit."""
        if self.command is not None:
            return self.command.cost(seconds)  # which is its own inverse
        if self.family in ("model", "own"):
            return seconds * 1e3
        if self.family == "latency":
            return seconds * 1e6
        return (self.flops if self.family == "compute" else self.bytes) / seconds / 1e9


class DeviceTimes(Value):
    """Seconds of an iteration on an accelerator itself, by events on a held queue: one for each sample."""

    warm_s: tuple[float, ...] = ()
    """With what the iteration before left in the cache. Empty where the workload waits for the device by itself."""
    cold_s: tuple[float, ...] = ()
    """With a cache that holds something else."""


class Measurement(Value):
    """Samples of one Workload under one Plan on one device, from one process."""

    id: str
    """``m0017``."""
    plan: str
    """The Plan's id."""
    workload: str
    device: str = "cpu"
    phase: Phase
    block: int
    process: int
    """Workloads measured by the same child share this number."""
    outcome: Outcome
    seconds: tuple[float, ...] = ()
    """Time of each iteration, after the warm-up. Of several instances together: the time in which they did one, that
    is, one over their total throughput. Of a command: its metric, or one over it where a higher one is better."""
    latency_s: float | None = None
    """Of several instances together: the median time of one iteration in one of them."""
    warmup: int = 0
    max_error: float | None = None
    """Largest deviation from the reference, relative to its largest magnitude; None where it was not checked."""
    tolerance: float | None = None
    applied: Applied | None = None
    peak_rss_bytes: int | None = None
    """Of the process so far, what it measured before included."""
    peak_device_bytes: int | None = None
    """Of the memory of an accelerator, what torch's allocator held since the workload was begun, in use or not."""
    first_s: float | None = None
    """Time of the first call, which compiles and tunes where that is asked for."""
    on_device: DeviceTimes | None = None
    """None on the CPU, and where it was not asked for."""
    disturbance: Disturbance = Disturbance()

    @property
    def median_s(self) -> float:
        """Return the process's median iteration time in seconds. Raises ``ValueError`` without samples."""
        if not self.seconds:
            raise ValueError(f"{self.id} has no samples: {self.outcome.detail}")
        return median(self.seconds)


class Noise(Value):
    """The noise between two processes that are alike, as the ratio of their times in one block."""

    pairs: int
    spread: float
    """Standard deviation of the ratio's logarithm, robustly: 0.02 for 2 %."""
    alone: float
    """The same of single processes over the run, from their median: as they would be compared without turns."""
    drift_p: float
    """Of a trend of the single processes over time by chance (Mann-Kendall); small where the machine drifts."""
    autocorrelation: float
    """Of single processes one after the other, -1 to 1."""


class TriedPlan(Value):
    """One Plan in one step of the screening."""

    plan: str
    """Its id."""
    speedup: Interval
    """Over today's default, estimated from all trials of the screening."""
    dropped: bool
    """Surely worse than another, and so not measured further."""


class SearchStep(Value):
    """One factor in the screening: placement, heap, ... with the Plans that were tried for it."""

    factor: str
    options: tuple[TriedPlan, ...]
    adopted: str | None
    """Id of the Plan that the next step starts from, None where nothing was better than what there was."""


class Estimate(Value):
    """The time of one Workload under one Plan: seconds over processes."""

    workload: str
    plan: str
    """The Plan's id."""
    device: str
    seconds: Interval
    measurements: tuple[str, ...]


Verdict = Literal["better", "same", "worse", "undecided"]


class Comparison(Value):
    """A Plan against today's default on one workload (or ``overall``), from interleaved pairs of fresh processes."""

    workload: str
    """Workload name, or ``overall``: the geometric mean over ``Record.overall_of``."""
    device: str = "cpu"
    baseline: str
    """Id of the Plan that it is held against, mostly ``default``."""
    candidate: str
    """Id of the Plan."""
    phase: Literal["screen", "confirm"]
    speedup: Interval
    """Baseline's time over the candidate's: 1.10 is 10 % faster."""
    p_value: float | None = None
    """Of "faster" by chance: one-sided Wilcoxon signed-rank test, corrected by Holm's method over all that were
    planned; None where none was."""
    verdict: Verdict
    """``same`` if the whole interval lies within the minimum effect; ``better`` or ``worse`` only if the interval
    excludes 1 and the estimate is at least the minimum effect away from it, ``better`` moreover only if ``p_value`` is
    below 0.01."""
    why: str
    measurements: tuple[str, ...]
