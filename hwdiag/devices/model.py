"""Data of a study of devices: speeds, errors and gains, batch sizes, targets. Times in seconds, sizes in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

from hwdiag.core.interval import Interval
from hwdiag.core.value import TopicStudy, Value
from hwdiag.experiment.ceilings import Ceiling
from hwdiag.experiment.lever import BASELINE, Plan
from hwdiag.experiment.model import Comparison, Estimate, Measurement, Workload
from hwdiag.experiment.statistics import median_interval
from hwdiag.experiment.techniques import Mode
from hwdiag.process.model import GpuMeanwhile, Outcome
from hwdiag.process.trace import Cause

CPU = "cpu"

MOST_SAMPLES = 200
"""Of one process, kept in a study."""

HOPE = 1.015
"""Gain in the screening from which a technique is measured again: half of the least effect that counts by default."""


def thinned(samples: tuple[float, ...], most: int = MOST_SAMPLES) -> tuple[float, ...]:
    """Return at most so many samples, evenly taken over the time that they were measured in; the ends stay."""
    if len(samples) <= most:
        return samples
    return tuple(samples[round(i * (len(samples) - 1) / (most - 1))] for i in range(most))


def thinned_points(points: Sequence[tuple[float, float]], most: int = MOST_SAMPLES) -> tuple[tuple[float, float], ...]:
    """Return at most so many of these moments, evenly taken; the first and the last stay."""
    kept = thinned(tuple(float(n) for n in range(len(points))), most)
    return tuple(points[int(n)] for n in kept)


class Device(Value):
    """One device that torch can use."""

    name: str
    """As torch calls it: ``cpu``, ``cuda:0``."""
    title: str
    memory_bytes: int | None = None
    unified_memory: bool = False
    """It has no memory of its own, but the host's."""
    capability: str | None = None
    """CUDA's compute capability, ``9.0``."""
    uuid: str | None = None
    """By which the host's GPU is found that it is."""

    @property
    def is_cpu(self) -> bool:
        return self.name == CPU

    @property
    def kind(self) -> str:
        """Return the device's kind: ``cuda`` of ``cuda:0``."""
        return self.name.partition(":")[0]


Step = Literal["devices", "profile", "techniques", "batches", "targets"]


class Absent(Value):
    """Something that was not measured, and why."""

    what: str
    why: str
    step: Step = "devices"
    """At which that was found out."""


class Gain(Value):
    """One technique on one net on one device."""

    technique: str
    workload: str
    device: str
    mode: Mode
    comparison: Comparison | None = None
    """With the technique against without it; None where it did not run."""
    planned: bool = False
    """Whether it was measured again, afresh, after the screening gave hope."""
    outcome: Outcome
    max_error: float | None = None
    """Against float64: of the outputs relative to the largest, of all gradients together in training."""
    default_error: float | None = None
    """The same without it."""
    peak_bytes: int | None = None
    """Most memory of a process with it: of the device where that has its own, else the process's."""
    default_peak_bytes: int | None = None
    cold_s: float | None = None
    """First call in a process where nothing is cached; None where nothing is compiled."""
    warm_s: float | None = None
    """First call where an earlier process left its cache."""

    @property
    def is_unpromising(self) -> bool:
        """Return whether the screening gave no sign of a gain, so that it was not measured again."""
        return not self.planned and self.comparison is not None and self.comparison.speedup.median <= HOPE


class BatchPoint(Value):
    """One batch size in a process of its own."""

    batch: int
    seconds: float | None = None
    """One iteration."""
    peak_bytes: int | None = None
    outcome: Outcome

    @property
    def rate(self) -> float | None:
        """Return the samples a second."""
        return None if self.seconds is None else self.batch / self.seconds


class BatchSearch(Value):
    """The batch sizes that fit, and the one of best throughput."""

    net: str
    mode: Mode
    device: str
    points: tuple[BatchPoint, ...]
    limit_bytes: int | None = None
    """Memory that a process might take beside torch itself, where that was limited."""
    stopped: str = ""
    """Why no larger one was tried where the largest fitted: ``a batch takes 2.1 s``."""

    @property
    def fitting(self) -> tuple[BatchPoint, ...]:
        return tuple(p for p in self.points if p.outcome.ok)

    @property
    def largest(self) -> BatchPoint | None:
        """Return the largest point that fitted."""
        return max(self.fitting, key=lambda p: p.batch, default=None)

    @property
    def best(self) -> BatchPoint | None:
        """Return the smallest point within ``ENOUGH`` of the best throughput: larger ones only cost memory and
        waiting."""
        rates = [p.rate or 0 for p in self.fitting]
        near = [p for p in self.fitting if (p.rate or 0) >= ENOUGH * max(rates)]
        return min(near, key=lambda p: p.batch, default=None)


ENOUGH = 0.95
"""Of the best throughput."""


class DataloaderFedRun(Value):
    """One process of a training that a DataLoader feeds."""

    wait_s: float
    """For one batch, in the mean."""
    step_s: float
    """From one batch to the next."""
    cpu_use: float
    """Of all CPUs that it may use, 0..1: its own and its workers'."""
    ways: dict[str, float]
    """Seconds of the loader alone, with and without what guides advise."""
    gpu_use: float | None = None
    """Share of the time with something at work on the device, by a trace of some steps."""
    idle: dict[Cause, float] = {}
    """What the CPU did in the rest."""


