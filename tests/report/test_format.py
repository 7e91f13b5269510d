"""Numbers as a person reads them, and foreign text made harmless."""

from __future__ import annotations

import pytest

from hwdiag.core.interval import Interval
from hwdiag.report import format as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.012345, "0.0123"), (9.996, "10.0"), (52.06, "52.1"), (1234, "1230"), (-1.5, "-1.50")],
)
def test_significant(value, text):
    assert fmt.significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (30 * 2**20, "30 MiB"), (1.5 * 2**40, "1.5 TiB"), (None, "unknown"), (1023, "1020 B")],
)
def test_size_is_binary_and_says_so(value, text):
    assert fmt.size(value) == text


def test_disks_are_decimal_and_say_so():
    assert fmt.disk_size(1_920_383_410_176) == "1.92 TB"


@pytest.mark.parametrize(
    ("value", "text"), [(3.21e-6, "3.21 µs"), (0.012, "12.0 ms"), (1.5, "1.50 s"), (2e-8, "20.0 ns")]
)
def test_seconds(value, text):
    assert fmt.seconds(value) == text


def test_speedup_names_its_interval():
    assert fmt.speedup(Interval(median=1.312, low=1.268, high=1.357, processes=10)) == "1.31x (1.27 to 1.36)"


def test_interval_has_the_decimals_of_its_value():
    assert fmt.measured(182.4, 179.96, 185.21, "GFLOP/s") == "182 GFLOP/s (180 to 185)"
    assert fmt.measured(1436, 1424, 1449, "GFLOP/s") == "1440 GFLOP/s (1420 to 1450)"
    assert fmt.measured(9.996, 9.94, 10.06, "ms") == "10.0 ms (9.9 to 10.1)"


def test_percent():
    assert [fmt.percent(s) for s in (0.834, 0.0213, 1.0, 0)] == ["83 %", "2.13 %", "100 %", "0 %"]


def test_times():
    assert fmt.utc("2026-03-01T12:02:00+02:00") == fmt.utc("2026-03-01T10:02:00Z") == "2026-03-01 10:02 UTC"
    assert fmt.utc("yesterday") == "yesterday"
    assert fmt.duration("2026-03-01T10:02:00Z", "2026-03-01T10:06:31Z") == "4 min 31 s"
    assert fmt.duration("2026-03-01T10:02:00Z", "never") == "unknown"


def test_clean_takes_what_steers_a_terminal_or_breaks_xml():
    text = fmt.clean("a\x1b[31m\x00b\nc\ud800d\u202ee\ufffe")
    assert text == "a\ufffd[31m\ufffdb c\ufffdd\ufffde\ufffd"
    text.encode()
