"""Triage: each topic is asked within its share of the time, and what was not asked says why and which command would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hwdiag.core.errors import HwdiagError
from hwdiag.core.finding import Check, Finding
from hwdiag.core.value import TopicStudy
from hwdiag.diagnose import triage
from hwdiag.diagnose.topic import Asking, NotAskedError, TopicAnswer, TopicEntry
from hwdiag.diagnose.topics import TOPICS
from hwdiag.diagnose.triage import BOUNDS, Interview, once, share_of
from hwdiag.host.root import Root
from hwdiag.parameters.diagnosis import Profile
from hwdiag.process.model import Outcome, Software
from hwdiag.record.model import Record
from tests.conftest import make_host
from tests.tune.test_recommend import make_software


class Clock:
    """A clock that questions move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asking(**more: Any) -> Asking:
    values = {"profile": Profile(), "python": "python3", "root": Root.live(), "host": make_host(),
              "software": make_software(), "seconds": 100.0}  # fmt: skip
    return Asking(**{**values, **more})


def answered(clock: Clock, seconds: float, seen: list[float]) -> Callable[[Asking], TopicAnswer]:
    def ask(given: Asking) -> TopicAnswer:
        seen.append(given.seconds)
        given.need(10.0)
        clock.now += seconds
        return TopicAnswer(TopicStudy(started_at=""), "something", hope=2.0)

    return ask


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> dict[Any, TopicEntry]:
    found: dict[Any, TopicEntry] = {}
    monkeypatch.setattr(triage, "TOPICS", found)
    return found


def entry(ask: Callable[[Asking], TopicAnswer] | None) -> TopicEntry:
    return TopicEntry("Title", TopicStudy, lambda found, samples: iter(()), "hwdiag it", "more", ask)


def test_questions_share_their_part_of_the_time_and_late_ones_say_that_there_was_none(topics: dict[Any, Any]) -> None:
    clock, seen = Clock(), list[float]()
    topics |= {"explain": entry(answered(clock, 15.0, seen)), "devices": entry(answered(clock, 1.0, seen))}
    interview = Interview(74.0, clock)
    assert interview.ask("explain", asking()) is not None
    assert interview.ask("devices", asking()) is None
    assert seen == pytest.approx([22.2, 7.2])
    first, late = (interview.asked[topic] for topic in ("explain", "devices"))
    assert (first.looked_at, first.seconds, first.hope, first.why_not) == ("something", 15.0, 2.0, "")
    assert (late.looked_at, late.why_not) == ("", "it takes 10 s or more, and this budget has 7 s")
    assert (late.beyond, late.command) == ("more", "hwdiag it")
    assert interview.measuring_s == 59.0


def test_a_busy_machine_leaves_half_of_the_time_to_measuring() -> None:
    clock = Clock()
    interview = Interview(74.0, clock)
    with interview.counted():
        clock.now = 70.0
    assert interview.measuring_s == 37.0


def test_the_time_between_two_cells_is_not_spent() -> None:
    clock = Clock()
    interview = Interview(74.0, clock)
    clock.now = 3600.0
    assert interview.measuring_s == 74.0


def test_a_question_that_fails_is_a_row_and_not_the_end(topics: dict[Any, Any]) -> None:
    def fails(_given: Asking) -> TopicAnswer:
        raise HwdiagError("the agent died")

    topics["devices"] = entry(fails)
    interview = Interview(74.0)
    assert interview.ask("devices", asking()) is None
    assert interview.asked["devices"].why_not == "the agent died"


def test_what_is_not_asked_says_why_if_it_has_a_question(topics: dict[Any, Any]) -> None:
    """What a run never asks, such as how fast another machine would be, was listed among what it left out."""
    topics |= {"profile": entry(None), "audit": entry(answered(Clock(), 1.0, []))}
    interview = Interview(74.0)
    assert interview.ask("profile", asking()) is None
    interview.leave_out(("profile", "audit"), "a snapshot")
    assert {t: a.why_not for t, a in interview.asked.items()} == {"audit": "a snapshot"}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"host": make_host().model_copy(update={"source": "snapshot"})}, "the host is known from a snapshot only"),
        (
            {"software": Software(python="p", outcome=Outcome(kind="signal", detail="killed by SIGILL"))},
            "PyTorch does not run: killed by SIGILL",
        ),
        ({"seconds": 3.0}, "it takes 10 s or more, and this budget has 3 s"),
        ({"seconds": -3.0}, "it takes 10 s or more, and this budget has 0 s"),
    ],
)
def test_a_question_that_cannot_be_asked_says_why(more: dict[str, Any], why: str) -> None:
    with pytest.raises(NotAskedError) as caught:
        asking(**more).need(10.0)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("hope", "other", "share"),
    [(4.0, 2.0, 2 / 3), (2.0, 2.0, 0.5), (1.0, 2.0, BOUNDS[0]), (None, 1.1, BOUNDS[0]), (50.0, 1.1, BOUNDS[1])],
)
def test_the_rest_goes_where_more_may_be_gained(hope: float | None, other: float, share: float) -> None:
    assert share_of(hope, other) == pytest.approx(share)


def test_what_two_topics_say_alike_is_said_once() -> None:
    same = Finding(id="x", severity="note", title="", detail="")
    other = Check(id="y", state="fine", title="")
    assert once([("tune", [same]), ("explain", [same, other])]) == [("tune", same), ("explain", other)]


def test_every_topic_says_which_command_looks_at_all_of_it_and_what_that_adds() -> None:
    assert set(TOPICS) == {t for t in Record.model_fields["studies"].annotation.__args__[0].__args__
                           if t not in ("tune", "diagnose")}  # fmt: skip
    for topic, found in TOPICS.items():
        assert found.command.startswith(f"hwdiag {topic}"), topic
        assert found.beyond, topic
