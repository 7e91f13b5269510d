"""The laboratory protocol: what measures plans side by side, on a machine or on a simulated one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hwdiag.experiment.lever import BASELINE, Plan
from hwdiag.experiment.model import OVERALL, Measurement, Phase
from hwdiag.experiment.statistics import geometric_mean


@dataclass(frozen=True)
class Block:
    """Plans that were measured side by side, so that they met the same seconds of the machine."""

    number: int
    seconds: Mapping[str, Mapping[str, float]]
    """By plan's id and workload. What failed is left out."""
    evidence: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Measurement's id by plan's id and workload."""
    device: str = "cpu"

    def over(self, plan: str, workloads: Sequence[str]) -> float | None:
        """Return the geometric mean of the plan's times, so that each workload counts alike; None if it lacks one."""
        times = self.seconds.get(plan, {})
        return geometric_mean([times[w] for w in workloads]) if all(w in times for w in workloads) else None


@dataclass(frozen=True)
class FirstLook:
    """Plans that were measured before a search begins. What they showed counts in its screening."""

    plans: tuple[Plan, ...] = ()
    blocks: tuple[Block, ...] = ()
    pace_s: float = 0.0
    """Seconds that one process took in them."""


class Laboratory(Protocol):
    """Measures plans beside today's way."""

    def measure(self, plans: Sequence[Plan], phase: Phase) -> list[Block]:
        """Measure each plan once, in fresh processes. Where not all fit in one block there are several, and a block
        that serves as evidence (phase ``confirm``) always holds today's way."""

    def clock(self) -> float:
        """Return seconds of this laboratory's clock."""


@dataclass(frozen=True)
class Scope:
    """One workload, or several together, on which "faster" is decided."""

    name: str
    workloads: tuple[str, ...]


def scopes_of(workloads: Sequence[str]) -> tuple[Scope, ...]:
    """Return all workloads together, and each by itself where there are several."""
    single = tuple(Scope(name, (name,)) for name in workloads)
    return (Scope(OVERALL, tuple(workloads)), *(single if len(workloads) > 1 else ()))


def speedups(blocks: Iterable[Block], plan: str, scope: Scope, baseline: str = BASELINE) -> tuple[float, ...]:
    """Return the baseline's time over the plan's, for each block that holds both."""
    both = (block for block in blocks if plan in block.seconds and baseline in block.seconds)
    pairs = ((block.over(baseline, scope.workloads), block.over(plan, scope.workloads)) for block in both)
    return tuple(before / after for before, after in pairs if before is not None and after is not None)


def blocks_of(measurements: Iterable[Measurement]) -> list[Block]:
    """Return the blocks of these measurements, in order. Each device's are numbered by themselves."""
    found: dict[tuple[str, int], list[Measurement]] = {}
    for m in measurements:
        found.setdefault((m.device, m.block), []).append(m)
    return [block_of(device, number, found[device, number]) for device, number in sorted(found)]


def block_of(device: str, number: int, measurements: Iterable[Measurement]) -> Block:
    """Return one block of the measurements that ended well."""
    seconds: dict[str, dict[str, float]] = {}
    evidence = {}
    for m in measurements:
        if m.outcome.ok:
            seconds.setdefault(m.plan, {})[m.workload] = m.median_s
            evidence[m.plan, m.workload] = m.id
    return Block(number, seconds, evidence, device)
