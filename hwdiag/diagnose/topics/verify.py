"""Reference speeds in a report. A run asks nothing of them: its own measurements are newer."""

from __future__ import annotations

from pathlib import Path

from hwdiag.diagnose.topic import Sections, TopicEntry
from hwdiag.verify import show
from hwdiag.verify.model import Reference


def sections(found: Reference, _samples: Path | None) -> Sections:
    """Yield the section on the speeds that verifications are held against."""
    yield show.reference(found)


ENTRY = TopicEntry(
    title="Reference speeds",
    kind=Reference,
    sections=sections,
    command="hwdiag verify",
    beyond="whether this host is still what its record says",
)
