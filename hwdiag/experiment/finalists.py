"""Finalists: the plans that are measured afresh after the screening, and what is claimed of each."""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag.core.choices import Accuracy
from hwdiag.experiment.judge import Claim
from hwdiag.experiment.laboratory import Scope
from hwdiag.experiment.lever import BASELINE, Plan, within
from hwdiag.experiment.screening import Screening
from hwdiag.experiment.space import SearchSpace

PROMISING_SIGMA = 1.0
"""Standard errors by which a plan must have looked better on one workload to be measured again for it alone."""
HOPEFUL = 0.5
"""Share of the least effect from which on what the screening saw of the best plan is worth a confirmation, where
another accuracy has one that looked better."""


def finalists(
    screening: Screening,
    scopes: Sequence[Scope],
    space: SearchSpace,
    wanted: int,
    min_effect: float,
    limits: Sequence[Accuracy],
    most: int,
) -> tuple[tuple[Plan, ...], tuple[Claim, ...]]:
    """Return the plans to measure afresh and what is claimed of them, the most important first.

    These are the best of the screening on every scope, of the accuracy that was asked for and then of each other, the
    offers on all workloads together, and plans that looked better still on one workload alone on that one. Where
    more than one plan is wanted, the best of each accuracy is. Where there is time for ``most`` and that is less, those
    that looked fastest are taken, among them what was asked for if that looked like a gain and there is time for two.
    """
    bests = best_of_each(screening, space, limits, min_effect)
    if most < len(bests):
        bests.sort(key=screening.least_gain, reverse=True)
        if most > 1 and screening.best in bests and screening.least_gain(screening.best) > min_effect:
            bests.sort(key=lambda plan: plan != screening.best)
    claims = [Claim(best.id, scope) for best in bests for scope in scopes]
    most = min(most, max(wanted, len(bests)) if wanted > 1 or space.promised else wanted)
    claims += [Claim(offer.id, scopes[0]) for offer in space.offers]
    for scope in scopes[1:]:
        leader = leader_on(screening, scope, min_effect)
        claims += [] if leader is None else [Claim(leader, scope)]
    plans = {**screening.plans, **{best.id: best for best in bests}, **{offer.id: offer for offer in space.offers}}
    chosen = list(dict.fromkeys(claim.plan for claim in claims))[:most]
    return tuple(plans[plan] for plan in chosen), tuple(c for c in dict.fromkeys(claims) if c.plan in chosen)


def best_of_each(screening: Screening, space: SearchSpace, limits: Sequence[Accuracy], min_effect: float) -> list[Plan]:
    """Return the best plan of each accuracy, that of the one that was asked for first, and the one that is promised.

    What was asked for is left out where it looked like no gain and another looked better: there is something to confirm
    then.
    """
    promised = [] if space.promised is None else [space.promised]
    bests = dict.fromkeys((screening.best, *(screening.best_within(limit) for limit in limits), *promised))
    found = [best for best in bests if not best.is_default]
    if len(found) > 1 and found[0] == screening.best and screening.gain(found[0])[0] < HOPEFUL * min_effect:
        del found[0]
    return found


def leader_on(screening: Screening, scope: Scope, min_effect: float) -> str | None:
    """Return the plan that looked better on this scope than the best of all by more than the least effect."""
    own = Screening(screening.laboratory, scope, 0, 0.0, is_paired=screening.is_paired, blocks=screening.blocks)
    own.plans = screening.plans
    effects = own.by_plan()
    trials = {plan: sum(plan in block.seconds for block in screening.blocks) for plan in screening.plans}
    able = [
        plan
        for plan, count in trials.items()
        if count > 1 and plan != BASELINE and within(screening.plans[plan].accuracy, screening.accuracy)
    ]
    leader = max(able, key=lambda plan: effects.gain([plan])[0], default=None)
    if leader is None or leader == screening.best.id:
        return None
    gain, error = effects.gain([leader], over=[screening.best.id])
    return leader if gain > min_effect + PROMISING_SIGMA * error else None
