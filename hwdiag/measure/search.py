"""The search for a better Launch: one question after the other, each answered by a race; the winner measured afresh.

Threads and placement, the OpenMP runtime, the heap and the libraries' dispatch multiply to thousands of ways to start
a process. Asked one after the other, each starting from the best answer so far, they add up to some dozens. What wins
a race of many wins partly by luck; only the fresh measurement, which no candidate was chosen by, counts as evidence.

Nothing here knows how a Launch is measured: the same search runs on a machine and on a simulated one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Interval, Option, Phase, Step, Verdict
from hwdiag.measure.stats import MIN_PAIRS, faster_p, judge, median_interval, pairs_needed, spread

Speedups = Mapping[str, Sequence[float]]
"""For each Launch by name, its speed-ups over today's default: one a block, from a pair of processes in turns."""

Measure = Callable[[Sequence[Launch], int, Phase], Speedups]
"""Measures these Launches beside today's default in so many blocks. One that fails is left out of the answer."""

CONFIRM_SHARE = 0.5
"""Share of the time that is kept for the confirmation."""
DROP_SIGMA = 2.5
"""Standard errors by which an option must lie behind the best to leave the race."""
LEAST_STEP = 0.01
"""Least gain for which another setting is taken on: half of what any user could feel, a third of the least effect."""
STEP_SIGMA = 1.5
"""Standard errors that such a gain must have. A wrong step is harmless: the whole is confirmed afresh, or dropped."""
LEAST_ROUNDS = 2
"""Blocks, if there is time, before one option alone ends a race: one block's luck is no answer."""
LEAST_NOISE = 0.005
"""Spread of a pair's ratio that is assumed at least: a few equal values don't prove that there is no noise."""


@dataclass(frozen=True)
class Question:
    """One thing to decide: changes to a Launch of which at most one is taken on."""

    name: str
    options: tuple[Launch, ...]
    """What each changes."""
    refine: Callable[[Launch], Sequence[Launch]] = lambda best: ()
    """Further options, once the best of the first is known."""


@dataclass(frozen=True)
class Decision:
    """What the search found."""

    launch: Launch
    """The fastest found, today's default where nothing was."""
    verdict: Verdict
    """``better`` only if the fresh measurement shows it."""
    why: str
    speedup: Interval | None = None
    """Over today's default, measured afresh; None where nothing was left to confirm."""
    p_value: float | None = None
    steps: tuple[Step, ...] = ()


def find_best(
    questions: Sequence[Question],
    measure: Measure,
    *,
    budget_s: float,
    min_effect: float,
    rounds: int = 4,
    most_pairs: int = 16,
    default: Launch,
    clock: Callable[[], float] = time.monotonic,
) -> Decision:
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
    exploration = Exploration(measure, default, clock() + budget_s * (1 - CONFIRM_SHARE), rounds, clock)
    for question in questions:
        exploration.ask(question)
    best, steps = exploration.best, tuple(exploration.steps)
    if best.name == default.name:
        return Decision(default, "undecided" if budget_s <= 0 else "same", nothing_found(steps), steps=steps)
    pairs = pairs_to_confirm(exploration.noise, min_effect, most_pairs)
    ratios = measure([best], pairs, "confirm").get(best.name, ())
    if not ratios:
        return Decision(best, "undecided", "it could not be measured again", steps=steps)
    speedup, p_value = median_interval(ratios), faster_p(ratios)
    verdict, why = judge(speedup, p_value, min_effect)
    return Decision(best, verdict, why, speedup, p_value, steps)


def nothing_found(steps: Sequence[Step]) -> str:
    """Why the default stays, without a confirmation."""
    seen = [o for s in steps for o in s.options]
    if not seen:
        return "nothing else could be measured"
    nearest = max(seen, key=lambda o: o.speedup.median)
    return f"of {len(seen)} others the nearest, {nearest.launch!r}, gave {nearest.speedup.median:.2f}x in the screening"


def pairs_to_confirm(noise: float, min_effect: float, most: int) -> int:
    """Pairs for an interval of half the least effect to each side, within what is worth the time."""
    return max(MIN_PAIRS, min(most, pairs_needed(noise, min_effect / 2)))


@dataclass
class Exploration:
    """The races so far: the best Launch, and every speed-up that was measured."""

    measure: Measure
    best: Launch
    deadline: float
    rounds: int
    clock: Callable[[], float]
    steps: list[Step] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=dict)
    """Speed-ups over today's default by name of Launch; of the default itself none, as they are 1."""

    @property
    def noise(self) -> float:
        """Spread of one pair's ratio, over all options that were measured more than once."""
        within = [r / float(np.median(ratios)) for ratios in self.seen.values() if len(ratios) > 1 for r in ratios]
        # Deviations from the medians of few values are too small: n values leave n - 1 of them free.
        groups = sum(len(ratios) > 1 for ratios in self.seen.values())
        freed = np.sqrt(len(within) / max(1, len(within) - groups))
        return max(LEAST_NOISE, spread(within) * float(freed))

    def ask(self, question: Question) -> None:
        """Race the options, and those that come of the best of them, against the best Launch so far."""
        start = self.best
        options = [start.plus(change) for change in question.options]
        if start.name in self.seen:
            options.insert(0, start)
        alive = self._race(options)
        refined = [start.plus(change) for change in question.refine(self._fastest(alive))] if alive else []
        fresh = [o for o in refined if o.name not in self.seen and o.name not in {x.name for x in options}]
        if fresh:
            alive = self._race([self._fastest(alive), *fresh])
        winner = self._fastest([*alive, start])
        if winner.name != start.name and self._is_worth_it(winner, start):
            self.best = winner
        asked = [o for o in (*options, *fresh) if o.name in self.seen and o.name != start.name]
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
                ),
                adopted=self.best.name if self.best.name != start.name else None,
            )
        )

    def _race(self, options: Sequence[Launch]) -> list[Launch]:
        """Measure block by block; what is surely behind drops out. Gives those that are left."""
        alive = list(options)
        for done in range(self.rounds):
            started = self.clock()
            if not alive or started >= self.deadline or (done >= LEAST_ROUNDS and len(alive) == 1):
                break
            fresh = self.measure(alive, 1, "screen")
            for name, ratios in fresh.items():
                self.seen.setdefault(name, []).extend(ratios)
            alive = [o for o in alive if fresh.get(o.name)]
            if alive:
                leader = self._fastest(alive)
                alive = [o for o in alive if not self._is_surely_behind(o, leader)]
        return [o for o in alive if o.name in self.seen]

    def _fastest(self, options: Sequence[Launch]) -> Launch:
        return max(options, key=self._gain)

    def _gain(self, launch: Launch) -> float:
        """Mean logarithm of the speed-ups over today's default."""
        return float(np.mean(np.log(self.seen[launch.name]))) if launch.name in self.seen else 0.0

    def _error(self, one: Launch, other: Launch) -> float:
        """Standard error of the difference of two gains."""
        counts = [len(self.seen[launch.name]) for launch in (one, other) if launch.name in self.seen]
        return self.noise * float(np.sqrt(sum(1 / n for n in counts)))

    def _is_surely_behind(self, option: Launch, leader: Launch) -> bool:
        behind = self._gain(leader) - self._gain(option)
        return behind > LEAST_STEP + DROP_SIGMA * self._error(option, leader)

    def _is_worth_it(self, winner: Launch, start: Launch) -> bool:
        ahead = self._gain(winner) - self._gain(start)
        return ahead > LEAST_STEP and ahead > STEP_SIGMA * self._error(winner, start)
