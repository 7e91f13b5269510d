"""Gains of techniques: each against the default, interleaved; what looks good is measured again, afresh."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from hwdiag.devices.model import HOPE, Device, Gain
from hwdiag.devices.techniques import applies
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.confirmation import least_pairs
from hwdiag.experiment.judge import Claim, describe, judge_claims
from hwdiag.experiment.laboratory import Block, Scope, blocks_of
from hwdiag.experiment.lever import BASELINE, DEFAULT
from hwdiag.experiment.model import Comparison, Measurement, Phase, Workload
from hwdiag.experiment.one_shot import OneShot
from hwdiag.experiment.techniques import TECHNIQUES, Technique
from hwdiag.process.model import Outcome

MOST_HOPES = 2
"""Techniques on one workload that are measured again, of those that start fast and of those that compile: the more
there are, the more pairs each needs."""
GRACE = 0.25
"""Share of the time by which confirmations may exceed it to reach the pairs without which nothing is decided."""


def claim_of(technique: Technique, workload: Workload, device: Device) -> Claim:
    """Return that a technique is faster than going without it."""
    pair = (BASELINE, technique.plan.id) if technique.is_default else (technique.plan.id, BASELINE)
    return Claim(pair[0], Scope(workload.name, (workload.name,)), pair[1], device.name)


def claims_of(
    techniques: Iterable[Technique], workloads: Sequence[Workload], device: Device
) -> dict[Claim, tuple[Technique, Workload]]:
    """Return what can be claimed of techniques on these workloads, with what each is about."""
    return {claim_of(t, w, device): (t, w) for t in techniques for w in workloads if applies(t, w, device)}


def measure_gains(
    campaign: Campaign,
    device: Device,
    workloads: Sequence[Workload],
    *,
    rounds: int,
    slow_rounds: int,
    slow_on: int,
    devices: int = 1,
    techniques: Sequence[Technique] = TECHNIQUES,
) -> tuple[Claim, ...]:
    """Measure on this device, one of so many. Return the claims that were planned to be decided.

    What compiles first is tried on the first ``slow_on`` workloads alone, in ``slow_rounds`` blocks in place of
    ``rounds``.
    """
    by_id = {t.plan.id: t for t in techniques}
    by_workload = {w.name: w for w in workloads}

    def measure(claims: Sequence[Claim], phase: Phase) -> list[Block]:
        todo = [(name, claim.scope.name) for claim in claims for name in {claim.plan, claim.baseline} - {BASELINE}]
        return run(campaign, by_id, by_workload, device, todo, phase)

    begun = campaign.clock()
    family = devices * MOST_HOPES * (len(workloads) + min(slow_on, len(workloads)))
    shot = OneShot(measure, campaign.clock, begun + campaign.remaining_s, GRACE * campaign.budget.total_s)
    decide(shot, claims_of((t for t in techniques if not t.slow_start), workloads, device), rounds, family)
    decide(shot, claims_of((t for t in techniques if t.slow_start), workloads[:slow_on], device), slow_rounds, family)
    return tuple(shot.claims)


def decide(shot: OneShot, candidates: Mapping[Claim, tuple[Technique, Workload]], rounds: int, family: int) -> None:
    """Screen these, one workload at a time so that a process's peak of memory is this workload's; confirm the hopeful.

    Where the time does not suffice for all the hopeful, the first of them are confirmed. ``family``: claims, at most,
    of the whole run.
    """
    took, runs = 0.0, 0
    for workload in dict.fromkeys(w.name for _, w in candidates.values()):
        mine = [claim for claim, (_, w) in candidates.items() if w.name == workload]
        took += shot.screen(mine, rounds)
        runs += 1 + len(mine)
    chosen = affordable(shot, promising(shot, candidates), took / max(1, runs), least_pairs(family))
    shot.confirm(chosen, family=family)


def promising(shot: OneShot, candidates: Iterable[Claim]) -> list[Claim]:
    """Return the best of each workload that looked better in the screening, the largest gain first."""
    left: dict[str, int] = defaultdict(lambda: MOST_HOPES)
    chosen = []
    for claim in shot.promising(candidates, HOPE):
        if left[claim.scope.name]:
            left[claim.scope.name] -= 1
            chosen.append(claim)
    return chosen


def affordable(shot: OneShot, claims: Sequence[Claim], each_s: float, pairs: int) -> list[Claim]:
    """Return the first of them for which the time suffices, where one process of a block takes ``each_s``."""
    claims = [*claims]
    while claims:
        processes = len(claims) + len({claim.scope for claim in claims})
        if shot.clock() + pairs * processes * each_s <= shot.end + shot.grace_s:
            break
        claims.pop()
    return claims


def run(
    campaign: Campaign,
    by_id: Mapping[str, Technique],
    by_workload: Mapping[str, Workload],
    device: Device,
    todo: Sequence[tuple[str, str]],
    phase: Phase,
) -> list[Block]:
    """Measure each technique on its workloads once, and the default on all of them."""
    only: dict[str, list[str]] = defaultdict(list)
    for name, workload in todo:
        only[name].append(workload)
    wanted = {workload for _, workload in todo}
    plans = [DEFAULT, *(by_id[name].plan for name in only)]
    workloads = [w for name, w in by_workload.items() if name in wanted]
    return blocks_of(campaign.run(plans, workloads, phase, device.name, only=only))


def gains(
    measurements: Sequence[Measurement],
    workloads: Sequence[Workload],
    devices: Sequence[Device],
    planned: Sequence[Claim],
    min_effect: float,
    techniques: Sequence[Technique] = TECHNIQUES,
) -> tuple[Gain, ...]:
    """Return each technique on each workload and device. All ``planned`` claims share the run's error budget."""
    candidates = {c: (*about, d) for d in devices for c, about in claims_of(techniques, workloads, d).items()}
    blocks = {phase: blocks_of(m for m in measurements if m.phase == phase) for phase in ("screen", "confirm")}
    claims = [claim for claim in planned if claim in candidates]
    judged = {key_of(c): c for c in judge_claims(claims, blocks["confirm"], min_effect)}
    seen = {key_of(c): c for c in describe(candidates, blocks["screen"], min_effect)}
    found = (
        gain(measurements, *about, judged.get(key), seen.get(key))
        for about in candidates.values()
        for key in [key_of(claim_of(*about))]
    )
    return tuple(g for g in found if g is not None)


