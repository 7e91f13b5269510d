"""Screening: which plan is worth a closer look? Races and factorial blocks, of which every trial counts.

Levers multiply to thousands of plans. The factor that decides most is raced first; the others are then tried together,
another combination in each trial; what they add up to is raced against what was there. What wins a race of many wins
partly by luck: only the fresh measurement of ``confirmation`` counts as evidence.

Nothing here knows how a plan is measured: the same screening runs on a machine and on a simulated one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hwdiag.core.interval import Interval
from hwdiag.experiment.effects import Columns, Effects, Trial, estimate
from hwdiag.experiment.laboratory import Block, Laboratory, Scope
from hwdiag.experiment.lever import BASELINE, DEFAULT, Factor, Lever, Plan
from hwdiag.experiment.model import SearchStep, TriedPlan

DROP_SIGMA = 2.5
"""Standard errors by which a plan must lie behind the best to leave a race."""
LEAST_TRIALS = 2
"""Trials by which something may be called behind; a single one may be an accident of the machine."""
FAR = 0.4
"""Logarithm of the speed by which a plan must lie behind to leave a race by a single trial."""
LEAST_STEP = 0.01
"""Least gain for which a lever is taken on, a third of the least effect. No test is asked for: a wrong step does no
harm, as the whole is confirmed afresh or dropped, and each right one that is missed is lost."""
LEAST_ROUNDS = 2
"""Blocks, if there is time, before one plan alone ends a race: one block's luck is no answer."""
REFINEMENTS = 2
"""How often levers around the best so far are asked for."""
AT_ONCE = 5
"""Combinations of one factorial block."""
WIDE_EFFECT = 10.0
"""Standard deviation of the logarithmic speed of plans that is reckoned with: next to no expectation."""
SIGMAS = 1.96
ALL = "all levers together"
MOST_REFUSED = 50
"""Factorial blocks of which no plan may be tried, after which no more are drawn."""
FINAL_BLOCKS = 2
"""Of the race between what was there and all levers together."""


