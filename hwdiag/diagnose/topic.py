"""Entry of a topic in a whole run: its short question, its sections of the report, the command that asks more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwdiag.core.finding import Check, Finding
from hwdiag.core.value import TopicStudy
from hwdiag.experiment.campaign import Progress
from hwdiag.experiment.model import Measurement
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.parameters.diagnosis import Profile
from hwdiag.process.model import Software
from hwdiag.report.section import Section

Sections = Iterator[Section]


class NotAskedError(Exception):
    """A question that could not be asked; its text says why."""


@dataclass(frozen=True)
class Asking:
    """All that a question may rest on, and the time that it may take."""

    profile: Profile
    python: str
    root: Root
    host: Host
    software: Software
    seconds: float
    measurements: tuple[Measurement, ...] = ()
    progress: Progress = lambda text, share: None

    def need(self, seconds: float) -> None:
        """Check that the question can be asked here, in a torch that runs, and in this time.

        Raises:
            NotAskedError: it can't.
        """
        if not self.host.is_here:
            raise NotAskedError("the host is known from a snapshot only")
        if not self.software.outcome.ok:
            raise NotAskedError(f"PyTorch does not run: {self.software.outcome.detail}")
        if self.seconds < seconds:
            raise NotAskedError(f"it takes {seconds:.0f} s or more, and this budget has {max(0.0, self.seconds):.0f} s")

    @property
    def timeout_s(self) -> float:
        """Return the seconds after which a child that does not answer is killed."""
        return self.profile.child_timeout


@dataclass(frozen=True)
class TopicAnswer:
    """The answer to a topic's short question."""

    study: TopicStudy
    looked_at: str
    """In words."""
    said: tuple[Finding | Check, ...] = ()
    hope: float | None = None
    """As of ``Asked``."""
    deepen: Callable[[float], TopicAnswer] | None = None
    """Measures more in so many seconds, where more may be gained."""


@dataclass(frozen=True)
class TopicEntry:
    """One topic in a run and in its report."""

    title: str
    kind: type[TopicStudy]
    sections: Callable[[Any, Path | None], Sections]
    """Of the study, and the samples of a recording where there are some."""
    command: str
    """The command that looks at all of it."""
    beyond: str
    """What that looks at beyond the short question, in words."""
    ask: Callable[[Asking], TopicAnswer] | None = None
    """The short question; None where a run has none to ask."""
