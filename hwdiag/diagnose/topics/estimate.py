"""Estimates in a report. A run asks nothing of them: they are about other machines."""

from __future__ import annotations

from pathlib import Path

from hwdiag.diagnose.topic import Sections, TopicEntry
from hwdiag.estimate import show
from hwdiag.estimate.model import EstimateStudy


def sections(found: EstimateStudy, _samples: Path | None) -> Sections:
    """Yield the sections on what nets compute, and on the error of estimates here."""
    if found.counts:
        yield show.counted(found.counts)
    yield show.check(found.checked)


ENTRY = TopicEntry(
    title="Estimates",
    kind=EstimateStudy,
    sections=sections,
    command="hwdiag estimate resnet50",
    beyond="the speed of other machines",
)