@dataclass
class Screening:
    """The plans tried so far, and the best of them."""

    laboratory: Laboratory
    scope: Scope
    """What "best" is about."""
    rounds: int
    """Blocks, at most, of one race."""
    deadline: float
    """When no new block begins, on the laboratory's clock."""
    is_paired: bool = True
    """Whether plans of one block meet the same seconds of the machine."""
    refused: Callable[[Plan], str] = lambda plan: ""
    """Why a plan is not to be tried; empty where it is."""
    seed: int = 1
    best: Plan = DEFAULT
    blocks: list[Block] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=lambda: {BASELINE: DEFAULT})
    """All that were started, whether they could be measured or not."""
    told: dict[str, Plan] = field(default_factory=dict)
    """All that steps tell of: of levers that were tried together, each on top of the others that help."""
    usual: dict[str, float] = field(default_factory=dict)
    """Size of the effects that are reckoned with, by lever."""
    steps: list[SearchStep] = field(default_factory=list)
    pace: float = 0.0
    """Seconds that one plan took in the last block."""

    @property
    def measured(self) -> set[str]:
        """Return the ids of the plans that could be measured."""
        return {plan for block in self.blocks for plan in block.seconds}

    @property
    def noise(self) -> float:
        """Return the spread of the ratio of two processes that are alike."""
        return math.sqrt(2) * self.by_lever().noise

    def race(self, factor: Factor, until: float = math.inf) -> list[Plan]:
        """Race the factor's levers, and those near the best of them, on top of the best plan so far.

        Return those that were left, the fastest first.
        """
        start = self.best
        asked = [start.plus(lever) for lever in self._known(factor, factor.levers)]
        alive = self._run_race(asked, until)
        for _ in range(REFINEMENTS if alive else 0):
            near = [start.plus(x) for x in self._known(factor, factor.refine(self._fastest([*alive, start])))]
            fresh = [plan for plan in near if plan.id not in self.plans]
            if not fresh:
                break
            asked += fresh
            alive = self._run_race([*alive[:1], *fresh], until) or alive
        winner = self._fastest([*alive, start])
        effects = self.by_plan()
        if effects.gain([winner.id], over=[start.id])[0] > LEAST_STEP:
            self.best = winner
        self._note(factor.name, asked, [plan.id for plan in alive], start)
        return alive

    def factorial(self, factors: Sequence[Factor]) -> list[Plan]:
        """Try the levers of all these factors together until the deadline.

        Return the plan before, and the one of all levers that help; between them, where the factor that was raced first
        has another answer now, the same with its old answer, as all else depends on it the most.
        """
        start = self.best
        for factor in factors:
            self._known(factor, factor.levers)
        deck, clock, pace, refused = Deck(factors, self.seed), self.laboratory.clock, 0.0, 0
        while deck.factors and refused < MOST_REFUSED and clock() + AT_ONCE * pace < self.deadline:
            drawn = dict.fromkeys(deck.draw(start) for _ in range(AT_ONCE))
            plans = [plan for plan in drawn if not plan.is_default and not self.refused(plan)]
            if not plans:
                refused += 1
                continue
            self._measure(plans)
            pace = self.pace
            deck.drop(self._surely_behind(start, deck))
        return self._taken(start, factors)

    def playoff(self, alternatives: Sequence[Plan]) -> None:
        """Race whole plans, the simplest first. Of those that noise does not tell from the fastest the last is taken:
        more trials speak for it than these few blocks."""
        alternatives = [plan for plan in dict.fromkeys(alternatives) if not self.refused(plan)]
        seen = len(self.blocks)
        for _ in range(FINAL_BLOCKS if len(alternatives) > 1 else 0):
            self._measure(alternatives)
        alive = [p for p in alternatives if any(p.id in b.seconds for b in self.blocks[seen:])]
        if not alive:
            return
        fresh = self._effects(self.blocks[seen:], lambda plan: (plan,), lambda plan: WIDE_EFFECT)
        leader = max(alive, key=lambda p: fresh.gain([p.id])[0])
        for plan in alive:
            lead, error = fresh.gain([leader.id], over=[plan.id])
            if lead <= SIGMAS * error:
                self.best = plan
        self._note(ALL, alternatives, [self.best.id], DEFAULT)

    def by_plan(self) -> Effects:
        """Return the effect of each plan over today's way."""
        return self._effects(self.blocks, self._plan_column, lambda plan: WIDE_EFFECT)

    def by_lever(self) -> Effects:
        """Return the effect of each lever."""
        return self._effects(self.blocks, self._lever_columns, self.usual.__getitem__)

    def _effects(self, blocks: Sequence[Block], columns: Columns, expected: Callable[[str], float]) -> Effects:
        trials = [
            Trial(block.number, plan, seconds)
            for block in blocks
            for plan in block.seconds
            if (seconds := block.over(plan, self.scope.workloads)) is not None
        ]
        return estimate(trials, columns, expected, is_paired=self.is_paired)

    def _known(self, factor: Factor, levers: Sequence[Lever]) -> Sequence[Lever]:
        """Keep the effects that are reckoned with; return the levers."""
        self.usual |= {lever.id: factor.effect for lever in levers}
        return levers

    def _plan_column(self, plan: str) -> tuple[str, ...]:
        return () if plan == BASELINE else (plan,)

    def _lever_columns(self, plan: str) -> tuple[str, ...]:
        return self.plans[plan].lever_ids

    def _measure(self, plans: Sequence[Plan]) -> list[Block]:
        """Measure these once."""
        if not plans:
            return []
        self.plans |= {plan.id: plan for plan in plans}
        began = self.laboratory.clock()
        fresh = self.laboratory.measure(plans, "screen")
        self.pace = (self.laboratory.clock() - began) / len(plans)
        self.blocks += fresh
        return fresh

    def _run_race(self, plans: Sequence[Plan], until: float) -> list[Plan]:
        """Measure block by block; what is surely behind drops out, and at most half goes on. Return those left."""
        alive = [plan for plan in dict.fromkeys(plans) if not self.refused(plan)]
        clock, until = self.laboratory.clock, min(until, self.deadline)
        for done in range(self.rounds):
            began = clock()
            is_short = began + len(alive) * self.pace > until
            if not alive or began >= until or (done and is_short) or (done >= LEAST_ROUNDS and len(alive) == 1):
                break
            fresh = self._measure(alive)
            effects = self.by_plan()
            answered = {plan for block in fresh for plan in block.seconds}
            alive = sorted((p for p in alive if p.id in answered), key=lambda p: -effects.gain([p.id])[0])
            alive = self._still_in(alive, effects) if alive else []
        return [plan for plan in alive if plan.id in self.measured]

    def _still_in(self, plans: Sequence[Plan], effects: Effects) -> list[Plan]:
        """Return those that go on, of plans in order of speed: at most half, and none that is surely behind.

        A single trial may be an accident of the machine: by it alone only what is far behind goes.
        """
        leader, most = plans[0].id, max(2, math.ceil(len(plans) / 2))
        return [
            plan
            for rank, plan in enumerate(plans)
            if (
                effects.gain([leader], over=[plan.id])[0] <= FAR
                if self.trials(plan.id) < LEAST_TRIALS
                else rank < most and not behind(effects, [plan.id], [leader])
            )
        ]

    def trials(self, plan: str) -> int:
        """Return how often a plan was measured."""
        return sum(plan in block.seconds for block in self.blocks)

    def _fastest(self, plans: Sequence[Plan]) -> Plan:
        effects = self.by_plan()
        return max(plans, key=lambda p: effects.gain(self._plan_column(p.id))[0])

    def _surely_behind(self, start: Plan, deck: Deck) -> set[str]:
        """Return the levers to whose factor another answer is surely better, what is set already among them."""
        effects, found = self.by_lever(), set()
        for factor, levers in deck.factors.items():
            held = start.lever_of(factor)
            answers = [(held.id,) if held else (), *((lever.id,) for lever in levers)]
            for lever in levers:
                others = [answer for answer in answers if answer != (lever.id,)]
                is_tried = self._trials_with(lever) >= LEAST_TRIALS
                if is_tried and any(behind(effects, [lever.id], other) for other in others):
                    found.add(lever.id)
        return found

    def _trials_with(self, lever: Lever) -> int:
        return sum(self.trials(plan.id) for plan in self.plans.values() if lever.id in plan.lever_ids)

    def _taken(self, start: Plan, factors: Sequence[Factor]) -> list[Plan]:
        """Take on the best lever of each factor where it helps, and note what each was estimated to give."""
        before = whole = start
        effects, tried = self.by_lever(), {x for plan in self.measured for x in self.plans[plan].lever_ids}
        for factor in factors:
            held = whole.lever_of(factor.name)
            able = [x for x in factor.levers if x.id in tried and not self.refused(whole.plus(x))]
            gain = {x.id: effects.gain([x.id], over=[held.id] if held else [])[0] for x in able}
            best = max(able, key=lambda x: gain[x.id], default=None)
            wholes = [whole.plus(x) for x in able]
            if best is not None and gain[best.id] > LEAST_STEP:
                whole = whole.plus(best)
                before = before if held else before.plus(best)
            self.steps.append(
                SearchStep(
                    factor=factor.name,
                    options=tuple(self._option(plan, effects, plan.lever_ids) for plan in wholes),
                    adopted=whole.id if best is not None and whole.lever_of(factor.name) is not held else None,
                )
            )
        return [plan for plan in dict.fromkeys((start, before, whole)) if not self.refused(plan)]

    def _note(self, name: str, asked: Sequence[Plan], alive: Sequence[str], start: Plan) -> None:
        """Note one race."""
        effects, measured = self.by_plan(), self.measured
        shown = [plan for plan in asked if plan.id in measured and plan.id != BASELINE]
        options = tuple(
            self._option(plan, effects, self._plan_column(plan.id), dropped=plan.id not in alive) for plan in shown
        )
        self.steps.append(
            SearchStep(factor=name, options=options, adopted=None if self.best == start else self.best.id)
        )

    def _option(self, plan: Plan, effects: Effects, columns: Sequence[str], *, dropped: bool = False) -> TriedPlan:
        mean, error = effects.gain(columns)
        low, middle, high = (math.exp(mean + sigmas * error) for sigmas in (-SIGMAS, 0, SIGMAS))
        speedup = Interval(median=middle, low=low, high=high, processes=self.trials(plan.id))
        self.told[plan.id] = plan
        return TriedPlan(plan=plan.id, speedup=speedup, dropped=dropped)


