"""Host settings in a run: all of them, asked at the end, when the measurements tell what they do."""

from __future__ import annotations

from pathlib import Path

from hwdiag.audit import show
from hwdiag.audit.audit import audit
from hwdiag.audit.model import Audit
from hwdiag.core.text import plural
from hwdiag.diagnose.topic import Asking, Sections, TopicAnswer, TopicEntry
from hwdiag.host.activity import watch


def sections(found: Audit, _samples: Path | None) -> Sections:
    """Yield the sections on the host's settings, and on what of them helps or harms."""
    yield show.settings(found)
    yield show.symptoms(found)
    yield show.chosen(found)


def ask(asking: Asking) -> TopicAnswer:
    """Read every setting, and judge it by what was measured."""
    found = audit(
        asking.root,
        asking.host,
        role=asking.profile.role,
        activity=watch(asking.root, 0),
        measurements=asking.measurements,
    )
    return TopicAnswer(found, plural(len(found.rows), "setting"), (*found.findings, *found.checks))


ENTRY = TopicEntry(
    title="Host settings",
    kind=Audit,
    sections=sections,
    command="hwdiag audit --watch 10",
    beyond="what the machine does while it works",
    ask=ask,
)
