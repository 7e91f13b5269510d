"""The search for a better Launch: one question after the other, each answered by a race; the winner measured afresh.

Threads and placement, the OpenMP runtime, the heap and the libraries' dispatch multiply to thousands of ways to start
a process. Asked one after the other, each starting from the best answer so far, they add up to some dozens. What wins
a race of many wins partly by luck; only the fresh measurement, which no candidate was chosen by, counts as evidence.

Nothing here knows how a Launch is measured: the same search runs on a machine and on a simulated one. Nor does it
know more of a Launch than its name and how a change is added to it: the settings of a DataLoader are searched alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol

import numpy as np
from typing_extensions import Self, TypeVar

from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Interval, Option, Phase, Step, Verdict
from hwdiag.measure.stats import MIN_PAIRS, faster_p, geometric_mean, judge, median_interval, pairs_needed, spread


class Candidate(Protocol):
    """What is searched for: a Launch, or another set of settings that are added to each other."""

    @property
    def name(self) -> str:
        """Its own; two of the same name are the same."""

    def plus(self, change: Self, /) -> Self:
        """This with what ``change`` sets set as well."""


C = TypeVar("C", bound=Candidate, default=Launch)

Speedups = Mapping[str, Sequence[float]]
"""For each Launch by name, its speed-ups over today's default: one a block, from a pair of processes in turns."""

Measure = Callable[[Sequence[C], int, Phase], Speedups]
"""Measures these Launches beside today's default in so many blocks. One that fails is left out of the answer."""

CONFIRM_SHARE = 0.38
"""Share of the time that is kept for the confirmation."""
DROP_SIGMA = 2.5
"""Standard errors by which an option must lie behind the best to leave the race."""
LEAST_STEP = 0.01
"""Least gain for which another setting is taken on, a third of the least effect. No test is asked for: a wrong step is
harmless, as the whole is confirmed afresh or dropped, and each right one that is missed is lost."""
LEAST_ROUNDS = 2
"""Blocks, if there is time, before one option alone ends a race: one block's luck is no answer."""
REFINEMENTS = 2
"""How often the options around the best so far are asked for."""
USUAL_NOISE = 0.02
"""Spread of a pair's ratio that is assumed until it was seen."""
USUAL_WEIGHT = 4
"""Values seen that weigh as much: a few equal ones don't prove that there is no noise."""


@dataclass(frozen=True)
class Question(Generic[C]):
    """One thing to decide: changes to a Launch of which at most one is taken on."""

    name: str
    options: tuple[C, ...]
    """What each changes."""
    refine: Callable[[C], Sequence[C]] = lambda best: ()
    """Further options, once the best of the first is known."""


@dataclass(frozen=True)
class Decision(Generic[C]):
    """What the search found."""

    launch: C
    """The fastest found; today's default where nothing was, or it failed when it was measured again."""
    verdict: Verdict
    """``better`` only if the fresh measurement shows it."""
    why: str
    speedup: Interval | None = None
    """Over today's default, measured afresh; None where nothing was left to confirm."""
    p_value: float | None = None
    steps: tuple[Step, ...] = ()


def find_best(
    questions: Sequence[Question[C]],
    measure: Measure[C],
    *,
    budget_s: float,
    min_effect: float,
    rounds: int = 4,
    most_pairs: int = 16,
    default: C,
    clock: Callable[[], float] = time.monotonic,
) -> Decision[C]:
    """The best Launch for one goal within ``budget_s`` seconds.

    Args:
        questions: what may be changed, in the order in which it is decided.
        measure: gives speed-ups over ``default``.
        budget_s: time for all of it. With none left nothing is measured, and the answer is the default, undecided.
        min_effect: least gain worth a change, 0.03 for 3 %.
        rounds: blocks, at most, of one race.
        most_pairs: pairs of processes, at most, for the confirmation.
        default: today's default.
        clock: seconds; a simulated machine brings its own.
    """
    end = clock() + budget_s
    exploration = Exploration(measure, default, end - budget_s * CONFIRM_SHARE, rounds, clock)
    exploration.explore(questions)
    return confirmed(exploration, questions, default, end=end, min_effect=min_effect, most_pairs=most_pairs)


