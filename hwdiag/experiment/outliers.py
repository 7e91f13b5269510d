"""Odd ones out among many that should be alike: robust location and scale, and a test of all of them together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwdiag.experiment.statistics import ALPHA, QUARTILE, SIGMAS, holm

LEAST_PEERS = 8
"""Values below which none of them can be odd: of fewer the spread is not known."""
REACH = 9.0
"""Median absolute deviations from which on a value has no weight."""
FREEDOM = 0.7
"""Degrees of freedom of the biweight scale for each value: its efficiency is 86 % (Lax 1985), taken low for few."""
LEAST_SPREAD = 0.003
"""Of logarithms: what no two machines are alike within."""


def robust_spread(logs: np.ndarray) -> tuple[float, float]:
    """Return the median, and the square root of the biweight midvariance (Mosteller & Tukey 1977), which a third of
    wild values moves little."""
    middle = float(np.median(logs))
    deviation = float(np.median(np.abs(logs - middle)))
    if deviation == 0:
        return middle, LEAST_SPREAD
    u = np.clip((logs - middle) / (REACH * deviation), -1, 1) ** 2
    above = np.sum((logs - middle) ** 2 * (1 - u) ** 4)
    below = abs(float(np.sum((1 - u) * (1 - 5 * u))))
    scale = math.sqrt(len(logs) * float(above)) / below if below else deviation / QUARTILE
    return middle, max(scale, LEAST_SPREAD)


@dataclass(frozen=True)
class Alike:
    """One quantity of several that should have it alike."""

    logs: np.ndarray
    """Logarithm of each."""
    errors: np.ndarray
    """Standard error of each by itself: 0 where it is exact."""


@dataclass(frozen=True)
class OddOne:
    """One value that is not like the others."""

    group: int
    index: int
    ratio: float
    """Over the median of its group."""
    p_value: float
    """Corrected for all values of all groups."""


def odd_ones_out(groups: Sequence[Alike], min_effect: float, *, share: float = 1.0) -> list[OddOne]:
    """Return the values that differ from the median of their group by at least ``min_effect``, and surely.

    All values of all groups share one error budget (Holm 1979): the chance of one false among them is at most
    ``share`` of ``ALPHA`` where what is alike scatters log-normally. Each is tested by Student's t against the robust
    spread of its group; one that is known less well than most, against its own error too.
    """
    from scipy.special import stdtr

    found: list[tuple[int, int, float]] = []
    p_values: list[np.ndarray] = []
    for number, group in enumerate(groups):
        count = len(group.logs)
        if count < LEAST_PEERS:
            continue
        middle, scale = robust_spread(group.logs)
        beyond = np.maximum(0, group.errors**2 - float(np.median(group.errors)) ** 2)
        error = np.sqrt(scale**2 * (1 + math.pi / 2 / count) + beyond)
        away = group.logs - middle
        p_values.append(2 * stdtr(FREEDOM * (count - 1), -np.abs(away) / error))
        found += [(number, i, math.exp(float(a))) for i, a in enumerate(away)]
    corrected = holm(np.concatenate(p_values).tolist()) if p_values else []
    return [
        OddOne(number, i, ratio, p / share)
        for (number, i, ratio), p in zip(found, corrected, strict=True)
        if p / share < ALPHA and abs(math.log(ratio)) >= math.log1p(min_effect)
    ]


def error_of(low: float, high: float) -> float:
    """Return the standard error, of the logarithm, of what has this 95 % interval."""
    return math.log(high / low) / (2 * SIGMAS) if 0 < low <= high else 0.0
