"""The search for the fastest plan: screened by races and factorial blocks, then confirmed afresh and judged.

Every topic that looks for the best of many plans runs this, on a machine and in the simulations that prove it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hwdiag.core.choices import Accuracy
from hwdiag.core.interval import Interval
from hwdiag.experiment.confirmation import confirm
from hwdiag.experiment.finalists import finalists
from hwdiag.experiment.judge import Claim, judge_in_order
from hwdiag.experiment.laboratory import Block, FirstLook, Laboratory, Scope
from hwdiag.experiment.lever import DEFAULT, Factor, Lever, Plan, within
from hwdiag.experiment.model import Comparison, Verdict
from hwdiag.experiment.screening import Screening
from hwdiag.experiment.space import SearchSpace
from hwdiag.experiment.timetable import RACE_SHARE, Effort, Timetable, enough_pairs

RUNNERS, NEAR = 2, 3
"""Levers, at most, that came next in the race and that lie near its winner, which are tried again with the others."""
SURE_SIGMAS = 2.0
"""Standard errors of a gain, above what was seen of it, that stay below the least effect where it is excluded."""
SURE_TRIALS, CLEARLY = 4, 0.1
"""Trials, at least, by which a lever is excluded whose logarithm of the speed is not lower by this much."""


@dataclass
class SearchResult:
    """The outcome of a search, with all that it rests on."""

    screening: Screening
    min_effect: float
    space: SearchSpace
    finalists: tuple[Plan, ...] = ()
    claims: tuple[Claim, ...] = ()
    confirmed: list[Block] = field(default_factory=list)
    share: float = 1.0
    """Of the run's error budget."""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Return the verdicts on what was confirmed."""
        return tuple(judge_in_order(self.claims, self.confirmed, self.min_effect, self.share))

    def untried(self, factors: Sequence[Factor]) -> tuple[Lever, ...]:
        """Return the levers without a risk that no plan was measured with, for want of time."""
        tried = {lever for plan in self.screening.plans.values() for lever in plan.lever_ids}
        return tuple(lever for factor in factors for lever in factor.levers if not lever.risk and lever.id not in tried)

    @property
    def open_levers(self) -> tuple[Lever, ...]:
        """Return the levers without a risk, of the accuracy that was asked for, that may be faster by the least effect
        for all that was measured. Only where there is none can be said that nothing helps."""
        limit, effects = self.screening.accuracy, self.screening.by_lever(self.confirmed)
        able = (x for factor in self.space.factors for x in factor.levers if not x.risk and within(x.accuracy, limit))
        return tuple(lever for lever in able if not self._is_excluded(lever, *effects.gain([lever.id])))

    def _is_excluded(self, lever: Lever, gain: float, error: float) -> bool:
        """Return whether what was measured excludes that a lever is faster by the least effect. A few trials do not
        tell their own noise: by them only what is clearly slower is excluded."""
        limit = self.min_effect if self.screening.trials_with(lever) >= SURE_TRIALS else -CLEARLY
        return gain + SURE_SIGMAS * error < limit

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Return all plans that were tried or that a step tells of, today's way first."""
        finalists = {plan.id: plan for plan in self.finalists}
        return tuple((self.screening.plans | self.screening.told | finalists).values())

    def decision(self) -> Decision:
        """Return the plan to use on the whole, and why."""
        best = self.screening.best
        if not self.claims or self.claims[0].plan != best.id:
            return Decision(DEFAULT, *kept(self))
        found = next(
            (c for c in self.comparisons if (c.candidate, c.workload) == (best.id, self.claims[0].scope.name)), None
        )
        if found is None:
            return Decision(DEFAULT, "undecided", f"{best.title!r} looked best, but failed when it was measured again")
        return Decision(best, found.verdict, found.why, found.speedup, found.p_value)


@dataclass(frozen=True)
class Decision:
    """The plan to use on the whole, and why."""

    plan: Plan
    """The fastest found; today's way where nothing was, or it failed when it was measured again."""
    verdict: Verdict
    """``better`` only if the fresh measurement shows it."""
    why: str
    speedup: Interval | None = None
    """Over today's way, measured afresh; None where nothing was left to confirm."""
    p_value: float | None = None


