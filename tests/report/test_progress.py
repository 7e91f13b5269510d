"""Progress: plain lines where nobody watches, with a sign of life every ten seconds; nothing with --quiet."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest

from hwdiag.core import verbosity
from hwdiag.report.progress import LINE_EVERY_S, Relayed, going_on, lines, terminal_progress


@pytest.fixture(autouse=True)
def _normal() -> Iterator[None]:
    yield
    verbosity.choose(quiet=False, verbose=False)


@pytest.mark.parametrize(
    ("quiet", "verbose", "expected"),
    [(True, False, []), (False, False, [" 10% a (0 s)"]), (False, True, [" 10% a (0 s)", " 20% b (0 s)"])],
)
def test_what_is_printed_where_nobody_watches(quiet: bool, verbose: bool, expected: list[str]) -> None:
    verbosity.choose(quiet, verbose)
    stream = io.StringIO()
    with terminal_progress(stream) as progress:
        progress("a", 0.1)
        progress("b", 0.2)
    assert stream.getvalue().splitlines() == expected


def test_long_work_that_says_nothing_gives_signs_of_life() -> None:
    assert LINE_EVERY_S + 1 <= 10  # a second lies between looks
    stream = io.StringIO()
    with going_on(lines(stream, every_s=0.5)) as progress:
        progress("a long trial", 0.1)
        deadline = time.monotonic() + 60
        while len(stream.getvalue().splitlines()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
    said = stream.getvalue().splitlines()
    assert len(said) >= 3
    assert all(line.startswith(" 10% a long trial (") for line in said)
    time.sleep(1.2)
    assert stream.getvalue().splitlines() == said, "silent once the work has ended"


def test_a_terminal_shows_a_bar_and_the_time_that_is_left() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with terminal_progress(stream) as progress:
        progress("screening", 0.5)
    assert "screening  50 %|" in stream.getvalue()
    assert "left" in stream.getvalue()


def test_another_process_lines_of_progress_are_relayed_and_others_pass() -> None:
    told: list[tuple[str, float]] = []
    stream = io.StringIO()
    relayed = Relayed(lambda text, share: told.append((text, share)), stream)
    relayed.write("  7% screening: a (12 s)\nhello\n")
    assert told == [("screening: a", 0.07)]
    assert stream.getvalue() == "hello\n"
