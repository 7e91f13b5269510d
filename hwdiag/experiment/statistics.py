"""Statistics over processes: the process is the unit of evidence, its median iteration time the datum.

Speed-ups are compared on the logarithmic scale, where twice as fast and half as fast are equally far from 1. Their
estimate, interval and test belong together: Hodges-Lehmann, and the signed-rank test that it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np

from hwdiag.core.interval import Interval

CONFIDENCE = 0.95
RESAMPLES = 4999
ALPHA = 0.01
"""Chance of one false "better" or more in all that one run decides."""
MIN_PAIRS = 8
"""Pairs of processes without which nothing is decided: the signed-rank test of n pairs cannot give less than 2^-n, and
so passes ALPHA from n = 7 on."""
WARMING_ALPHA = 0.001
"""Chance of calling one process warming that is not; smaller than ALPHA, as there are many processes."""
SIGMAS = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""Standard errors from the middle of an interval to its end."""
NARROW = 1.07
"""The standard error of a median over what its percentile bootstrap interval tells, of 10 to 40 values (simulated)."""
QUARTILE = NormalDist().inv_cdf(0.75)
"""Median absolute deviation of normal values with a standard deviation of 1."""
LOCATION_COST = math.sqrt(math.pi / 3)
"""The standard error of a Hodges-Lehmann estimate over that of a mean, for normal values."""


def median_interval(values: Sequence[float], *, samples: int = 0) -> Interval:
    """Return the median of per-process values with its percentile bootstrap interval (Efron & Tibshirani 1993, chapter
    13).

    Of one value the interval is that value. Raises ``ValueError`` for none.
    """
    if not values:
        raise ValueError("no values")
    if len(values) == 1 or min(values) == max(values):
        return Interval(median=values[0], low=min(values), high=max(values), processes=len(values), samples=samples)
    data = np.sort(values)
    lower, upper = _middles(len(data))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile((data[lower] + data[upper]) / 2, [tail, 1 - tail])
    return Interval(
        median=float(np.median(data)), low=float(low), high=float(high), processes=len(values), samples=samples
    )