def key_of(about: Claim | Comparison) -> tuple[str, str, str, str]:
    """Return what tells claims, and what came of them, apart."""
    if isinstance(about, Claim):
        return about.plan, about.baseline, about.scope.name, about.device
    return about.candidate, about.baseline, about.workload, about.device


def gain(
    measurements: Sequence[Measurement],
    technique: Technique,
    workload: Workload,
    device: Device,
    judged: Comparison | None,
    seen: Comparison | None,
) -> Gain | None:
    """Return one technique on one workload; None where its turn did not come."""
    own, default = (
        [m for m in measurements if (m.workload, m.device, m.plan) == (workload.name, device.name, name)]
        for name in (technique.plan.id, BASELINE)
    )
    if not own:
        return None
    comparison = judged or seen
    failed = failure(own) or (None if comparison else failure(default, "without it: "))
    with_it, without = (default, own) if technique.is_default else (own, default)
    first = [m.first_s for m in own if m.first_s is not None] if technique.slow_start else []
    return Gain(
        technique=technique.name,
        workload=workload.name,
        device=device.name,
        mode="training" if workload.kind == "training" else "inference",
        comparison=comparison,
        planned=judged is not None,
        outcome=failed or Outcome(kind="ok"),
        max_error=error_of(with_it),
        default_error=error_of(without),
        peak_bytes=peak_of(with_it),
        default_peak_bytes=peak_of(without),
        cold_s=first[0] if first else None,
        warm_s=float(sorted(first[1:])[len(first[1:]) // 2]) if len(first) > 1 else None,
    )


def failure(measurements: Iterable[Measurement], whose: str = "") -> Outcome | None:
    """Return how the first process ended that failed, with ``whose`` failure it is."""
    found = next((m.outcome for m in measurements if not m.outcome.ok), None)
    return found and found.model_copy(update={"detail": f"{whose}{found.detail}"})


def error_of(measurements: Iterable[Measurement]) -> float | None:
    """Return the error that the first process found."""
    return next((m.max_error for m in measurements if m.max_error is not None), None)


def peak_of(measurements: Sequence[Measurement]) -> int | None:
    """Return the median peak: of the device's memory where torch counts it, else of processes that measured nothing
    else."""
    own = [m.peak_device_bytes for m in measurements if m.peak_device_bytes]
    alone = [m for m in measurements if m.phase == "screen" and m.max_error is None]
    known = own or [m.peak_rss_bytes for m in alone if m.peak_rss_bytes]
    return sorted(known)[len(known) // 2] if known else None
