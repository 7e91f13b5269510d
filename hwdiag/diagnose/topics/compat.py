"""Packages that a run needs, each operation in a child of its own."""

from __future__ import annotations

from pathlib import Path

from hwdiag.compat import advice, show
from hwdiag.compat.check import survey
from hwdiag.compat.model import Survey
from hwdiag.core.text import listed
from hwdiag.diagnose.topic import Asking, Sections, TopicAnswer, TopicEntry


def sections(found: Survey, _samples: Path | None) -> Sections:
    """Yield the sections on packages that die here, and of what."""
    yield show.results(found)
    if found.crashed:
        yield show.crashes(found)
    yield show.environment(found)


def ask(asking: Asking) -> TopicAnswer:
    """Import torch and numpy in children, and try their operations."""
    found = survey(asking.python, packages=advice.NEEDED, timeout_s=asking.timeout_s, cpu=asking.host.cpu.model)
    return TopicAnswer(found, listed(advice.NEEDED), tuple(advice.consult(found)))


ENTRY = TopicEntry(
    title="Will the packages run?",
    kind=Survey,
    sections=sections,
    command="hwdiag compat",
    beyond="all other packages that are installed",
    ask=ask,
)
