"""The study of the topic ``diagnose``: what a run asked of each topic, how long that took, and what it left out."""

from __future__ import annotations

from hwdiag.core.value import TopicStudy, Value


class Asked(Value):
    """One topic's short question in a run, with its outcome."""

    topic: str
    title: str
    """``Host settings``."""
    looked_at: str = ""
    """What was looked at, as words; empty where nothing was."""
    why_not: str = ""
    """Why nothing was looked at."""
    seconds: float = 0.0
    hope: float | None = None
    """How many times faster its best looked at a glance, which shows nothing yet; None where it is not about speed."""
    beyond: str = ""
    """What of the topic was not looked at."""
    command: str = ""
    """The command that would."""


class Triage(TopicStudy):
    """The questions of one run, and where its time went."""

    asked: tuple[Asked, ...] = ()
    total_s: float | None = None
    """The time that the run had for all it measures; None where nothing was to be measured."""
