"""From measurements to estimates and comparisons. Pure: nothing is measured here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from hwdiag.measure.model import BASELINE, OVERALL, Comparison, Estimate, Measurement, Phase
from hwdiag.measure.stats import faster_p, geometric_mean, holm, judge, median_interval


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


@dataclass(frozen=True)
class Pairing:
    """A candidate and the default, block by block, on one workload or on several together."""

    scope: str
    candidate: str
    ratios: tuple[float, ...]
    """The default's time over the candidate's, for each block that both completed."""
    measurements: tuple[str, ...]


Hope = tuple[str, str]
"""A candidate and the scope on which the screening gave hope for it."""


def compare_all(
    measurements: Sequence[Measurement],
    phase: Phase,
    overall_of: Sequence[str],
    min_effect: float,
    hopes: Collection[Hope] = (),
) -> tuple[Comparison, ...]:
    """Every Launch of a phase on the CPU against the default, overall and on each workload.

    The more comparisons, the likelier one of them looks good by chance. So only the ``hopes``, which were chosen before
    these measurements were made, can be shown to be better, and each of them must be significant among all of its
    scope: the chance of one false "better" holds for each answer, overall and per workload.
    """
    seen = [m for m in measurements if m.phase == phase and m.device == "cpu"]
    launches, workloads = (list(dict.fromkeys(getattr(m, what) for m in seen)) for what in ("launch", "workload"))
    scopes = [(OVERALL, list(overall_of)), *((w, [w]) for w in workloads)]
    pairings = [pair(seen, name, *scope) for name in launches if name != BASELINE for scope in scopes]
    pairings = [p for p in pairings if p.ratios]
    p_values: dict[Hope, float] = {}
    for scope, _ in scopes:
        tested = [p for p in pairings if p.scope == scope and (p.candidate, scope) in hopes]
        corrected = holm([faster_p(p.ratios) for p in tested])
        p_values |= {(p.candidate, scope): value for p, value in zip(tested, corrected, strict=True)}
    return tuple(compared(p, p_values.get((p.candidate, p.scope)), phase, min_effect) for p in pairings)


def pair(seen: Sequence[Measurement], candidate: str, scope: str, workloads: Sequence[str]) -> Pairing:
    """``candidate`` beside the default in the blocks in which both did all of ``workloads``.

    With several workloads, a block's time is the geometric mean of theirs, so that each counts alike.
    """
    used = [m for m in seen if m.workload in workloads and m.launch in (BASELINE, candidate)]
    default, other = (block_times(used, name, workloads) for name in (BASELINE, candidate))
    blocks = sorted(default.keys() & other.keys())
    return Pairing(
        scope=scope,
        candidate=candidate,
        ratios=tuple(default[b] / other[b] for b in blocks),
        measurements=tuple(m.id for m in used if m.block in blocks),
    )


def block_times(measurements: Iterable[Measurement], launch: str, workloads: Sequence[str]) -> dict[int, float]:
    """Geometric mean over the workloads of the process medians in seconds, for each block that did them all."""
    blocks: dict[int, list[float]] = defaultdict(list)
    for m in measurements:
        if m.launch == launch and m.outcome.ok:
            blocks[m.block].append(m.median_s)
    return {block: geometric_mean(times) for block, times in blocks.items() if len(times) == len(workloads)}


def compared(
    pairing: Pairing, p_value: float | None, phase: Phase, min_effect: float, device: str = "cpu"
) -> Comparison:
    """The judged comparison."""
    speedup = median_interval(pairing.ratios)
    verdict, why = judge(speedup, p_value, min_effect)
    return Comparison(
        workload=pairing.scope,
        device=device,
        baseline=BASELINE,
        candidate=pairing.candidate,
        phase=phase,
        speedup=speedup,
        p_value=p_value,
        verdict=verdict,
        why=why,
        measurements=pairing.measurements,
    )
