"""The statistics do what they promise: simulated, with fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest

from hwdiag.measure.model import Interval
from hwdiag.measure.stats import MIN_PAIRS, faster_p, geometric_mean, holm, judge, median_interval


def interval(median: float, low: float, high: float, processes: int = 10) -> Interval:
    return Interval(median=median, low=low, high=high, processes=processes)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(200):
        got = median_interval(list(random.lognormal(0, 0.15, 12)))
        hits += got.low <= 1.0 <= got.high
    assert 0.90 <= hits / 200 <= 1.0


def test_a_true_gain_is_found() -> None:
    ratios = 1.2 * np.random.default_rng(3).lognormal(0, 0.03, 10)
    speedup = median_interval(list(ratios))
    assert judge(speedup, faster_p(ratios), 0.03)[0] == "better"
    assert 1.15 < speedup.median < 1.25


def test_the_test_is_the_exact_one() -> None:
    """All of n ratios above 1 happen by chance once in 2^n."""
    assert faster_p([1.1, 1.2, 1.3, 1.05, 1.15, 1.25]) == pytest.approx(2**-6)
    assert faster_p([0.9, 0.8, 0.7]) == 1.0
    assert faster_p([1.0, 1.0]) == 1.0


def test_holms_correction() -> None:
    """Worked by hand: 0.01 x 4, 0.02 x 3, 0.03 x 2, and 0.03, which may not fall below the one before."""
    assert holm([0.03, 0.01, 0.02, 0.031]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("speedup", "verdict"),
    [
        (interval(1.10, 1.05, 1.15), "better"),
        (interval(1.02, 1.01, 1.04), "undecided"),
        (interval(1.10, 0.99, 1.20), "undecided"),
        (interval(0.80, 0.70, 0.90), "worse"),
        (interval(1.00, 0.99, 1.01), "same"),
        (interval(1.50, 1.40, 1.60, MIN_PAIRS - 1), "undecided"),
    ],
)
def test_verdicts(speedup: Interval, verdict: str) -> None:
    assert judge(speedup, 0.001, 0.03)[0] == verdict
    if verdict == "better":
        assert judge(speedup, None, 0.03)[0] == "undecided"
        assert judge(speedup, 0.2, 0.03) == ("undecided", "among so many comparisons it may be chance (p = 0.2)")


def test_the_interval_says_how_much_it_rests_on() -> None:
    got = median_interval([1.0, 2.0, 3.0], samples=30)
    assert (got.median, got.processes, got.samples) == (2.0, 3, 30)
    assert got.low < got.high
    assert median_interval([5.0]).low == 5.0
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
