"""Several questions answered by the same trials: each tries another combination of answers, and all count for each.

Asked one after the other, an answer is known from its own few trials alone; here the effect of each is estimated from
all of them, as in a factorial experiment (Fisher 1935, "The Design of Experiments", chapter VI). The answers are taken
to multiply: what speeds up one combination by a twentieth does so in the others. Where that is wrong, such as for
threads of many workers on few CPUs, estimates mislead, and so what they add up to is raced against what was there.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwdiag.feeding.setting import Setting
from hwdiag.measure.model import Interval, Option, Step
from hwdiag.measure.search import LEAST_STEP, USUAL_WEIGHT, Exploration, Question
from hwdiag.measure.stats import MIN_PAIRS, median_interval

AT_ONCE = 5
"""Combinations of one block."""
USUAL_EFFECT = 0.1
"""Standard deviation of the effects that are to be expected: estimates from few trials are drawn towards none by it."""
FREE = 1.0
"""The same of the blocks' own levels: next to no expectation."""
SIGMAS = 1.96
ALL = "all answers together"
FINAL_BLOCKS = 2
"""Of the race in the end, which takes from the time that the confirmation has to spare."""


@dataclass(frozen=True)
class Tried:
    """One combination in one block."""

    answers: tuple[int, ...]
    """For each question 0 for as it was, or the number of the option."""
    block: int
    gain: float
    """Logarithm of its speed-up over today's default."""


@dataclass(frozen=True)
class Effect:
    """Of one option, on the logarithm of the speed."""

    mean: float
    error: float
    trials: int


def ask_together(
    exploration: Exploration[Setting],
    questions: Sequence[Question[Setting]],
    refused: Callable[[Setting], str],
    end: float,
) -> None:
    """Ask all of them until the exploration's time is up, and take on what they add up to, if that holds in a race.

    ``refused`` says why a setting is not to be tried, or nothing; ``end`` is that of the confirmation.
    """
    start = exploration.best
    questions = [sensible(question, start) for question in questions]
    if not questions or start.name not in exploration.seen:
        return
    tried, clock = [], exploration.clock
    for block, wanted in enumerate(combinations(questions)):
        began = clock()
        if began + (AT_ONCE * exploration.pace if block else 0) >= exploration.deadline:
            break
        able = {s: answers for answers in wanted if not refused(s := combined(start, questions, answers))}
        answered = {s.name: answers for s, answers in able.items()}
        exploration.tried |= set(answered)
        for name, ratios in exploration.measure(list(able), 1, "screen").items():
            exploration.seen.setdefault(name, []).extend(ratios)
            tried += [Tried(answered[name], block, math.log(ratio)) for ratio in ratios]
        exploration.pace = (clock() - began) / max(1, len(able))
    if tried:
        found = effects(tried, [len(q.options) for q in questions], exploration.noise)
        race(exploration, take_on(exploration, questions, found, refused), end)


def sensible(question: Question[Setting], start: Setting) -> Question[Setting]:
    """Without the options that crowd the workers onto some of the CPUs, where others are free."""
    sizes = {option.name: len({cpu for place in option.places for cpu in place}) for option in question.options}
    enough = min(start.workers or 0, max(sizes.values(), default=0))
    able = tuple(o for o in question.options if not o.places or sizes[o.name] >= enough)
    return Question(question.name, able)


def combinations(questions: Sequence[Question[Setting]], seed: int = 1) -> Iterator[list[tuple[int, ...]]]:
    """Blocks without end; each answer of a question comes as often as the others, in an order by chance."""
    order = random.Random(seed)
    decks: list[list[int]] = [[] for _ in questions]
    while True:
        block = []
        for _ in range(AT_ONCE):
            for deck, question in zip(decks, questions, strict=True):
                if not deck:
                    deck += order.sample(range(len(question.options) + 1), len(question.options) + 1)
            block.append(tuple(deck.pop() for deck in decks))
        yield list(dict.fromkeys(block))


def combined(start: Setting, questions: Sequence[Question[Setting]], answers: Sequence[int]) -> Setting:
    """The setting with these answers."""
    for question, answer in zip(questions, answers, strict=True):
        start = with_answer(start, question.options[answer - 1]) if answer else start
    return start


def with_answer(start: Setting, option: Setting) -> Setting:
    """The setting with this answer; another number of workers takes the place of the one that was asked for first."""
    return option if option.workers is not None else start.plus(option)


