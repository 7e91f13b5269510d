"""From measurements to estimates: seconds of each Workload under each Plan. Pure: nothing is measured here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from hwdiag.experiment.model import Estimate, Measurement
from hwdiag.experiment.statistics import median_interval


def estimates(measurements: Iterable[Measurement]) -> tuple[Estimate, ...]:
    """Return the seconds of an iteration for each workload, Plan and device, over all processes that ended well."""
    groups: dict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
    for m in measurements:
        if m.outcome.ok:
            groups[m.workload, m.plan, m.device].append(m)
    return tuple(
        Estimate(
            workload=workload,
            plan=plan,
            device=device,
            seconds=median_interval([m.median_s for m in group], samples=sum(len(m.seconds) for m in group)),
            measurements=tuple(m.id for m in group),
        )
        for (workload, plan, device), group in groups.items()
    )