class Deck:
    """Combinations by chance in which each answer to a factor comes as often as the others."""

    def __init__(self, factors: Sequence[Factor], seed: int) -> None:
        self.factors = {f.name: list(f.levers) for f in factors if f.levers}
        self._order = random.Random(seed)
        self._left: dict[str, list[Lever | None]] = {}

    def draw(self, start: Plan) -> Plan:
        """Return the plan with one answer to each factor; one of them is to leave it as it is."""
        for name, levers in self.factors.items():
            if not self._left.get(name):
                self._left[name] = self._order.sample([None, *levers], len(levers) + 1)
            lever = self._left[name].pop()
            start = start if lever is None else start.plus(lever)
        return start

    def drop(self, out: set[str]) -> None:
        """Leave out the levers with these ids, and factors that have none left."""
        kept = {name: [x for x in levers if x.id not in out] for name, levers in self.factors.items()}
        self.factors = {name: levers for name, levers in kept.items() if levers}
        self._left = {n: [x for x in left if x is None or x.id not in out] for n, left in self._left.items()}


def behind(effects: Effects, names: Sequence[str], leader: Sequence[str]) -> bool:
    """Return whether these are surely slower than the leader."""
    lead, error = effects.gain(leader, over=names)
    return lead > LEAST_STEP + DROP_SIGMA * error


def without_risk(factor: Factor) -> Factor:
    """Return the factor without the levers that carry a risk."""
    return Factor(factor.name, tuple(x for x in factor.levers if not x.risk), factor.refine)
