"""Ceilings: the most that a device reached in this run, measured and not from a data sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from hwdiag.core.value import Value
from hwdiag.experiment.model import Measurement, Workload


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


def ceilings(measurements: Sequence[Measurement], workloads: Iterable[Workload]) -> tuple[Ceiling, ...]:
    """Return the ceilings of each device: FLOP/s per type over all workloads that compute, bytes/s over copy and triad.

    The fastest process counts, under whichever Launch: a ceiling is what the machine can, not what it usually does.
    """
    by_name = {w.name: w for w in workloads}
    best: dict[tuple[str, str, str], Ceiling] = {}
    for m in measurements:
        if m.outcome.ok and by_name[m.workload].family in ("compute", "memory", "model"):
            reached = ceiling_of(m, by_name[m.workload])
            key = (reached.device, reached.kind, reached.dtype)
            if key not in best or reached.value > best[key].value:
                best[key] = reached
    return tuple(best[key] for key in sorted(best))


def ceiling_of(m: Measurement, workload: Workload) -> Ceiling:
    """Return the rate that one process reached at its median, as a ceiling."""
    memory = workload.family == "memory"
    return Ceiling(
        device=m.device,
        kind="memory" if memory else "compute",
        dtype=workload.dtype,
        value=(workload.bytes if memory else workload.flops) / m.median_s,
        workload=m.workload,
        measurement=m.id,
    )
