"""A recording of the machine in a report. A run asks nothing of it: there is no work of the person's to watch."""

from __future__ import annotations

from pathlib import Path

from hwdiag.diagnose.topic import Sections, TopicEntry
from hwdiag.monitor import show
from hwdiag.monitor.study import Recording


def sections(found: Recording, samples: Path | None) -> Sections:
    """Yield the sections on what the machine did."""
    yield show.summary(found.monitored, found.findings)
    if samples is not None and samples.is_file():
        yield show.over_time(found.monitored, samples)
    yield show.findings((*found.findings, *found.checks))
    yield show.costs(found.monitored)


ENTRY = TopicEntry(
    title="What the machine did",
    kind=Recording,
    sections=sections,
    command="hwdiag monitor -- python your_program.py",
    beyond="clocks, temperatures and use while your program works",
)
