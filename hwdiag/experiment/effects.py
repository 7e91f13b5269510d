"""Effects of levers and plans, estimated from the trials of all blocks together.

The logarithm of a time is taken to be the level of its block, less the effect of each of the plan's levers, as in a
factorial experiment (Fisher 1935, "The Design of Experiments", chapter VI): each trial counts for every lever in it.
Where effects do not multiply, more is left over than noise, and all errors grow by it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwdiag.experiment.statistics import QUARTILE

USUAL_NOISE = 0.014
"""Standard deviation of the logarithm of one process's time that is assumed until it was seen."""
USUAL_WEIGHT = 4
"""Residuals that weigh as much: a few equal ones do not prove that there is no noise."""
LEAST_FREEDOM = 0.2
"""Share of a residual that the estimates leave free, from which on it tells of the noise."""
PASSES = 3
HUBER = 2.0
"""Standard deviations from which on a value counts less."""
FREE_LEVEL, UNKNOWN = 1.0, 10.0
"""Spread of the blocks' levels, and of the logarithm of any time, that leaves them free."""
LEAST_LEVEL = 0.02
"""Least spread of the blocks' levels that is reckoned with."""

Columns = Callable[[str], Iterable[str]]
"""Names of the effects that are in a plan, by its id."""


@dataclass(frozen=True)
class Trial:
    """One plan in one block."""

    block: int
    plan: str
    seconds: float


class Effects:
    """Estimates on the logarithm of the speed, with their errors."""

    def __init__(
        self,
        names: Mapping[str, int],
        mean: np.ndarray,
        covariance: np.ndarray,
        noise: float,
        expected: Callable[[str], float],
    ) -> None:
        self._index, self._mean, self._covariance, self._expected = names, mean, covariance, expected
        self.noise = noise
        """Standard deviation of one process's logarithmic time, what does not multiply included."""

    def gain(self, names: Iterable[str], over: Iterable[str] = ()) -> tuple[float, float]:
        """Return the sum of these effects less that of others, and its standard error.

        Of an effect that no trial held, no more is known than what is expected: 0, by its standard deviation.
        """
        counts: Counter[str] = Counter(names)
        counts.subtract(over)
        weights, unseen = np.zeros(len(self._mean)), 0.0
        for name, count in counts.items():
            if name in self._index:
                weights[self._index[name]] = count
            elif count:
                unseen += (count * self._expected(name)) ** 2
        error = float(weights @ self._covariance @ weights) + unseen
        return float(weights @ self._mean), math.sqrt(max(0.0, error))


def estimate(
    trials: Sequence[Trial],
    columns: Columns,
    expected: Callable[[str], float],
    *,
    is_paired: bool = True,
    noise: float = USUAL_NOISE,
) -> Effects:
    """Return the effects by ridge regression, with a level for each block.

    Args:
        trials: all that were measured so far.
        columns: what is in a plan; nothing for today's way.
        expected: by an effect's name the standard deviation that is reckoned with.
        is_paired: whether plans of one block met the same seconds. Levels of blocks are free then; else they are drawn
            towards each other by as much as they are seen to spread.
        noise: what is assumed at first.
    """
    if not trials:
        return Effects({}, np.zeros(0), np.zeros((0, 0)), noise, expected)
    blocks = {number: i for i, number in enumerate(dict.fromkeys(t.block for t in trials))}
    contents = {plan: tuple(columns(plan)) for plan in dict.fromkeys(t.plan for t in trials)}
    names = {name: i for i, name in enumerate(dict.fromkeys(n for of in contents.values() for n in of))}
    design = np.zeros((len(trials), len(names) + len(blocks) + 1))
    design[:, -1] = 1  # what all blocks have in common
    for row, trial in zip(design, trials, strict=True):
        for name in contents[trial.plan]:
            row[names[name]] = 1
        row[len(names) + blocks[trial.block]] = 1
    logs = -np.log([t.seconds for t in trials])
    values, weights = logs - np.median(logs), np.ones(len(trials))
    level = FREE_LEVEL
    for _ in range(PASSES):  # first with what is usual, then with what was seen
        prior = np.array([*map(expected, names), *[level] * len(blocks), UNKNOWN])
        fit = ridge(design, values, prior, noise, weights)
        noise, weights = fit.noise, fit.weights
        if not is_paired:
            level = max(LEAST_LEVEL, noise, float(np.std(fit.mean[len(names) : -1])))
    return Effects(names, fit.mean, fit.covariance, noise, expected)


@dataclass(frozen=True)
class Fit:
    """Coefficients with their covariance, and what the values left over say."""

    mean: np.ndarray
    covariance: np.ndarray
    noise: float
    """Robust spread of what is left over; of few values it stays near the one that was known before."""
    weights: np.ndarray
    """Of each value in the next pass: those that lie far off count less (Huber 1964)."""


def ridge(design: np.ndarray, values: np.ndarray, prior: np.ndarray, noise: float, weights: np.ndarray) -> Fit:
    """Return the coefficients that are expected to spread by ``prior`` around 0."""
    weighted = design.T * weights
    covariance = np.linalg.inv(weighted @ design / noise**2 + np.diag(prior**-2.0))
    hat = covariance @ weighted / noise**2
    mean = hat @ values
    freedom = 1 - np.einsum("ij,ji->i", design, hat)  # of each value: 0 where its own effect explains it
    told = freedom > LEAST_FREEDOM
    off = np.zeros(len(values))
    off[told] = np.abs(values - design @ mean)[told] / np.sqrt(freedom[told])
    seen, weight = (float(np.median(off[told])) / QUARTILE, float(freedom[told].sum())) if told.any() else (noise, 0.0)
    noise = math.sqrt((USUAL_WEIGHT * noise**2 + weight * seen**2) / (USUAL_WEIGHT + weight))
    return Fit(mean, covariance, noise, np.minimum(1.0, HUBER * noise / np.maximum(off, 1e-12)))
