"""The judge: the only place that says "better", for every topic and for comparisons over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hwdiag.core.interval import Interval
from hwdiag.experiment.laboratory import Block, Scope, speedups
from hwdiag.experiment.lever import BASELINE
from hwdiag.experiment.model import Comparison, Phase, Verdict
from hwdiag.experiment.statistics import ALPHA, MIN_PAIRS, faster_p, holm, ratio_interval, ratio_of_medians


@dataclass(frozen=True)
class Claim:
    """That a plan is faster on a scope: planned after the screening, before the measurements that decide it."""

    plan: str
    scope: Scope
    baseline: str = BASELINE
    """What it is held against."""
    device: str = "cpu"

    def speedups(self, blocks: Iterable[Block]) -> tuple[float, ...]:
        """Return the speed-ups that these blocks show, one a block."""
        mine = (block for block in blocks if block.device == self.device)
        return speedups(mine, self.plan, self.scope, self.baseline)


FIRST_SHARE = 0.6
"""Of the error budget, for the claim that matters most; the others have the rest, and all of it where that one was
confirmed."""


def judge_in_order(
    claims: Sequence[Claim], blocks: Sequence[Block], min_effect: float, share: float
) -> list[Comparison]:
    """Return the verdicts on claims of which the first matters most: it is not charged for the number of the others.

    ``share`` is that of the run's error budget. The fallback procedure of Wiens 2003, with Holm's among the others.
    """
    first, rest = claims[:1], claims[1:]
    found = judge_claims(first, blocks, min_effect, share=share * (FIRST_SHARE if rest else 1.0))
    is_confirmed = any(c.verdict == "better" for c in found)
    left = 1.0 if is_confirmed else 1.0 - FIRST_SHARE
    return [*found, *judge_claims(rest, blocks, min_effect, share=share * left)]


def judge_claims(
    claims: Sequence[Claim], blocks: Sequence[Block], min_effect: float, *, share: float = 1.0
) -> list[Comparison]:
    """Return the verdict on each claim, of blocks that were measured after it was planned.

    All claims of one run share one error budget: the chance of one false "better" or more among them is at most
    ``ALPHA`` (Holm 1979). A claim that no block could test still counts. A run that decides in two steps gives each a
    ``share`` of the budget; the second may have all of it where every claim of the first was confirmed (the fallback
    procedure: Wiens 2003, "A fixed sequence Bonferroni procedure").
    """
    ratios = [claim.speedups(blocks) for claim in claims]
    corrected = holm([faster_p(r) if r else 1.0 for r in ratios])
    return [
        comparison(claim, r, blocks, "confirm", min_effect, min(1.0, p_value / share))
        for claim, r, p_value in zip(claims, ratios, corrected, strict=True)
        if r
    ]


def describe(pairs: Iterable[Claim], blocks: Sequence[Block], min_effect: float) -> list[Comparison]:
    """Return what the screening saw of plans. No test was planned, so none of them is "better" by it."""
    found = ((claim, claim.speedups(blocks)) for claim in pairs)
    return [comparison(claim, r, blocks, "screen", min_effect, None) for claim, r in found if r]


def comparison(
    claim: Claim,
    ratios: Sequence[float],
    blocks: Sequence[Block],
    phase: Phase,
    min_effect: float,
    p_value: float | None,
) -> Comparison:
    """Return one comparison with its verdict and the measurements that it rests on."""
    speedup = ratio_interval(ratios)
    verdict, why = judge(speedup, p_value, min_effect)
    plans, workloads = (claim.baseline, claim.plan), claim.scope.workloads
    mine = (b for b in blocks if b.device == claim.device and all(plan in b.seconds for plan in plans))
    used = (b for b in mine if all(b.over(plan, workloads) is not None for plan in plans))
    return Comparison(
        workload=claim.scope.name,
        device=claim.device,
        baseline=claim.baseline,
        candidate=claim.plan,
        phase="screen" if phase == "screen" else "confirm",
        speedup=speedup,
        p_value=p_value,
        verdict=verdict,
        why=why,
        measurements=tuple(
            b.evidence[plan, w] for b in used for plan in plans for w in workloads if (plan, w) in b.evidence
        ),
    )


def judge(speedup: Interval, p_value: float | None, min_effect: float) -> tuple[Verdict, str]:
    """Return the verdict and its reason, for a smallest effect worth a change (0.03 is 3 %).

    ``better`` and ``worse`` need an interval that excludes 1 *and* an estimate at least ``min_effect`` away from it;
    ``better``, which makes somebody change something, needs a planned test whose corrected ``p_value`` is below
    ``ALPHA`` too. ``same`` needs the whole interval within ``min_effect``; all else is ``undecided``.
    """
    if speedup.processes < MIN_PAIRS:
        return "undecided", f"at least {MIN_PAIRS} pairs are needed to decide"
    worth, loss = 1 + min_effect, 1 / (1 + min_effect)
    if speedup.low > 1 and speedup.median >= worth:
        if p_value is None:
            return "undecided", "the screening gave no hope for it, so it was not tested"
        if p_value < ALPHA:
            return "better", f"the interval excludes 1, and the gain is at least {min_effect:.0%} (p = {p_value:.2g})"
        return "undecided", maybe_chance(p_value)
    if speedup.high < 1 and speedup.median <= loss:
        return "worse", f"the interval excludes 1 and the loss is at least {min_effect:.0%}"
    if loss <= speedup.low and speedup.high <= worth:
        return "same", f"the whole interval lies within {min_effect:.0%}"
    return "undecided", f"the interval holds both a change worth making (over {min_effect:.0%}) and none"


def maybe_chance(p_value: float) -> str:
    """Return why a clear interval decides nothing."""
    return f"among so many comparisons it may be chance (p = {p_value:.2g})"


@dataclass(frozen=True)
class Rerun:
    """One workload that was measured in two separate runs: its speeds then and now, medians over processes."""

    then: Interval
    now: Interval
    chosen_of: int = 1
    """Earlier runs of which ``then`` is the fastest: each could have been the one that looks faster by luck."""
    spread: float = 0.0
    """From run to run, where it is known of others that are alike: as of ``ratio_of_medians``."""


@dataclass(frozen=True)
class Judged:
    """The verdict on one workload from one run to another."""

    speedup: Interval
    """Speed now over then: below 1 it has become slower."""
    p_value: float
    """Of a change this large by chance, to either side, corrected over all that are judged together."""
    verdict: Verdict
    why: str


def judge_changes(reruns: Sequence[Rerun], min_effect: float, *, share: float = 1.0, among: int = 0) -> list[Judged]:
    """Return what became of each workload.

    All share one error budget: the chance of one false "better" or "worse" among them is at most ``ALPHA``, or this
    ``share`` of it where a false word costs more. ``among`` says of how many these are the ones with an effect worth a
    word: the others count, and need no verdict.
    """
    ratios = [ratio_of_medians(rerun.now, rerun.then, rerun.spread) for rerun in reruns]
    able = [speedup.processes >= MIN_PAIRS for speedup, _ in ratios]
    raw = [min(1.0, p * r.chosen_of) if ok else 1.0 for r, (_, p), ok in zip(reruns, ratios, able, strict=True)]
    return [
        Judged(speedup, p_value, *judge_change(speedup, min(1.0, p_value / share), min_effect))
        for (speedup, _), p_value in zip(ratios, holm(raw, among), strict=True)
    ]


def judge_change(speedup: Interval, p_value: float, min_effect: float) -> tuple[Verdict, str]:
    """Return the verdict on a change and its reason: that of ``judge``, where ``worse`` needs the test as well, as it
    is what somebody is called for."""
    if speedup.processes < MIN_PAIRS:
        return "undecided", f"at least {MIN_PAIRS} processes each, then and now, are needed to decide"
    verdict, why = judge(speedup, p_value, min_effect)
    if verdict == "worse":
        return (verdict, f"{why} (p = {p_value:.2g})") if p_value < ALPHA else ("undecided", maybe_chance(p_value))
    return verdict, why
