"""Statistics over processes: the process is the unit of evidence, its median iteration time the datum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from hwdiag.measure.model import Interval, Verdict

CONFIDENCE = 0.95
RESAMPLES = 4999
ALPHA = 0.05
"""Chance of one false "better" or more in a whole run of the search."""
MIN_PAIRS = 6
"""Pairs of processes without which nothing is decided: the extremes of n values enclose their median with
probability 1 - 2^(1-n), which reaches 95 % at n = 6 (sign test)."""


def median_interval(values: Sequence[float], *, samples: int = 0) -> Interval:
    """Median of per-process values with its percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    Of one value the interval is that value. Raises ``ValueError`` for none.
    """
    if not values:
        raise ValueError("no values")
    if len(values) == 1 or min(values) == max(values):
        return Interval(median=values[0], low=min(values), high=max(values), processes=len(values), samples=samples)
    result = stats.bootstrap(
        (np.asarray(values),),
        np.median,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(0),  # the same data give the same interval
    )
    low, high = result.confidence_interval
    return Interval(
        median=float(np.median(values)), low=float(low), high=float(high), processes=len(values), samples=samples
    )


def faster_p(ratios: Sequence[float]) -> float:
    """Probability of ratios that speak this much for "faster" (above 1) if there were no difference.

    One-sided Wilcoxon signed-rank test on their logarithms (Wilcoxon 1945), exact for few of them without ties. Each
    ratio pairs two processes of one block, so that drift of the machine cancels. 1 if all ratios are 1.
    """
    logs = np.log(ratios)
    return float(stats.wilcoxon(logs, alternative="greater").pvalue) if np.any(logs) else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, so that all below a level hold together (Holm 1979)."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def geometric_mean(values: Sequence[float]) -> float:
    """Geometric mean of positive values."""
    return float(np.exp(np.mean(np.log(values))))


def judge(speedup: Interval, p_value: float | None, min_effect: float) -> tuple[Verdict, str]:
    """Verdict and its reason in words, for a smallest effect worth a change (0.03 is 3 %).

    ``better`` and ``worse`` need an interval that excludes 1 *and* a median at least ``min_effect`` away from it;
    ``better``, which makes somebody change something, needs a corrected ``p_value`` below ``ALPHA`` too, and so a test
    that was planned.
    ``same`` needs the whole interval within ``min_effect``; all else is ``undecided``.
    """
    if speedup.processes < MIN_PAIRS:
        return "undecided", f"at least {MIN_PAIRS} pairs are needed to decide"
    worth, loss = 1 + min_effect, 1 / (1 + min_effect)
    if p_value is None and speedup.low > 1 and speedup.median >= worth:
        return "undecided", "the screening gave no hope for it, so it was not tested"
    if p_value is not None and speedup.low > 1 and speedup.median >= worth and p_value < ALPHA:
        return "better", f"the interval excludes 1, and the gain is at least {min_effect:.0%} (p = {p_value:.2g})"
    if speedup.low > 1 and speedup.median >= worth:
        return "undecided", f"among so many comparisons it may be chance (p = {p_value:.2g})"
    if speedup.high < 1 and speedup.median <= loss:
        return "worse", f"the interval excludes 1 and the loss is at least {min_effect:.0%}"
    if loss <= speedup.low and speedup.high <= worth:
        return "same", f"the whole interval lies within {min_effect:.0%}"
    return "undecided", f"the interval holds both a change worth making (over {min_effect:.0%}) and none"
