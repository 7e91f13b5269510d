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
from hwdiag.experiment.search import search
from hwdiag.experiment.space import SearchSpace
from hwdiag.experiment.statistics import autocorrelation, drift_p, spread
from hwdiag.experiment.timetable import Effort
from hwdiag.tune.glance import Glance, glance

BASELINE_SHARE = 0.15
"""Of the time, for today's way by itself, where a promise is confirmed first."""


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
    open_levers: tuple[str, ...]
    """Titles of levers that may be faster by the least effect, for all that was measured."""


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
    The best Plan of each accuracy is looked for, that of ``accuracy`` first. What a glance saw of others counts in the
    search. Where there is time to confirm one plan alone, they are left to the glance: the one that it shows to be
    worth it has the time for its confirmation first.
    """
    seen = seen or glance(campaign, factors, workloads, overall_of)
    deciding = [w for w in workloads if w.name in overall_of]
    others = [w for w in workloads if w.name not in overall_of]
    is_short = campaign.budget.finalists == 1
    promised = seen.best if is_short else None
    kept_s = BASELINE_SHARE * campaign.budget.total_s if promised else 0.0
    others_s = 0.0 if promised else baseline(campaign, deciding, others)
    if not any(m.outcome.ok for m in campaign.measurements if m.plan == BASELINE and m.workload in overall_of):
        factors = ()  # there is nothing to compare with
    noise = noise_of(campaign.measurements, overall_of)
    asked = [only_within(factor, accuracy) for factor in factors] if is_short else factors
    found = search(
        CampaignLaboratory(campaign, deciding),
        replace(search_space(asked, risky=risky), promised=promised),
        scopes_of(overall_of),
        effort_of(campaign.budget, campaign.remaining_s - kept_s),
        min_effect,
        least_noise=noise.spread if noise else 0.0,
        seed=campaign.seed,
        accuracy=accuracy,
        look=seen.look,
    )
    if promised:
        baseline(campaign, deciding, others)
    elif found.finalists and others and campaign.remaining_s > (1 + len(found.finalists)) * others_s:
        campaign.run([DEFAULT, *found.finalists], others, "screen")
    known = {plan.id: plan for plan in found.plans if not plan.is_default}
    scopes = dict.fromkeys((*scopes_of(overall_of), *(Scope(w.name, (w.name,)) for w in workloads)))
    return Tuned(
        plans=(DEFAULT, CONTROL, *known.values()),
        steps=tuple(found.screening.steps),
        comparisons=(*screened([*known.values()], campaign.measurements, [*scopes], min_effect), *found.comparisons),
        noise=noise_of(campaign.measurements, overall_of),
        shares={plan.id: found.screening.shares(plan) for plan in found.finalists if len(plan.levers) > 1},
        untried=tuple(lever.title for lever in found.untried(factors)),
        open_levers=tuple(lever.title for lever in found.open_levers),
    )


def baseline(campaign: Campaign, deciding: Sequence[Workload], others: Sequence[Workload]) -> float:
    """Measure today's way on the other workloads once, and against itself on those that decide; return the seconds that
    the others took."""
    began = campaign.clock()
    if others and campaign.remaining_s > 0:
        campaign.run([DEFAULT], others, "noise")
    others_s = campaign.clock() - began
    for _ in range(campaign.budget.noise_blocks):
        if campaign.remaining_s > 0:
            campaign.run([DEFAULT, CONTROL], deciding, "noise")
    return others_s


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
