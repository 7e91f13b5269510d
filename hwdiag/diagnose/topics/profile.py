"""A profile in a report. A run asks nothing of it: the person's program is not known."""

from __future__ import annotations

from pathlib import Path

from hwdiag.diagnose.topic import Sections, TopicEntry
from hwdiag.profile import show
from hwdiag.profile.measure import Profiled
from hwdiag.report.section import Section


def sections(found: Profiled, _samples: Path | None) -> Sections:
    """Yield the sections on what bounds the program."""
    traced = found.traced
    parts = () if traced is None else (show.operations(traced), show.idle(traced), show.memory_figure(traced))
    yield Section(show.verdict(found), parts)


ENTRY = TopicEntry(
    title="Profile",
    kind=Profiled,
    sections=sections,
    command="hwdiag profile -- python your_program.py",
    beyond="the operations that your program spends its time in",
)