def confirmed(
    exploration: Exploration[C],
    questions: Sequence[Question[C]],
    default: C,
    *,
    end: float,
    min_effect: float,
    most_pairs: int,
) -> Decision[C]:
    """What the exploration found, measured afresh against ``default`` until ``end`` on its clock."""
    best, steps, clock = exploration.best, tuple(exploration.steps), exploration.clock
    if best.name == default.name:
        return Decision(default, *kept(exploration, questions, min_effect), steps=steps)
    pairs = pairs_to_confirm(exploration.noise, min_effect, most_pairs)
    ratios: list[float] = []
    for done in range(1, pairs + 1):
        started = clock()
        ratios += exploration.measure([best], 1, "confirm").get(best.name, ())
        if not ratios or (done >= MIN_PAIRS and 2 * clock() - started > end):
            break
    if not ratios:
        why = f"{best.name!r} looked best, but failed when it was measured again"
        return Decision(default, "undecided", why, steps=steps)
    speedup, p_value = median_interval(ratios), faster_p(ratios)
    verdict, why = judge(speedup, p_value, min_effect)
    return Decision(best, verdict, why, speedup, p_value, steps)


def kept(exploration: Exploration[C], questions: Sequence[Question[C]], min_effect: float) -> tuple[Verdict, str]:
    """Why the default stays, without a confirmation."""
    if not any(q.options for q in questions):
        return "same", "there is nothing else to choose here"
    if not exploration.tried:
        return "undecided", "there was no time to measure anything"
    if not exploration.seen:
        return "undecided", f"none of the {len(exploration.tried)} others could be measured"
    nearest = max(exploration.seen, key=lambda name: geometric_mean(exploration.seen[name]))
    gain, blocks = geometric_mean(exploration.seen[nearest]), len(exploration.seen[nearest])
    why = f"of {len(exploration.seen)} others the nearest, {nearest!r}, gave {gain:.2f}x in the screening"
    is_clear = gain * (1 + 2 * exploration.noise / math.sqrt(blocks)) < 1 + min_effect
    return "same" if is_clear else "undecided", why


def pairs_to_confirm(noise: float, min_effect: float, most: int) -> int:
    """Pairs for an interval of half the least effect to each side, within what is worth the time."""
    return max(MIN_PAIRS, min(most, pairs_needed(noise, min_effect / 2)))