class DataloaderFed(Value):
    """A training of ResNet-18 that a DataLoader feeds with pictures, on one device."""

    device: str
    batch: int
    side: int
    workers: int
    runs: tuple[DataloaderFedRun, ...] = ()
    outcome: Outcome = Outcome(kind="ok")

    def interval(self, name: str) -> Interval | None:
        """Return the median and interval of one figure over processes; None where none told it."""
        values = [v for run in self.runs if (v := getattr(run, name)) is not None]
        return median_interval(values) if values else None

    def ratio(self, without: str, with_it: str) -> Interval | None:
        """Return the ratio of one way to load over another: how many times faster it is."""
        runs = [r.ways for r in self.runs if without in r.ways and with_it in r.ways]
        return ratio_of([w[without] for w in runs], [w[with_it] for w in runs])


def ratio_of(first: list[float], second: list[float]) -> Interval | None:
    """Return the median and interval of the ratios, pair by pair; None where there is no pair."""
    ratios = [a / b for a, b in zip(first, second, strict=False)]
    return median_interval(ratios) if ratios else None


class Sustained(Value):
    """A workload that goes on without a rest on one device: what a short look measures, and what a job gets."""

    device: str
    workload: str
    points: tuple[tuple[float, float], ...] = ()
    """Moments in seconds from the start, and the seconds of an iteration in the time before each."""
    gpu: GpuMeanwhile | None = None
    """Clock, power and reasons meanwhile; None where no driver tells."""
    outcome: Outcome = Outcome(kind="ok")

    @property
    def burst_s(self) -> float:
        """Return the seconds of an iteration at the start."""
        begun = [each for at, each in self.points if at <= BURST_S]
        return median(begun or [self.points[0][1]])

    @property
    def sustained_s(self) -> float:
        """Return the same in the last third of the time."""
        from_s = self.points[-1][0] * 2 / 3
        return median(each for at, each in self.points if at >= from_s)

    @property
    def falls_after_s(self) -> float | None:
        """Return when it became slower for good by more than ``FALL``; None where it did not."""
        limit = self.burst_s * (1 + FALL)
        slow = [at for at, each in self.points if each > limit]
        if self.sustained_s <= limit or not slow:
            return None
        last_fast = max((at for at, each in self.points if each <= limit), default=0.0)
        return min(at for at in slow if at > last_fast)


BURST_S, FALL = 0.5, 0.03


class Target(Value):
    """One figure that a source wants, and what was measured."""

    name: str
    wanted: str
    device: str
    measured: str
    passed: bool | None
    """None where it was not measured."""
    reason: str
    """Why it fails, or why it was not measured; of one that passes what bounds it."""


class Study(TopicStudy):
    """One study of one host's devices. Its figures can be drawn from it alone."""

    finished_at: str = ""
    cpu: str
    software: str
    """Of torch, its version."""
    budget: str
    minutes: float | None = None
    """For the techniques, where other than the budget's."""
    seed: int
    min_effect: float
    devices: tuple[Device, ...]
    absent: tuple[Absent, ...] = ()
    plans: tuple[Plan, ...]
    """The first is how it runs by default."""
    workloads: tuple[Workload, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    """Of each process at most ``MOST_SAMPLES`` samples, evenly thinned; all figures are drawn from these."""
    estimates: tuple[Estimate, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    sustained: tuple[Sustained, ...] = ()
    gains: tuple[Gain, ...] = ()
    batches: tuple[BatchSearch, ...] = ()
    dataloader_fed: tuple[DataloaderFed, ...] = ()
    targets: tuple[Target, ...] = ()

    def estimate(self, workload: str, device: str) -> Interval | None:
        """Return the seconds of one iteration by default; None where it was not measured."""
        return next(
            (e.seconds for e in self.estimates if (e.workload, e.device, e.plan) == (workload, device, BASELINE)), None
        )

    def ratio(self, workload: str, first: str, second: str) -> Interval | None:
        """Return the time on one device over that on another, processes paired in the order in which they ran."""
        return ratio_of(self._times(workload, first), self._times(workload, second))

    def rate_ratio(self, workload: Workload, other: Workload, device: str) -> Interval | None:
        """Return the operations a second of one workload over those of another, in the same processes."""
        first, second = ([t / w.flops for t in self._times(w.name, device)] for w in (workload, other))
        return ratio_of(second, first)

    def of(self, workload: str, device: str) -> list[Measurement]:
        """Return the measurements by default that ended well."""
        return [m for m in self.measurements
                if (m.workload, m.device, m.plan) == (workload, device, BASELINE) and m.outcome.ok]  # fmt: skip

    def _times(self, workload: str, device: str) -> list[float]:
        return [m.median_s for m in self.of(workload, device)]

    def errors(self, device: str) -> dict[str, float]:
        """Return the error against float64 of each workload on a device, as its first process found it."""
        found: dict[str, float] = {}
        for m in self.measurements:
            if m.device == device and m.max_error is not None and m.plan == BASELINE:
                found.setdefault(m.workload, m.max_error)
        return found

    def failures(self, device: str) -> dict[str, Outcome]:
        """Return the outcome of each workload that failed on a device by default."""
        return {m.workload: m.outcome for m in self.measurements
                if m.device == device and m.plan == BASELINE and not m.outcome.ok}  # fmt: skip
