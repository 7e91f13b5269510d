"""A small program in a run: what holds back what is started here. The person's own is not known."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import plural
from hwdiag.diagnose.topic import Asking, Sections, TopicAnswer, TopicEntry
from hwdiag.explain import show
from hwdiag.explain.explain import explain
from hwdiag.explain.model import Explanation
from hwdiag.host.sampling import Sampler
from hwdiag.process.agent import MAIN
from hwdiag.process.observation.observe import observe_command
from hwdiag.report.section import Section

PROGRAM = MAIN.with_name("small_program.py")
NEEDED_S = 8.0
"""Importing torch, and computing for so long that the shares of its time can be told."""
OURS = (
    "This is a small program of hwdiag's own, started as yours would be: it shows what this shell, the limits and "
    "other programs do to any program. For your own: hwdiag explain -- python your_program.py"
)


def sections(found: Explanation, _samples: Path | None) -> Sections:
    """Yield the sections on what is wrong with the program on this host."""
    if PROGRAM.name in " ".join(found.program.command):
        yield Section(OURS, ())
    yield show.summary(found)
    yield show.time(found)
    yield show.seen(found)


def ask(asking: Asking) -> TopicAnswer:
    """Start a small program, look at it for some seconds, and ask every probe."""
    asking.need(NEEDED_S)
    with closing(Sampler(asking.root)) as sampler:
        program = observe_command((asking.python, str(PROGRAM)), seconds=asking.seconds, sampler=sampler)
    found = explain(program, asking.host)
    said: tuple[Finding | Check, ...] = (*found.findings, *found.checks)
    return TopicAnswer(found, f"a small program, {plural(len(said), 'question')}", said)


ENTRY = TopicEntry(
    title="The program",
    kind=Explanation,
    sections=sections,
    command="hwdiag explain -- python your_program.py",
    beyond="your own program",
    ask=ask,
)
