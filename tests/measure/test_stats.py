"""The statistics do what they promise: simulated, with fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest

from hwdiag.measure.model import Interval
from hwdiag.measure.stats import MIN_PAIRS, geometric_mean, judge, median_interval, speedup_interval


def interval(median: float, low: float, high: float, processes: int = 10) -> Interval:
    return Interval(median=median, low=low, high=high, processes=processes)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(200):
        got = median_interval(list(random.lognormal(0, 0.15, 12)))
        hits += got.low <= 1.0 <= got.high
    assert 0.90 <= hits / 200 <= 1.0


def test_a_launch_against_itself_is_rarely_called_better_or_worse() -> None:
    """Noise of 16 % between processes, as seen on a shared machine, and drift that both share."""
    random = np.random.default_rng(11)
    called = 0
    for _ in range(300):
        drift = np.cumsum(random.normal(0, 0.05, 10))
        a, b = (np.exp(drift + random.normal(0, 0.16, 10)) for _ in range(2))
        called += judge(speedup_interval(list(a), list(b)), 0.03)[0] in ("better", "worse")
    assert called / 300 <= 0.08


def test_a_true_gain_is_found() -> None:
    random = np.random.default_rng(3)
    base = random.lognormal(0, 0.02, 10)
    faster = random.lognormal(0, 0.02, 10) / 1.2
    speedup = speedup_interval(list(base), list(faster))
    assert judge(speedup, 0.03)[0] == "better"
    assert 1.15 < speedup.median < 1.25


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
    assert judge(speedup, 0.03)[0] == verdict


def test_the_interval_says_how_much_it_rests_on() -> None:
    got = median_interval([1.0, 2.0, 3.0], samples=30)
    assert (got.median, got.processes, got.samples) == (2.0, 3, 30)
    assert got.low < got.high
    assert median_interval([5.0]).low == 5.0
    with pytest.raises(ValueError, match="no values"):
        median_interval([])
    with pytest.raises(ValueError, match="zip"):
        speedup_interval([1.0], [1.0, 2.0])


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
