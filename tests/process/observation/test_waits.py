"""Looks at main threads: their weights keep shares right where looks become fewer."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.process.observation import waiting
from hwdiag.process.observation.processes import Processes, Training
from hwdiag.process.observation.waiting import LOOK_S, Look
from hwdiag.process.observation.waits import Waits, weight


def test_a_share_is_of_the_time_though_later_looks_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for data in the first 20 of 80 seconds alone, of which half of all looks are."""
    now = 0.0
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now)
    look = Look(Processes(), Training(1, "python train.py", ()))
    monkeypatch.setattr(look, "_doing", lambda: "data" if now < 20 else "computes")
    while now < 80:
        look.look(weight(now))
        now += LOOK_S * weight(now)
    found = look.found()
    assert found.share == pytest.approx(0.25, abs=0.01)
    assert found.looks == pytest.approx(1000 + 1000 + 250, abs=10)
    assert found.low < 0.25 < found.high


def test_many_trainings_are_looked_at_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(Processes())
    assert waits.pause_s(0) > LOOK_S, "nothing to look at"
    looks: Any = dict.fromkeys(range(8))
    monkeypatch.setattr(waits, "looks", looks)
    assert waits.pause_s(0) == 4 * LOOK_S
    assert waits.pause_s(100) == 16 * LOOK_S