@dataclass
class Exploration(Generic[C]):
    """The races so far: the best Launch, and every speed-up that was measured."""

    measure: Measure[C]
    best: C
    deadline: float
    rounds: int
    clock: Callable[[], float]
    usual_noise: float = USUAL_NOISE
    """Spread of a pair's ratio that is assumed at first."""
    steps: list[Step] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=dict)
    """Speed-ups over today's default by name of Launch; of the default itself none, as they are 1."""
    tried: set[str] = field(default_factory=set)
    """Names of all that were started, whether they could be measured or not."""
    pace: float = 0.0
    """Seconds that one Launch took in the last block."""
    answers: dict[str, C] = field(default_factory=dict)
    """What was taken on, by question, in that order: together the best Launch."""

    def __post_init__(self) -> None:
        self.default = self.best

    @property
    def noise(self) -> float:
        """Spread of one pair's ratio, over all options that were measured more than once."""
        within = [r / float(np.median(ratios)) for ratios in self.seen.values() if len(ratios) > 1 for r in ratios]
        # Deviations from the medians of few values are too small: n values leave n - 1 of them free.
        free = len(within) - sum(len(ratios) > 1 for ratios in self.seen.values())
        seen = spread(within) ** 2 * len(within) / max(1, free)
        return float(np.sqrt((USUAL_WEIGHT * self.usual_noise**2 + free * seen) / (USUAL_WEIGHT + free)))

    def explore(self, questions: Sequence[Question[C]]) -> None:
        """Ask them all, each with a share of the time by the number of its options, then again what later answers may
        have moved, in the time that is left."""
        for i, question in enumerate(questions):
            left = sum(len(q.options) for q in questions[i:])
            now = self.clock()
            self.ask(question, now + (self.deadline - now) * len(question.options) / max(1, left))
        for question in questions:
            is_settled = not self.answers or question.name == next(reversed(self.answers))
            changes = () if is_settled else question.refine(self.best)
            if changes:
                self.ask(question, changes=changes)

    def ask(self, question: Question[C], until: float = math.inf, changes: Sequence[C] | None = None) -> None:
        """Race the options, or these ``changes``, and those that come of the best of them, against the best Launch so
        far. They take the place of the question's earlier answer, if it has one."""
        start = self.best
        changes = question.options if changes is None else changes
        others = self._without(question.name) if question.name in self.answers else start
        made = {others.plus(change).name: change for change in changes}
        options = [others.plus(change) for change in changes if others.plus(change).name != start.name]
        if options and start.name in self.seen:
            options.insert(0, start)
        alive = self._race(options, until)
        asked = [*options]
        for _ in range(REFINEMENTS):
            near = {others.plus(change).name: change for change in question.refine(self._fastest([*alive, start]))}
            known = {*self.seen, *made, start.name}
            fresh = [others.plus(change) for name, change in near.items() if name not in known]
            if not fresh or not alive:
                break
            made |= near
            asked += fresh
            alive = self._race([*alive[:1], *fresh], until)
        winner = self._fastest([*alive, start])
        if self._gain(winner) > self._gain(start) + LEAST_STEP:
            self.best = winner
            self.answers.pop(question.name, None)
            self.answers[question.name] = made[winner.name]
        self.steps.append(
            Step(
                question=question.name,
                options=tuple(
                    Option(
                        launch=o.name,
                        speedup=median_interval(self.seen[o.name]),
                        dropped=o.name not in {x.name for x in alive},
                    )
                    for o in asked
                    if o.name in self.seen and o.name != start.name
                ),
                adopted=self.best.name if self.best.name != start.name else None,
            )
        )

    def _without(self, question: str) -> C:
        """The best Launch so far without the answer to this question."""
        others = self.default
        for name, answer in self.answers.items():
            others = others.plus(answer) if name != question else others
        return others

    def _race(self, options: Sequence[C], until: float) -> list[C]:
        """Measure block by block; what is surely behind drops out, and at most half goes on. Gives those left."""
        alive = list(options)
        for done in range(self.rounds):
            started = self.clock()
            is_last = started + len(alive) * self.pace > min(until, self.deadline)
            if (
                not alive
                or started >= self.deadline
                or (done and is_last)
                or (done >= LEAST_ROUNDS and len(alive) == 1)
            ):
                break
            self.tried |= {o.name for o in alive}
            fresh = self.measure(alive, 1, "screen")
            self.pace = (self.clock() - started) / len(alive)
            for name, ratios in fresh.items():
                self.seen.setdefault(name, []).extend(ratios)
            alive = sorted((o for o in alive if fresh.get(o.name)), key=self._gain, reverse=True)
            noise = self.noise
            near = [o for o in alive if not self._is_surely_behind(o, alive[0], noise)]
            alive = near[: max(2, math.ceil(len(alive) / 2))]
        return [o for o in alive if o.name in self.seen]

    def _fastest(self, options: Sequence[C]) -> C:
        return max(options, key=self._gain)

    def _gain(self, launch: C) -> float:
        """Mean logarithm of the speed-ups over today's default."""
        return float(np.mean(np.log(self.seen[launch.name]))) if launch.name in self.seen else 0.0

    def _is_surely_behind(self, option: C, leader: C, noise: float) -> bool:
        error = noise * math.sqrt(sum(1 / len(self.seen[launch.name]) for launch in (option, leader)))
        return self._gain(leader) - self._gain(option) > LEAST_STEP + DROP_SIGMA * error
