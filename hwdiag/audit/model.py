"""Data of an audit: each setting with its value, its wanted value, and the reason."""

from __future__ import annotations

from typing import Literal

from hwdiag.audit.knobs.model import Group
from hwdiag.core.finding import Check, Finding
from hwdiag.core.value import TopicStudy, Value
from hwdiag.host.activity import Activity
from hwdiag.process.storage import ReadSpeed

State = Literal["as wanted", "differs", "unknown", "objection", "nothing to want"]


class Row(Value):
    """One entry with one present and one wanted value, and all the places where that is so."""

    knob: str
    group: Group
    where: tuple[str, ...]
    targets: tuple[str, ...] = ()
    now: str | None = None
    wanted: str | None = None
    asked: str | None = None
    """The value that the person gave, where it is not the wanted one itself."""
    state: State
    chosen: bool = False
    """Whether the scripts set it."""
    why: str
    """Who or what chose it; for one that is not chosen, what is known of it."""
    evidence: str
    risk: str = ""
    objection: str = ""
    """What is wrong with the present value."""


class Audit(TopicStudy):
    """The settings that were read, the questions that were asked, and the choice, on one host."""

    rows: tuple[Row, ...] = ()
    findings: tuple[Finding, ...] = ()
    checks: tuple[Check, ...] = ()
    """Answers to the questions of the troubleshooting kind."""
    activity: Activity = Activity()
    tuners: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    """The active TuneD profiles."""
    folder: tuple[str, str] | None = None
    """The models' folder, and the file system that it is on."""
    read: ReadSpeed | None = None

    @property
    def chosen(self) -> tuple[Row, ...]:
        """Return the rows that the scripts set, in the order in which they set them."""
        return tuple(r for r in self.rows if r.chosen)