def effects(tried: Sequence[Tried], options: Sequence[int], noise: float) -> list[list[Effect]]:
    """Of each question's options over leaving it as it was: ridge regression, with a level for each block.

    Where the answers don't multiply, what is left over is more than ``noise``, and counts in its place.
    """
    blocks = max(t.block for t in tried) + 1
    first = [blocks + sum(options[:n]) for n in range(len(options))]
    design = np.zeros((len(tried), blocks + sum(options)))
    for row, one in zip(design, tried, strict=True):
        row[one.block] = 1
        for question, answer in enumerate(one.answers):
            if answer:
                row[first[question] + answer - 1] = 1
    expected = np.array([FREE] * blocks + [USUAL_EFFECT] * sum(options))
    gains = np.array([t.gain for t in tried])
    _, _, left_over = ridge(design, gains - gains.mean(), expected, noise)
    mean, covariance, _ = ridge(design, gains - gains.mean(), expected, max(noise, left_over))
    counts = design.sum(0)
    return [
        [Effect(float(mean[i]), float(np.sqrt(covariance[i, i])), int(counts[i])) for i in range(at, at + count)]
        for at, count in zip(first, options, strict=True)
    ]


def ridge(
    design: np.ndarray, values: np.ndarray, expected: np.ndarray, noise: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients that are ``expected`` to spread like that around 0, their covariance, and the noise by what they
    leave over; of few values it stays near the ``noise`` that was known before."""
    covariance = np.linalg.inv(design.T @ design / noise**2 + np.diag(expected**-2.0))
    hat = covariance @ design.T / noise**2
    mean = hat @ values
    free = len(values) - float(np.trace(design @ hat))
    left_over = ((values - design @ mean) ** 2).sum()
    return mean, covariance, float(np.sqrt((USUAL_WEIGHT * noise**2 + left_over) / (USUAL_WEIGHT + free)))


def take_on(
    exploration: Exploration[Setting],
    questions: Sequence[Question[Setting]],
    found: Sequence[Sequence[Effect]],
    refused: Callable[[Setting], str],
) -> list[Setting]:
    """Add the best answer to each question where it helps, and note what each option was estimated to give.

    Gives the setting before, and what the answers add up to; between them, if another number of workers is among the
    answers, the same without it, as all else depends on it the most.
    """
    start = before = whole = exploration.best
    level = float(np.mean(np.log(exploration.seen[start.name])))
    for question, own in zip(questions, found, strict=True):
        wholes = [with_answer(whole, option) for option in question.options]
        able = [(e, w) for e, w in zip(own, wholes, strict=True) if e.trials and not refused(w)]
        best, better = max(able, key=lambda pair: pair[0].mean, default=(None, whole))
        is_taken = best is not None and best.mean > LEAST_STEP
        exploration.steps.append(
            Step(
                question=question.name,
                options=tuple(Option(launch=w.name, speedup=estimate(level, e), dropped=False) for e, w in able),
                adopted=better.name if is_taken else None,
            )
        )
        if is_taken and best is not None:
            answer = question.options[wholes.index(better)]
            before = before if answer.workers is not None else with_answer(before, answer)
            whole = better
            level += best.mean
    return [s for s in dict.fromkeys((start, before, whole)) if not refused(s)]


def race(exploration: Exploration[Setting], rivals: Sequence[Setting], end: float) -> None:
    """Measure them side by side. Of those that noise does not tell from the fastest, the last is taken on: more speaks
    for it than these few trials. A second block is for where the confirmation can spare the time until ``end``."""
    fresh: dict[str, list[float]] = {}
    for block in range(FINAL_BLOCKS if len(rivals) > 1 else 0):
        if block and exploration.clock() + (len(rivals) + MIN_PAIRS) * exploration.pace > end:
            break
        for name, ratios in exploration.measure(rivals, 1, "screen").items():
            fresh.setdefault(name, []).extend(ratios)
    exploration.tried |= {s.name for s in rivals}
    if not fresh:
        return
    gains = {name: float(np.mean(np.log(ratios))) for name, ratios in fresh.items()}
    slack = SIGMAS * exploration.noise * math.sqrt(2 / min(map(len, fresh.values())))
    best = next(s for s in reversed(rivals) if gains.get(s.name, -math.inf) >= max(gains.values()) - slack)
    exploration.steps.append(
        Step(
            question=ALL,
            options=tuple(
                Option(launch=name, speedup=median_interval(ratios), dropped=name != best.name)
                for name, ratios in fresh.items()
            ),
            adopted=best.name if best.name != exploration.best.name else None,
        )
    )
    exploration.best = best
    exploration.seen[best.name] = fresh[best.name]


def estimate(level: float, effect: Effect) -> Interval:
    """The speed-up over today's default with one more answer."""
    low, mid, high = (math.exp(level + effect.mean + sigmas * effect.error) for sigmas in (-SIGMAS, 0, SIGMAS))
    return Interval(median=mid, low=low, high=high, processes=effect.trials)