def search(
    laboratory: Laboratory,
    space: SearchSpace,
    scopes: Sequence[Scope],
    effort: Effort,
    min_effect: float,
    *,
    least_noise: float = 0.0,
    is_paired: bool = True,
    refused: Callable[[Plan], str] = lambda plan: "",
    share: float = 1.0,
    seed: int = 1,
    accuracy: Accuracy = "same",
    look: FirstLook | None = None,
) -> SearchResult:
    """Find the plan that is fastest on the first scope, and others that may be faster on a single one.

    Where levers do something to results, it finds the best plan of each accuracy, the one that was asked for first.

    Args:
        laboratory: measures plans beside today's way.
        space: the factors and their levers.
        scopes: all workloads together, then each by itself.
        effort: how long it may take. With no time left nothing is measured.
        min_effect: least gain worth a change, 0.03 for 3 %.
        least_noise: spread of a pair's ratio that was seen before.
        is_paired: whether plans of one block meet the same seconds of the machine.
        refused: why a plan is not to be tried; empty where it is.
        share: of the run's error budget, where it decides more than this.
        seed: of the order of combinations.
        accuracy: the weakest that the best plan may do to results.
        look: what was measured before.
    """
    limits, look = space.limits(accuracy), look or FirstLook()
    began = laboratory.clock()
    screening = Screening(
        laboratory, scopes[0], effort.rounds, began, is_paired=is_paired, refused=refused, seed=seed,
        accuracy=accuracy, blocks=[*look.blocks], plans={plan.id: plan for plan in (DEFAULT, *look.plans)},
        pace=look.pace_s,
    )  # fmt: skip
    times = Timetable(screening, space, effort, len(scopes), share, min_effect, least_noise, began)
    screening.deadline = times.screened()
    screen(screening, space, limits, times)
    found = SearchResult(screening, min_effect, space, share=share)
    most = times.plans_that_fit()
    found.finalists, found.claims = finalists(screening, scopes, space, effort.finalists, min_effect, limits, most)
    screening.plans |= {plan.id: plan for plan in found.finalists}
    if found.finalists:
        least = enough_pairs(len(found.claims), share)
        found.confirmed = confirm(
            lambda: laboratory.measure(found.finalists, "confirm"),
            laboratory.clock,
            times.pairs(least),
            least,
            end=times.end,
            grace_s=times.grace_s,
        )
    return found


def screen(
    screening: Screening,
    space: SearchSpace,
    limits: Sequence[Accuracy],
    times: Timetable,
) -> None:
    """Race the first factor, try the others together with what lies near its best lever, and race what that adds up
    to."""
    left: list[Plan] = []
    if space.first is not None:
        share = RACE_SHARE if space.factorial or space.last else 1.0
        left = screening.race(space.first, times.began + share * (screening.deadline - times.began))
    screening.bests = dict.fromkeys(limits, screening.best_within("same"))
    screening.deadline = times.factorial_end()
    near = [again(space.first, screening.best, left)] if space.first is not None else []
    together = [factor for factor in (*near, *space.factorial) if factor.levers]
    if together:
        alternatives = screening.factorial(together, limits)
        whole = {limit: [*next_best(screening, of, near), *of] for limit, of in alternatives.items()}
        screening.playoff(whole, times.latest())
    for factor in space.last:
        if not factor.slow_s:
            screening.race(factor)
            continue
        # What is slow to start is tried where the confirmation could start it as often as it must.
        for limit in limits:
            able = [lever for lever in factor.levers if within(lever.accuracy, limit)]
            screening.deadline = times.screened_before(factor)
            if able and screening.laboratory.clock() + factor.slow_s * len(able) < screening.deadline:
                screening.race(replace(factor, levers=tuple(able)), limit=limit)


def next_best(screening: Screening, alternatives: Sequence[Plan], first: Sequence[Factor]) -> list[Plan]:
    """Return the last of these plans with the next best lever of the first factor: what is best of it may be another
    one once all else is set, which effects that multiply do not show."""
    if not alternatives:
        return []
    whole, effects = alternatives[-1], screening.by_lever()
    others = [x for factor in first for x in factor.levers if x.id not in whole.lever_ids]
    best = max(others, key=lambda lever: effects.gain([lever.id])[0], default=None)
    return [whole.plus(best)] if best is not None and len(whole.levers) > 1 else []


def again(factor: Factor, best: Plan, left: Sequence[Plan]) -> Factor:
    """Return the levers that may be better than the winner of the race once the other factors are set: those that came
    next in it, and those near the winner."""
    held = best.lever_of(factor.name)
    runners = [lever for plan in left[:RUNNERS] if (lever := plan.lever_of(factor.name)) is not None]
    levers = {lever.id: lever for lever in (*runners, *factor.refine(best)[:NEAR])}
    left_over = tuple(lever for lever in levers.values() if held is None or lever.id != held.id)
    return Factor(factor.name, left_over, effect=factor.effect, interacts=factor.interacts)


def kept(found: SearchResult) -> tuple[Verdict, str]:
    """Return why today's way stays where nothing was confirmed."""
    screening = found.screening
    tried = [p for p in screening.plans.values() if not p.is_default and within(p.accuracy, screening.accuracy)]
    if not tried:
        return "undecided", "there was no time to measure another way"
    measured = [plan for plan in tried if plan.id in screening.measured]
    if not measured:
        return "undecided", f"none of the {len(tried)} others could be measured"
    effects = screening.by_plan()
    nearest = max(measured, key=lambda plan: effects.gain([plan.id])[0])
    gain, error = effects.gain([nearest.id])
    why = f"of {len(measured)} others the nearest, {nearest.title!r}, gave {math.exp(gain):.2f}x in the screening"
    return "undecided" if gain + SURE_SIGMAS * error > found.min_effect or found.open_levers else "same", why
