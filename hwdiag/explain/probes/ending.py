"""Probe of the program's end: its signal, its exit status and what it wrote last."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.core.finding import Check, Finding, Severity
from hwdiag.core.text import capitalised
from hwdiag.explain.ended import ended_by, failed, how, last_line, sentence
from hwdiag.explain.messages import told
from hwdiag.explain.model import Answer, Case
from hwdiag.explain.probes import limits
from hwdiag.process.observation.model import Ending
from hwdiag.report.format import clean, seconds, shorten

TRACEBACK = "Traceback (most recent call last)"
NOT_STARTED = ("not-started", "import-error")


def look(case: Case) -> Iterator[Answer]:
    """Yield what its last lines mean, and how it ended where nothing tells why.

    A message that speaks of a limit is the probe ``limits``' to tell.
    """
    ending = case.program.ending
    level: Severity = "problem" if failed(ending) else "warning"
    known = False
    for one, cause, remedy in told(case.program):
        known = known or not one.message.always
        if one.message.limit:
            continue
        wrote = f' It wrote: "{shorten(clean(one.line), 300)}".' if one.line else ""
        end = f" {sentence(ending)}" if failed(ending) else ""
        yield Finding(
            id=one.message.id,
            severity=level if not one.message.always else "warning",
            title=f"It ended {how(ending)}: {cause}" if not one.message.always else capitalised(cause),
            detail=f"{remedy}{wrote}{end} Source: {one.message.source}.",
            evidence=("program.ending",),
        )
    known = known or any(isinstance(a, Finding) and a.severity == "problem" for a in limits.look(case))
    if not known:
        yield from unexplained(case)


def unexplained(case: Case) -> Iterator[Answer]:
    """Yield how it ended where no message tells why."""
    ending = case.program.ending
    if ending.outcome.kind in NOT_STARTED:
        yield Finding(
            id="not-started",
            severity="problem",
            title=f"It could not be started: {clean(ending.outcome.detail)}",
            detail="Look at the command's spelling, its path and its rights: 'command -v NAME', 'ls -l FILE'.",
        )
    elif ending.asked_to_end is not None or ended_by(ending) == "SIGINT":
        yield Check(id="ending", state="fine", title="A person ended it (Ctrl-C, or a signal)", detail=sentence(ending))
    elif not failed(ending):
        running = ending.status is None
        title = "It runs on" if running else f"It ended well, after {seconds(ending.seconds)}"
        wrote = f" It wrote a traceback all the same: {last_line(ending)}" if TRACEBACK in ending.stderr else ""
        yield Check(id="ending", state="fine", title=title, detail=f"{sentence(ending)}{wrote}")
    elif ended_by(ending) != "SIGKILL":  # the probe ``limits`` tells of that
        line = last_line(ending)
        yield Finding(
            id="ended",
            severity="problem",
            title=f"It ended {how(ending)}" + (f": {line}" if line else ", and wrote nothing on its standard error"),
            detail=f"{sentence(ending)} No cause in the host is known for that. {where_to_look(ending, line)}",
            evidence=("program.ending",),
        )


def where_to_look(ending: Ending, line: str) -> str:
    """Return where the reason stands, or how to get it told."""
    if TRACEBACK in ending.stderr:
        return "The traceback that it wrote says where it stopped."
    if line:
        return "Its output before that line may say more."
    return "Start it with 'python -X faulthandler', and a script with 'bash -x', to see where it stops."
