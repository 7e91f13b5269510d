"""The statistics do what they promise: worked by hand, or simulated with fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest

from hwdiag.core.interval import Interval
from hwdiag.experiment.judge import judge
from hwdiag.experiment.statistics import (
    CONFIDENCE,
    MIN_PAIRS,
    autocorrelation,
    drift_p,
    faster_p,
    geometric_mean,
    holm,
    median_interval,
    pairs_needed,
    ratio_interval,
    spread,
    warm_after,
    warming,
)


def interval(median: float, low: float, high: float, processes: int = 10) -> Interval:
    return Interval(median=median, low=low, high=high, processes=processes)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(1000):
        got = median_interval(list(random.lognormal(0, 0.15, 12)))
        hits += got.low <= 1.0 <= got.high
    assert hits / 1000 == pytest.approx(CONFIDENCE, abs=0.03)


def test_the_interval_is_that_of_plain_resampling() -> None:
    values = list(np.random.default_rng(1).lognormal(0, 0.1, 11))
    medians = np.median(np.random.default_rng(2).choice(values, size=(20_000, 11)), axis=1)
    got = median_interval(values)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(medians, [0.025, 0.975])), rel=0.01)


def test_the_interval_of_ratios_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    for pairs in (8, 12, 20):
        intervals = [ratio_interval(list(random.lognormal(np.log(1.1), 0.1, pairs))) for _ in range(1500)]
        hits = sum(i.low <= 1.1 <= i.high for i in intervals)
        assert 0.93 <= hits / 1500 <= 0.985  # the test's steps are coarse for few pairs


def test_the_interval_of_ratios_agrees_with_its_test() -> None:
    """It excludes 1 where the two-sided test is below 5 %, and only there."""
    random = np.random.default_rng(3)
    for _ in range(300):
        ratios = list(random.lognormal(0.03, 0.05, 10))
        got = ratio_interval(ratios)
        p_value = 2 * min(faster_p(ratios), faster_p([1 / r for r in ratios]))
        assert (got.low > 1 or got.high < 1) == (p_value < 0.05)


def test_of_few_ratios_the_interval_spans_all() -> None:
    got = ratio_interval([1.1, 1.3, 1.2])
    assert (got.low, got.high, got.processes) == (pytest.approx(1.1), pytest.approx(1.3), 3)
    assert ratio_interval([1.5]).median == pytest.approx(1.5)
    with pytest.raises(ValueError, match="no values"):
        ratio_interval([])


def test_the_interval_says_how_much_it_rests_on() -> None:
    got = median_interval([1.0, 2.0, 3.0], samples=30)
    assert (got.median, got.processes, got.samples) == (2.0, 3, 30)
    assert got.low < got.high
    assert median_interval([5.0]).low == 5.0
    assert median_interval([4.0, 4.0]).high == 4.0
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


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


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)


def test_the_spread_is_the_standard_deviation_and_wild_values_do_not_move_it() -> None:
    ratios = np.random.default_rng(4).lognormal(0, 0.05, 2000)
    assert spread(ratios) == pytest.approx(0.05, rel=0.1)
    ratios[:100] = 9.0
    assert spread(ratios) == pytest.approx(0.05, rel=0.15)
    assert spread([1.1]) == 0.0


@pytest.mark.parametrize("noise", [0.02, 0.04])
def test_as_many_pairs_as_are_needed_give_the_wanted_width(noise: float) -> None:
    """Half the width of the interval, on average, is what was asked for."""
    random = np.random.default_rng(5)
    pairs = pairs_needed(noise, 0.015)
    got = [ratio_interval(list(random.lognormal(0, noise, pairs))) for _ in range(200)]
    assert np.mean([(i.high - i.low) / 2 for i in got]) == pytest.approx(0.015, rel=0.2)
    assert pairs_needed(2 * noise, 0.015) == pytest.approx(4 * pairs, abs=4)


def warming_up(samples: int, slow: int, random: np.random.Generator) -> np.ndarray:
    """So many samples of 10 ms with a noise of 2 %, after some that begin at twice the time and fall to it."""
    return (
        0.01
        * (1 + np.clip(1 - np.arange(samples) / max(1, slow), 0, 1) * (slow > 0))
        * random.lognormal(0, 0.02, samples)
    )


def test_a_warm_up_is_cut_where_it_ends() -> None:
    random = np.random.default_rng(6)
    cuts = [warm_after(warming_up(80, 20, random)) for _ in range(200)]
    assert np.median(cuts) == pytest.approx(20, abs=3)
    assert np.quantile(cuts, 0.05) > 14
    assert warm_after([]) == 0
    assert warm_after([1.0, 1.0, 1.0]) == 0


def test_a_warm_up_is_seen_and_noise_is_not_taken_for_one() -> None:
    random = np.random.default_rng(7)
    assert sum(warming(warming_up(40, 10, random)) >= 5 for _ in range(300)) >= 297
    assert sum(warming(warming_up(40, 0, random)) > 0 for _ in range(1000)) <= 2
    assert sum(warming(0.01 * random.lognormal(0, 0.2, 40)) > 0 for _ in range(1000)) <= 5
    assert warming([]) == 0
    assert warming([0.02, 0.01, 0.01, 0.01]) == 0


def test_drift_is_seen_as_often_as_it_should_be() -> None:
    random = np.random.default_rng(8)
    still = [drift_p(random.lognormal(0, 0.1, 20)) for _ in range(1000)]
    assert np.mean(np.array(still) < 0.05) == pytest.approx(0.05, abs=0.02)
    drifting = [drift_p(random.lognormal(0, 0.1, 20) * np.linspace(1, 1.5, 20)) for _ in range(200)]
    assert np.mean(np.array(drifting) < 0.05) > 0.9
    assert drift_p([1, 2, 3]) == 1.0
    assert drift_p([2, 2, 2, 2]) == 1.0


@pytest.mark.parametrize("true", [0.0, 0.6, -0.5])
def test_autocorrelation_of_a_series_of_which_it_is_known(true: float) -> None:
    random = np.random.default_rng(9)
    values = [0.0]
    for step in random.normal(size=4000):
        values.append(true * values[-1] + step)
    assert autocorrelation(values) == pytest.approx(true, abs=0.05)
    assert autocorrelation([1.0, 1.0, 1.0]) == 0.0
    assert autocorrelation([1.0, 2.0]) == 0.0