@cache
def _middles(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranks of the two middle values of each resample of ``n`` values, the same in each call."""
    ranks = np.sort(np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n)), axis=1)
    return ranks[:, (n - 1) // 2], ranks[:, n // 2]


def ratio_interval(ratios: Sequence[float]) -> Interval:
    """Return the Hodges-Lehmann estimate of ratios with the 95 % interval of the signed-rank test (Hollander & Wolfe
    1999, chapter 3): the median of the means of all pairs, on the logarithmic scale.

    It needs fewer values than a median for the same precision, and wild ones move it little. Of up to five values the
    interval spans all of them, as no narrower one is sure by 95 %. Raises ``ValueError`` for none.
    """
    if not ratios:
        raise ValueError("no values")
    logs = np.log(np.asarray(ratios, dtype=float))
    first, second = np.triu_indices(len(logs))
    means = np.sort((logs[first] + logs[second]) / 2)
    out = _signed_rank_tail(len(logs))
    low, middle, high = np.exp([means[out], float(np.median(means)), means[len(means) - 1 - out]])
    return Interval(median=float(middle), low=float(low), high=float(high), processes=len(logs))


@cache
def _signed_rank_tail(n: int) -> int:
    """Return how many means of pairs lie outside of the interval at each end: the most that leave it 95 % sure."""
    ways = np.ones(1)
    for rank in range(1, n + 1):  # of each sum of ranks, how many of the 2^n signs give it
        longer = np.zeros(len(ways) + rank)
        longer[: len(ways)] += ways
        longer[rank:] += ways
        ways = longer
    below = np.cumsum(ways) / 2.0**n
    return max(0, int(np.searchsorted(below, (1 - CONFIDENCE) / 2, side="right")) - 1)


def faster_p(ratios: Sequence[float]) -> float:
    """Return the probability that ratios speak this clearly for "faster" (above 1) if there were no difference.

    One-sided Wilcoxon signed-rank test on their logarithms (Wilcoxon 1945), exact for few of them without ties. Each
    ratio pairs two processes of one block, so that drift of the machine cancels. 1 if all ratios are 1.
    """
    from scipy import stats  # half a second to import, and `hwdiag host` needs none of it

    logs = np.log(ratios)
    return float(stats.wilcoxon(logs, alternative="greater").pvalue) if np.any(logs) else 1.0


def ratio_of_medians(over: Interval, under: Interval, spread: float = 0.0) -> tuple[Interval, float]:
    """Return the ratio of two medians of separate runs with its 95 % interval, and its p-value: the probability of one
    so far from 1, to either side, if there were no difference.

    Nothing pairs their processes, so the standard errors are read off the two intervals, on the logarithmic scale, and
    added in quadrature. A bootstrap interval of few values is itself uncertain: Student's t with one degree of freedom
    less than the smaller number of processes makes up for that, and ``NARROW`` for intervals that are too short: of 8
    to 40 processes, p-values of 0.001 then come at most once in a thousand, where the normal distribution gives up to
    five.

    ``spread`` is the standard deviation of such ratios, as logarithms, from one run to another where nothing changed:
    the error is at least that.
    """
    from scipy.special import stdtr, stdtrit

    processes = min(over.processes, under.processes)
    freedom = max(1, processes - 1)
    middle = math.log(over.median / under.median)
    error = max(spread, NARROW * math.hypot(*(math.log(x.high / x.low) / (2 * SIGMAS) for x in (over, under))))
    margin = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    low, ratio, high = (math.exp(x) for x in (middle - margin, middle, middle + margin))
    p_value = 2 * float(stdtr(freedom, -abs(middle) / error)) if error else float(middle == 0)
    return Interval(median=ratio, low=low, high=high, processes=processes), p_value


def holm(p_values: Sequence[float], among: int = 0) -> list[float]:
    """Return the p-values corrected for their number, so that all below a level hold together (Holm 1979).

    ``among``: how many were asked, where only the smallest of them are given.
    """
    corrected = [0.0] * len(p_values)
    highest, count = 0.0, max(among, len(p_values))
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (count - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive values."""
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def spread(ratios: Sequence[float]) -> float:
    """Return the standard deviation of the values' logarithms by the median absolute deviation, which a few wild values
    don't move.

    0.02 means that two processes that are alike differ by about 2 % (Rousseeuw & Croux 1993; 0 for fewer than two).
    """
    if len(ratios) < 2:
        return 0.0
    logs = np.log(ratios)
    return float(np.median(np.abs(logs - np.median(logs)))) / QUARTILE


def pairs_needed(noise: float, half_width: float) -> int:
    """Return the pairs after which the 95 % interval of a speed-up is ``half_width`` (0.015 for 1.5 %) to each side.

    ``noise`` is the ``spread`` of the ratios of one pair.
    """
    return math.ceil((SIGMAS * LOCATION_COST * noise / half_width) ** 2)


def warm_after(samples: Sequence[float]) -> int:
    """Return the number of leading samples that are warm-up, by the rule MSER: the cut that leaves the surest mean.

    White 1997, "An effective truncation heuristic for bias reduction in simulation output". At most half are cut.
    """
    data = np.asarray(samples)
    cuts = range(len(data) // 2 + 1) if len(data) else ()
    return min(cuts, key=lambda d: float(np.var(data[d:]) / (len(data) - d)), default=0)


def warming(samples: Sequence[float], min_effect: float = 0.03) -> int:
    """Return the number of leading samples of one process that are warm-up costing ``min_effect`` or more; mostly 0.

    ``warm_after`` cuts noise somewhere too. So the first quarter must be slower than the second half by that much, and
    by more than chance gives in one process of a thousand (Mann & Whitney 1947).
    """
    data = np.asarray(samples)
    first, settled = data[: len(data) // 4], data[len(data) // 2 :]
    if len(first) == 0 or np.median(first) <= np.median(settled) * (1 + min_effect):
        return 0
    from scipy import stats

    is_sure = stats.mannwhitneyu(first, settled, alternative="greater").pvalue < WARMING_ALPHA
    return warm_after(samples) if is_sure else 0


def drift_p(values: Sequence[float]) -> float:
    """Return the probability of so clear a trend over time if there were none: Mann 1945, Kendall's tau against the
    order."""
    if len(values) < 4 or min(values) == max(values):
        return 1.0
    from scipy import stats

    return float(stats.kendalltau(range(len(values)), values).pvalue)


def autocorrelation(values: Sequence[float]) -> float:
    """Return the lag-1 autocorrelation, -1 to 1: how much a value tells of the next. It is 0 for fewer than three
    values, or for equal ones."""
    data = np.asarray(values) - np.mean(values) if len(values) > 2 else np.zeros(1)
    power = float(data @ data)
    return float(data[1:] @ data[:-1]) / power if power else 0.0
