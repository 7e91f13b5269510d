"""Triage: each topic is asked a short question in a share of the time; the rest goes where most may be gained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from hwdiag.core.errors import HwdiagError
from hwdiag.core.finding import Check, Finding
from hwdiag.diagnose.model import Asked
from hwdiag.diagnose.topic import Asking, NotAskedError, TopicAnswer
from hwdiag.diagnose.topics import TOPICS
from hwdiag.record.model import Topic

QUESTIONS_SHARE = 0.3
"""Of the time, for the short questions of all topics together."""
MEASURED_SHARE = 0.5
"""Of the time, that the search for a launch has at least, however long the questions took on a busy machine."""
CAUSES_SHARE = 0.1
"""Of the time, for the causes of what lies far below its ceiling."""
UNKNOWN_HOPE = 1.1
"""What the search for a launch may gain, as a ratio, where nothing is known yet."""
BOUNDS = (0.25, 0.7)
"""Least and most of the rest that goes to data, where data was given."""
BEFORE: tuple[Topic, ...] = ("explain", "dataloader", "devices")
"""Topics that are asked before the search, the most important first: the time may end."""


class Interview:
    """The questions of one run: what each topic was asked, and its answer."""

    def __init__(self, total_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``total_s``: the time of all steps of the run together; a person may wait between two cells."""
        self.total_s, self.clock, self.spent_s = total_s, clock, 0.0
        self.asked: dict[Topic, Asked] = {}
        self.answers: dict[Topic, TopicAnswer] = {}

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is done inside as spent."""
        began = self.clock()
        try:
            yield
        finally:
            self.spent_s += self.clock() - began

    @property
    def left_s(self) -> float:
        """Return the seconds that are left for questions."""
        return QUESTIONS_SHARE * self.total_s - self.spent_s

    def ask(self, topic: Topic, asking: Asking) -> TopicAnswer | None:
        """Ask a topic its short question, if it has one; None where it cannot be asked, and the reason is kept."""
        entry, began = TOPICS[topic], self.clock()
        asked = Asked(topic=topic, title=entry.title, beyond=entry.beyond, command=entry.command)
        if entry.ask is None:
            return None
        try:
            with self.counted():
                answer = entry.ask(replace(asking, seconds=self.left_s))
        except (NotAskedError, HwdiagError) as error:
            self.asked[topic] = asked.model_copy(update={"why_not": str(error)})
            return None
        self._keep(topic, answer, asked, began)
        return answer

    def deepen(self, topic: Topic, seconds: float) -> TopicAnswer:
        """Measure more of a topic that was asked, and return its answer."""
        before, began = self.answers[topic], self.clock()
        assert before.deepen is not None
        with self.counted():
            answer = before.deepen(seconds)
        self._keep(topic, answer, self.asked[topic], began)
        return answer

    def leave_out(self, topics: Iterable[Topic], why: str) -> None:
        """Note that these topics are not asked, where they were not and have a question."""
        for topic in topics:
            entry = TOPICS[topic]
            if topic not in self.asked and entry.ask is not None:
                self.asked[topic] = Asked(
                    topic=topic, title=entry.title, why_not=why, beyond=entry.beyond, command=entry.command
                )

    def _keep(self, topic: Topic, answer: TopicAnswer, asked: Asked, began: float) -> None:
        took = asked.seconds + self.clock() - began
        self.answers[topic] = answer
        self.asked[topic] = asked.model_copy(
            update={"looked_at": answer.looked_at, "seconds": round(took, 1), "hope": answer.hope}
        )

    @property
    def measuring_s(self) -> float:
        """Return the seconds that are left for measuring: what the questions left, or half of the time at least."""
        return max(MEASURED_SHARE * self.total_s, self.total_s - self.spent_s)


def share_of(hope: float | None, other: float) -> float:
    """Return the share of the rest that goes to a topic of this hope beside another's: by the logarithms of both."""
    mine, its = math.log(max(1.0, hope or 1.0)), math.log(max(1.01, other))
    return min(max(mine / (mine + its), BOUNDS[0]), BOUNDS[1])


def once(said: Iterable[tuple[Topic, Iterable[Finding | Check]]]) -> list[tuple[Topic, Finding | Check]]:
    """Return what all topics say, the same of two only once: several look at the shell and the limits."""
    found: dict[str, tuple[Topic, Finding | Check]] = {}
    for topic, answers in said:
        for answer in answers:
            found.setdefault(answer.id, (topic, answer))
    return list(found.values())
