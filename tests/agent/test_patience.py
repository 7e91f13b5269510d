"""A child that others keep the CPUs from is given longer, one that hangs is not: with clocks of our own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from hwdiag.agent.patience import Patience, more, waits_of
from hwdiag.process.agent import Agent

Waits = Callable[[int], dict[Any, float]]


def ended_at(waits: Waits, *, limit: float = 10, most: float = 3) -> tuple[float, float]:
    """When a child that never answers is given up, and how much of that it was given."""
    now = [0.0]
    patience = Patience(1, limit, most, clock=lambda: now[0], waits=lambda top: waits(int(now[0])))
    while not patience.is_over():
        now[0] += max(0.01, patience.left())
    return now[0], patience.given_s


@pytest.mark.parametrize(
    ("waits", "end"),
    [
        (lambda now: {1: 0.0}, 11),  # it sleeps: one look more, and it is over
        (lambda now: {1: 0.9 * now}, 30),  # it is held up all the time: three times as long
        (lambda now: {1: 0.0, 2: 0.5 * now}, 30),  # a worker of its is
        (lambda now: {1: 0.1 * now}, 11),  # hardly held up
        (lambda now: {1: 0.9 * min(now, 15)}, 17),  # until the others end
        (lambda now: {}, 10),  # a kernel that does not count
    ],
)
def test_the_limit_counts_what_it_could_use(waits: Waits, end: float) -> None:
    at, given = ended_at(waits)
    assert at == pytest.approx(end, abs=1.1)
    assert given == pytest.approx(at - 10, abs=1.1)
    assert given == 0 or at > 12
    assert ended_at(waits, most=1.0) == (10, 0)


def test_it_is_said() -> None:
    assert more(0.4) == ""
    assert (
        f"no answer for 95 s{more(57)}: killed" == "no answer for 95 s, 57 s of them since others had the CPUs: killed"
    )


def test_waits_are_those_of_the_kernel() -> None:
    before = waits_of(os.getpid())
    assert (os.getpid(), str(os.getpid())) in before
    assert all(wait >= 0 for wait in before.values())


def test_an_agent_that_hangs_is_ended_at_its_limit() -> None:
    with Agent(sys.executable) as agent:
        assert agent.hear(("never",), 0.5, 2.0) is None
        assert agent.outcome().kind == "timeout"
