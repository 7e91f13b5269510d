"""From factors to evidence: the noise first, then the search, and the single workloads beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from hwdiag.core.choices import Accuracy
from hwdiag.experiment.budget import GRACE, Budget
from hwdiag.experiment.campaign import Campaign, CampaignLaboratory
from hwdiag.experiment.judge import Claim, describe
from hwdiag.experiment.laboratory import Scope, blocks_of, scopes_of, speedups
from hwdiag.experiment.lever import BASELINE, CONTROL, DEFAULT, Factor, Plan, within
from hwdiag.experiment.model import Comparison, Measurement, Noise, SearchStep, Workload
from hwdiag.experiment.screening import without_risk
from hwdiag.experiment.search import Effort, SearchResult, SearchSpace, search
from hwdiag.experiment.statistics import autocorrelation, drift_p, spread
from hwdiag.tune.glance import Glance


@dataclass(frozen=True)
class Tuned:
    """The outcome of a search on this host. The measurements themselves are the campaign's."""

    plans: tuple[Plan, ...]
    """Today's default first, then all that were tried."""
    steps: tuple[SearchStep, ...]
    comparisons: tuple[Comparison, ...]
    noise: Noise | None
    shares: dict[str, dict[str, float]]
    """By the ids of plans of several levers that were confirmed: what each lever gave in the screening, as a ratio."""
    untried: tuple[str, ...]
    """Titles of levers for which there was no time."""


def tune(
    campaign: Campaign,
    factors: Sequence[Factor],
    workloads: Sequence[Workload],
    overall_of: Sequence[str],
    min_effect: float,
    *,
    risky: bool = False,
    accuracy: Accuracy = "same",
    seen: Glance | None = None,
) -> Tuned:
    """Find the Plan that is fastest on the workloads of ``overall_of`` together, and others for single ones.

    A lever with a risk takes part in the search only if ``risky``; else it is measured beside the winner, as an offer.
    The best Plan of each accuracy is looked for, that of ``accuracy`` first. Where there is time to confirm one plan
    alone, others than that are left to what a glance saw of them: the one that is worth it is confirmed beside.
    """
    seen = seen or Glance()
    deciding = [w for w in workloads if w.name in overall_of]
    others = [w for w in workloads if w.name not in overall_of]
    for _ in range(campaign.budget.noise_blocks if campaign.remaining_s > 0 else 0):
        campaign.run([DEFAULT, CONTROL], deciding, "noise")
        if others:
            campaign.run([DEFAULT], others, "noise")
    if not any(m.outcome.ok for m in campaign.measurements if m.plan == BASELINE and m.workload in overall_of):
        factors = ()  # there is nothing to compare with
    noise = noise_of(campaign.measurements, overall_of)
    is_short = campaign.budget.finalists == 1
    asked = [only_within(factor, accuracy) for factor in factors] if is_short else factors
    space = search_space(asked, risky=risky)
    effort = effort_of(campaign.budget, campaign.remaining_s)
    if is_short and factors and seen.best is not None and not within(seen.best.accuracy, accuracy):
        space, effort = replace(space, offers=[seen.best, *space.offers]), replace(effort, finalists=2)
    found = search(
        CampaignLaboratory(campaign, deciding),
        space,
        scopes_of(overall_of),
        effort,
        min_effect,
        least_noise=noise.spread if noise else 0.0,
        seed=campaign.seed,
        accuracy=accuracy,
    )
    if found.finalists and others:
        campaign.run([DEFAULT, *found.finalists], others, "screen")
    known = {plan.id: plan for plan in (*seen.plans, *found.plans) if not plan.is_default}
    scopes = dict.fromkeys((*scopes_of(overall_of), *(Scope(w.name, (w.name,)) for w in workloads)))
    return Tuned(
        plans=(DEFAULT, CONTROL, *known.values()),
        steps=tuple(found.screening.steps),
        comparisons=(*screened([*known.values()], campaign.measurements, [*scopes], min_effect), *found.comparisons),
        noise=noise_of(campaign.measurements, overall_of),
        shares={plan.id: found.screening.shares(plan) for plan in found.finalists if len(plan.levers) > 1},
        untried=untried(found, factors, seen),
    )


def only_within(factor: Factor, accuracy: Accuracy) -> Factor:
    """Return the factor without the levers that do more to results than was asked for."""
    return replace(factor, levers=tuple(x for x in factor.levers if within(x.accuracy, accuracy)))


def search_space(factors: Sequence[Factor], *, risky: bool) -> SearchSpace:
    """Return the search space: the first factor is raced, the others are tried together, and what is slow to start is
    raced at the end."""
    able = [factor for factor in factors if factor.levers] if risky else [without_risk(factor) for factor in factors]
    offers = [] if risky else [Plan.of(lever) for factor in factors for lever in factor.levers if lever.risk]
    slow = [factor for factor in able if factor.slow_s]
    fast = [factor for factor in able if not factor.slow_s]
    is_raced = bool(fast) and all(lever.accuracy == "same" for lever in fast[0].levers)
    return SearchSpace(fast[0] if is_raced else None, fast[1:] if is_raced else fast, last=slow, offers=offers)


def effort_of(budget: Budget, total_s: float) -> Effort:
    """Return what the budget grants a search in this time."""
    return Effort(total_s, budget.rounds, budget.most_pairs, budget.finalists, grace=GRACE)


def untried(found: SearchResult, factors: Sequence[Factor], seen: Glance) -> tuple[str, ...]:
    """Return the titles of levers that neither the search nor the glance before it measured."""
    looked_at = {lever for plan in seen.plans for lever in plan.lever_ids}
    return tuple(lever.title for lever in found.untried([*factors]) if lever.id not in looked_at)


def screened(
    plans: Sequence[Plan], measurements: Sequence[Measurement], scopes: Sequence[Scope], min_effect: float
) -> list[Comparison]:
    """Return what the screening saw of each Plan on each scope."""
    blocks = blocks_of(m for m in measurements if m.phase == "screen" and m.device == "cpu")
    return describe([Claim(plan.id, s) for s in scopes for plan in plans if not plan.is_default], blocks, min_effect)


def noise_of(measurements: Sequence[Measurement], overall_of: Sequence[str]) -> Noise | None:
    """Return the noise that today's default shows against itself in turns, and by itself over the run.

    None where it was not measured twice.
    """
    ok = [m for m in measurements if m.workload in overall_of and m.outcome.ok and m.device == "cpu"]
    blocks = blocks_of(m for m in ok if m.phase == "noise")
    ratios = [r for name in overall_of for r in speedups(blocks, CONTROL.id, Scope(name, (name,)))]
    if len(ratios) < 2:
        return None
    alone = [[m.median_s for m in ok if (m.plan, m.workload) == (BASELINE, name)] for name in overall_of]
    return Noise(
        pairs=len(ratios),
        spread=spread(ratios),
        alone=spread([value / median(values) for values in alone for value in values]),
        drift_p=min(drift_p(values) for values in alone),
        autocorrelation=max(autocorrelation(values) for values in alone),
    )
