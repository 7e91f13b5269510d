"""Screening: which plan is worth a closer look? Races and factorial blocks, of which every trial counts.

Levers multiply to thousands of plans. The factor that decides most is raced first; the others are then tried together,
another combination in each trial; what they add up to is raced against what was there. What wins a race of many wins
partly by luck: only the fresh measurement of ``confirmation`` counts as evidence.

Nothing here knows how a plan is measured: the same screening runs on a machine and on a simulated one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hwdiag.core.choices import Accuracy
from hwdiag.core.interval import Interval
from hwdiag.experiment.deck import Deck
from hwdiag.experiment.effects import Columns, Effects, Trial, estimate
from hwdiag.experiment.laboratory import Block, Laboratory, Scope
from hwdiag.experiment.lever import BASELINE, DEFAULT, Factor, Lever, Plan, within
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
MOST_COMBINATIONS = 2000
"""Of levers that interact, beyond which each factor's is chosen by itself."""
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
    accuracy: Accuracy = "same"
    """The weakest that the best plan may do to results."""
    bests: dict[Accuracy, Plan] = field(default_factory=dict)
    """The best plan so far whose results are at least of this accuracy; today's way where there is none."""
    blocks: list[Block] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=lambda: {BASELINE: DEFAULT})
    """All that were started, whether they could be measured or not."""
    told: dict[str, Plan] = field(default_factory=dict)
    """All that steps tell of: of levers that were tried together, each on top of the others that help."""
    usual: dict[str, float] = field(default_factory=dict)
    """Size of the effects that are reckoned with, by lever, and by two levers that interact."""
    interacting: dict[frozenset[str], float] = field(default_factory=dict)
    """The same by the names of two factors whose levers interact."""
    steps: list[SearchStep] = field(default_factory=list)
    pace: float = 0.0
    """Seconds that one process took in the last block."""

    @property
    def best(self) -> Plan:
        """Return the best plan of the accuracy that was asked for."""
        return self.best_within(self.accuracy)

    def best_within(self, limit: Accuracy) -> Plan:
        """Return the best plan so far whose results are at least of this accuracy."""
        return self.bests.get(limit, DEFAULT)

    @property
    def measured(self) -> set[str]:
        """Return the ids of the plans that could be measured."""
        return {plan for block in self.blocks for plan in block.seconds}

    @property
    def noise(self) -> float:
        """Return the spread of the ratio of two processes that are alike."""
        return math.sqrt(2) * self.by_lever().noise

    def race(self, factor: Factor, until: float = math.inf, limit: Accuracy = "same") -> list[Plan]:
        """Race the factor's levers, and those near the best of them, on top of the best plan of this accuracy so far.

        Return those that are left and not surely behind the winner, the fastest first.
        """
        start = self.best_within(limit)
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
        if effects.gain(self._plan_column(winner.id), over=self._plan_column(start.id))[0] > LEAST_STEP:
            self.bests[limit] = winner
        self._note(factor.name, asked, [plan.id for plan in alive], start, limit)
        best = self._plan_column(self.best_within(limit).id)
        return [plan for plan in alive if not behind(effects, [plan.id], best)]

    def factorial(
        self, factors: Sequence[Factor], limits: Sequence[Accuracy] = ("same",)
    ) -> dict[Accuracy, list[Plan]]:
        """Try the levers of all these factors together until the deadline.

        Return for each of these accuracies the plan before, and the one of all levers that help; between them, where
        the factor that was raced first has another answer now, the same with its old answer, as all else depends on it
        the most.
        """
        start = self.best_within("same")
        for factor in factors:
            self._known(factor, factor.levers)
        deck, refused, clock = Deck(factors, self.seed), 0, self.laboratory.clock
        while deck.factors and refused < MOST_REFUSED and (able := self._combinations_in(self.deadline - clock())):
            drawn = dict.fromkeys(deck.draw(start) for _ in range(able))
            plans = [plan for plan in drawn if not plan.is_default and not self.refused(plan)]
            if not plans:
                refused += 1
                continue
            self._measure(plans)
            deck.drop(self._surely_behind(start, deck))
        found: dict[Accuracy, list[Plan]] = {}
        for limit in limits:
            found[limit] = self._taken(start, factors, limit, [*found])
        return found

    def _combinations_in(self, seconds: float) -> int:
        """Return how many combinations the next factorial block may have, to end within so many seconds."""
        if not self.pace:
            return AT_ONCE if seconds > 0 else 0
        return max(0, min(AT_ONCE, int(seconds / self.pace) - 1))

    def playoff(self, alternatives: Mapping[Accuracy, Sequence[Plan]], until: float) -> None:
        """Race whole plans, the simplest first, for each accuracy, as often as fits until that moment.

        Of those that noise does not tell from the fastest the last is taken: more trials speak for it than these few
        blocks. Where there is no time for one, the surest of all plans is taken.
        """
        alternatives = {
            limit: [p for p in dict.fromkeys(of) if not self.refused(p)] for limit, of in alternatives.items()
        }
        whole = list(dict.fromkeys(itertools.chain(*alternatives.values())))
        seen = len(self.blocks)
        for _ in range(FINAL_BLOCKS if len(whole) > 1 else 0):
            if self.laboratory.clock() + (1 + len(whole)) * self.pace <= until:
                self._measure(whole)
        fresh = self._effects(self.blocks[seen:], lambda plan: (plan,), lambda plan: WIDE_EFFECT)
        for limit, of in alternatives.items():
            if of and seen == len(self.blocks):
                self.bests[limit] = self._surest(of, limit)
            alive = [p for p in of if any(p.id in b.seconds for b in self.blocks[seen:])]
            leader = max(alive, key=lambda p: fresh.gain([p.id])[0], default=None)
            for plan in alive if leader is not None else ():
                lead, error = fresh.gain([leader.id], over=[plan.id]) if leader is not None else (0.0, 0.0)
                if lead <= SIGMAS * error:
                    self.bests[limit] = plan
        if any(p.id in b.seconds for p in whole for b in self.blocks[seen:]):
            self._note(ALL, whole, [p.id for p in self.bests.values()], DEFAULT, self.accuracy)

    def _surest(self, plans: Sequence[Plan], limit: Accuracy) -> Plan:
        """Return the surest of these plans and of those of this accuracy that were measured."""
        seen = (self.plans[name] for name in self.measured)
        return max((*plans, *(plan for plan in seen if within(plan.accuracy, limit))), key=self.least_gain)

    def by_plan(self) -> Effects:
        """Return the effect of each plan over today's way."""
        return self._effects(self.blocks, self._plan_column, wide)

    def by_lever(self, more: Sequence[Block] = ()) -> Effects:
        """Return the effect of each lever; ``more`` are blocks beside those of the screening."""
        return self._effects([*self.blocks, *more], self._lever_columns, lambda name: self.usual.get(name, WIDE_EFFECT))

    def gain(self, plan: Plan) -> tuple[float, float]:
        """Return the logarithm of a plan's speed over today's way and its standard error: as it was seen, or as its
        levers add up to it."""
        if plan.id in self.measured:
            return self.by_plan().gain(self._plan_column(plan.id))
        return self.by_lever().gain(self._columns(plan.levers))

    def least_gain(self, plan: Plan) -> float:
        """Return the logarithm of a plan's speed over today's way, less its standard error: what is likely at least."""
        gain, error = self.gain(plan)
        return gain - error

    def shares(self, plan: Plan) -> dict[str, float]:
        """Return what each lever of a plan was estimated to give, as a ratio of speeds, by its id.

        What two give together beyond each by itself counts half for either.
        """
        effects = self.by_lever()
        found = {lever.id: effects.gain([lever.id])[0] for lever in plan.levers}
        for one, other in itertools.combinations(plan.levers, 2):
            beside = effects.gain(self._columns([one, other])[2:])[0]
            found[one.id] += beside / 2
            found[other.id] += beside / 2
        return {name: math.exp(gain) for name, gain in found.items()}

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
        self.interacting |= {frozenset((factor.name, other)): size for other, size in factor.interacts.items()}
        return levers

    def _plan_column(self, plan: str) -> tuple[str, ...]:
        return () if plan == BASELINE else (plan,)

    def _lever_columns(self, plan: str) -> tuple[str, ...]:
        return self._columns(self.plans[plan].levers)

    def _columns(self, levers: Sequence[Lever]) -> tuple[str, ...]:
        """Return the effects that these levers have together: each by itself, and by two that interact."""
        names = [lever.id for lever in levers]
        for one, other in itertools.combinations(levers, 2) if self.interacting else ():
            size = self.interacting.get(frozenset((one.factor, other.factor)))
            if size is not None:
                names.append(" with ".join(sorted((one.id, other.id))))
                self.usual[names[-1]] = size
        return tuple(names)

    def _measure(self, plans: Sequence[Plan]) -> list[Block]:
        """Measure these once."""
        if not plans:
            return []
        self.plans |= {plan.id: plan for plan in plans}
        began = self.laboratory.clock()
        fresh = self.laboratory.measure(plans, "screen")
        self.pace = (self.laboratory.clock() - began) / max(1, sum(len(block.seconds) for block in fresh))
        self.blocks += fresh
        return fresh

    def _run_race(self, plans: Sequence[Plan], until: float) -> list[Plan]:
        """Measure block by block; what is surely behind drops out, and at most half goes on. Return those left."""
        alive = [plan for plan in dict.fromkeys(plans) if not self.refused(plan)]
        clock, until = self.laboratory.clock, min(until, self.deadline)
        for done in range(self.rounds):
            began = clock()
            is_short = began + (1 + len(alive)) * self.pace > until
            if not alive or began >= until or is_short or (done >= LEAST_ROUNDS and len(alive) == 1):
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
        """Return the levers to whose factor another answer is surely better, what is set already among them.

        Where levers interact, it must be so beside each answer to the other factor. What is faster by weaker results
        does not put out what keeps better ones.
        """
        effects, found = self.by_lever(), set()
        for factor, levers in deck.factors.items():
            answers = [start.lever_of(factor), *levers]
            beside = [*self._beside(start, factor, deck)]
            for lever in levers:
                others = [x for x in answers if x is not lever and (x is None or within(x.accuracy, lever.accuracy))]
                if self.trials_with(lever) >= LEAST_TRIALS and all(
                    any(
                        behind(effects, self._columns([lever, *rest]), self._columns([*([x] if x else []), *rest]))
                        for x in others
                    )
                    for rest in beside
                ):
                    found.add(lever.id)
        return found

    def _beside(self, start: Plan, factor: str, deck: Deck) -> Iterator[list[Lever]]:
        """Yield the combinations of answers to the factors that this one interacts with."""
        names = sorted({name for pair in self.interacting if factor in pair for name in pair - {factor}})
        answers = [list(dict.fromkeys((start.lever_of(name), *deck.factors.get(name, ())))) for name in names]
        for combination in itertools.islice(itertools.product(*answers), MOST_COMBINATIONS):
            yield [lever for lever in combination if lever is not None]

    def trials_with(self, lever: Lever) -> int:
        """Return how often plans with a lever were measured."""
        return sum(self.trials(plan.id) for plan in self.plans.values() if lever.id in plan.lever_ids)

    def _taken(self, start: Plan, factors: Sequence[Factor], limit: Accuracy, told: Sequence[Accuracy]) -> list[Plan]:
        """Take on the best levers whose results are at least of this accuracy, those of factors that interact together.

        Note what each was estimated to give, but for what was told for other accuracies.
        """
        effects, tried = self.by_lever(), {x for plan in self.measured for x in self.plans[plan].lever_ids}
        able = {
            factor.name: [x for x in factor.levers if x.id in tried and within(x.accuracy, limit)] for factor in factors
        }
        whole = start
        for group in self._groups(able):
            whole = self._best_combination(whole, [able[name] for name in group], effects)
        so_far = start
        for factor in factors:
            fresh = [x for x in able[factor.name] if not any(within(x.accuracy, other) for other in told)]
            wholes = [plan for x in fresh if not self.refused(plan := so_far.plus(x))]
            lever = whole.lever_of(factor.name)
            so_far = so_far if lever is None else so_far.plus(lever)
            if fresh or not told:
                taken = lever is not start.lever_of(factor.name) and lever in fresh
                options = tuple(self._option(plan, effects, self._columns(plan.levers)) for plan in wholes)
                self.steps.append(SearchStep(factor=factor.name, options=options, adopted=so_far.id if taken else None))
                self.told[so_far.id] = so_far
        before = start
        for lever in whole.levers:
            before = before if before.lever_of(lever.factor) else before.plus(lever)
        return [plan for plan in dict.fromkeys((start, before, whole)) if not self.refused(plan)]

    def _groups(self, able: Mapping[str, Sequence[Lever]]) -> list[list[str]]:
        """Return the factors' names in groups whose levers interact, directly or by way of others."""
        groups: list[list[str]] = []
        for name in able:
            mine = [g for g in groups if any(frozenset((name, other)) in self.interacting for other in g)]
            groups = [g for g in groups if g not in mine] + [[*itertools.chain(*mine), name]]
        small = [g for g in groups if math.prod(1 + len(able[name]) for name in g) <= MOST_COMBINATIONS]
        return [*small, *([name] for g in groups if g not in small for name in g)]

    def _best_combination(self, start: Plan, answers: Sequence[Sequence[Lever]], effects: Effects) -> Plan:
        """Return the plan with the levers by which it gains most, without those that add little."""

        def gain(plan: Plan) -> float:
            changed = len({*plan.levers} - {*start.levers})
            return effects.gain(self._columns(plan.levers))[0] - LEAST_STEP * changed

        plans = [start]
        for levers in itertools.product(*([None, *of] for of in answers)):
            plan = start
            for lever in levers:
                plan = plan if lever is None else plan.plus(lever)
            if not plan.is_default and not self.refused(plan):
                plans.append(plan)
        return max(plans, key=gain)

    def _note(self, name: str, asked: Sequence[Plan], alive: Sequence[str], start: Plan, limit: Accuracy) -> None:
        """Note one race."""
        effects, measured = self.by_plan(), self.measured
        shown = [plan for plan in asked if plan.id in measured and plan.id != BASELINE]
        options = tuple(
            self._option(plan, effects, self._plan_column(plan.id), dropped=plan.id not in alive) for plan in shown
        )
        best = self.best_within(limit)
        self.steps.append(SearchStep(factor=name, options=options, adopted=None if best == start else best.id))

    def _option(self, plan: Plan, effects: Effects, columns: Sequence[str], *, dropped: bool = False) -> TriedPlan:
        mean, error = effects.gain(columns)
        low, middle, high = (math.exp(mean + sigmas * error) for sigmas in (-SIGMAS, 0, SIGMAS))
        speedup = Interval(median=middle, low=low, high=high, processes=self.trials(plan.id))
        self.told[plan.id] = plan
        return TriedPlan(plan=plan.id, speedup=speedup, dropped=dropped)


def wide(plan: str) -> float:
    """Return the standard deviation of a plan's effect that is reckoned with: next to no expectation."""
    return 0.0 if plan == BASELINE else WIDE_EFFECT


def behind(effects: Effects, names: Sequence[str], leader: Sequence[str]) -> bool:
    """Return whether these are surely slower than the leader."""
    lead, error = effects.gain(leader, over=names)
    return lead > LEAST_STEP + DROP_SIGMA * error


def without_risk(factor: Factor) -> Factor:
    """Return the factor without the levers that carry a risk."""
    return replace(factor, levers=tuple(x for x in factor.levers if not x.risk))
