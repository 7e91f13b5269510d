"""From measurements to estimates and comparisons. Pure: nothing is measured here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hwdiag.measure.model import OVERALL, Comparison, Estimate, Measurement, Phase
from hwdiag.measure.stats import geometric_mean, judge, median_interval, speedup_interval


def estimates(measurements: Iterable[Measurement]) -> tuple[Estimate, ...]:
    """Seconds per iteration for each workload, Launch and device, over all processes that ended well."""
    groups: dict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
    for m in measurements:
        if m.outcome.ok:
            groups[m.workload, m.launch, m.device].append(m)
    return tuple(
        Estimate(
            workload=workload,
            launch=launch,
            device=device,
            seconds=median_interval([m.median_s for m in group], samples=sum(len(m.seconds) for m in group)),
            measurements=tuple(m.id for m in group),
        )
        for (workload, launch, device), group in groups.items()
    )


def compare(
    measurements: Sequence[Measurement], baseline: str, candidate: str, phase: Phase, scope: str,
    workloads: Sequence[str], min_effect: float,
) -> Comparison | None:  # fmt: skip
    """``candidate`` against ``baseline`` over the blocks of one phase in which both did all of ``workloads``.

    With several workloads, a block's time is the geometric mean of theirs, so that each counts alike.
    None without a block that both completed.
    """
    used = [m for m in measurements if m.phase == phase and m.device == "cpu" and m.workload in workloads]
    times = {name: block_times(used, name, workloads) for name in (baseline, candidate)}
    blocks = sorted(times[baseline].keys() & times[candidate].keys())
    if not blocks:
        return None
    speedup = speedup_interval([times[baseline][b] for b in blocks], [times[candidate][b] for b in blocks])
    verdict, why = judge(speedup, min_effect)
    return Comparison(
        workload=scope,
        baseline=baseline,
        candidate=candidate,
        phase=phase,
        speedup=speedup,
        verdict=verdict,
        why=why,
        measurements=tuple(m.id for m in used if m.launch in (baseline, candidate) and m.block in blocks),
    )


def block_times(measurements: Iterable[Measurement], launch: str, workloads: Sequence[str]) -> dict[int, float]:
    """Geometric mean over the workloads of the process medians in seconds, for each block that did them all."""
    blocks: dict[int, list[float]] = defaultdict(list)
    for m in measurements:
        if m.launch == launch and m.outcome.ok:
            blocks[m.block].append(m.median_s)
    return {block: geometric_mean(times) for block, times in blocks.items() if len(times) == len(workloads)}


def compare_all(
    measurements: Sequence[Measurement], phase: Phase, overall_of: Sequence[str], min_effect: float
) -> tuple[Comparison, ...]:
    """Every Launch of a phase against the default (the first one measured), overall and on each workload."""
    seen = [m for m in measurements if m.phase == phase and m.device == "cpu"]
    launches, workloads = (list(dict.fromkeys(getattr(m, what) for m in seen)) for what in ("launch", "workload"))
    scopes = [(OVERALL, list(overall_of)), *((w, [w]) for w in workloads)]
    found = (
        compare(measurements, "default", launch, phase, scope, members, min_effect)
        for launch in launches
        if launch != "default"
        for scope, members in scopes
    )
    return tuple(c for c in found if c is not None)
