"""A script of the person's own under torch.profiler: started unchanged, traced from inside, and what came of it."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.text import now
from hwdiag.core.value import TopicStudy
from hwdiag.process.clock import Clock
from hwdiag.process.command import Ran, Running
from hwdiag.process.launch import Launch
from hwdiag.process.model import Command
from hwdiag.process.observation.inside_model import InsideReport, ThreadActivity
from hwdiag.process.observation.witness import RECORD_FILE, TraceRecording, Witness, bytes_of
from hwdiag.process.signals import forwarding
from hwdiag.process.trace import Traced, analyse, cut_trace, read_trace

MOST_GROWTH = 1 << 30
"""Bytes that a process may grow by while it is recorded; a million events a second are possible, of some 300 each."""
RATE = 50.0
"""Looks at the stacks a second."""


class Profiled(TopicStudy):
    """One command, or file, that ran under torch.profiler."""

    command: tuple[str, ...]
    outcome: str
    """How it ended, in one line; empty where it ended well."""
    status: int | None
    trace: str | None
    """File name of the trace that was looked at."""
    others: tuple[str, ...] = ()
    """Traces of other processes of the command."""
    notes: tuple[str, ...] = ()
    """What went otherwise than one might think, a line each."""
    steps: int | None = None
    """Calls of what ``build()`` gave."""
    torch: str = ""
    traced: Traced | None = None
    activities: tuple[ThreadActivity, ...] = ()
    """What its threads were seen doing from the import of torch to the end: the one that trains first."""


def profile(
    folder: Path,
    argv: Sequence[str],
    *,
    file: Path | None = None,
    python: str = sys.executable,
    seconds: float = 5,
    after: float = 0,
    events: int = 200_000,
    stdio: tuple[int, int, int] | None = None,
) -> Profiled:
    """Run the command, or what the file's ``build()`` gives, and look at its trace.

    Args:
        folder: where traces go.
        argv: the command; its Python processes are found by themselves, whatever starts them.
        file: instead of a command, a file with a ``build()``, run by ``python``.
        python: an interpreter with torch, for ``file``.
        seconds: the most that is recorded.
        after: seconds from importing torch to the beginning of the recording; a file's calls are warm anyway.
        events: the most events that are kept.
        stdio: files that become its standard input, output and error.

    Raises:
        UsageError: the trace cannot be read.
        HwdiagError: nothing was traced, or no trace could be written.
    """
    started_at = now()
    recording = TraceRecording(
        seconds=seconds, after=after, events=events, growth=MOST_GROWTH, memory=True, all_threads=file is None
    )
    with ExitStack() as stack:
        witness = stack.enter_context(
            Witness(recording, folder=folder, rate=0 if file is not None else RATE, objects=False)
        )
        if file is None:
            env = dict(witness.variables)
        else:
            env, argv = dict(witness.own_variables), [python, str(RECORD_FILE), str(file)]
        running = stack.enter_context(Running(Command(argv=tuple(argv), timeout_s=0), Launch(env=env), stdio))
        stack.enter_context(forwarding(running))
        Clock().wait(math.inf, [running.fileno()])
        ran = running.ran()
        reports = witness.reports()
    return look(folder, argv if file is None else (str(file),), ran, reports, events, started_at)


def look(
    folder: Path, argv: Sequence[str], ran: Ran, reports: Sequence[InsideReport], events: int, started_at: str
) -> Profiled:
    """Return what the command left in the folder.

    Raises:
        UsageError: the trace cannot be read.
        HwdiagError: nothing was traced, or no trace could be written.
    """
    written = [r for r in reports if r.state == "written"]
    done = Profiled(
        started_at=started_at,
        command=tuple(argv),
        outcome="" if ran.outcome.ok else ran.outcome.detail,
        status=ran.status,
        trace=None,
        notes=tuple(notes(reports)),
    )
    if not written:
        ended = f" It ended with: {done.outcome}." if done.outcome else ""
        raise HwdiagError(f"{why_nothing(reports)}{ended}")
    # Where several processes use torch, the one that recorded most is the one that works.
    written.sort(key=lambda r: bytes_of(folder / r.trace), reverse=True)
    chosen = written[0]
    trace, cut = cut_trace(read_trace(folder / chosen.trace), events)
    if cut:
        try:
            (folder / chosen.trace).write_text(json.dumps(trace))
        except OSError as error:
            raise HwdiagError(f"cannot write {folder / chosen.trace}: {error.strerror}") from None
    return done.model_copy(
        update={
            "trace": chosen.trace,
            "others": tuple(r.trace for r in written[1:]),
            "steps": chosen.steps,
            "torch": chosen.torch,
            "traced": with_memory(analyse(trace, from_first=True, after_s=chosen.loop_s), chosen),
            "activities": chosen.activities,
            "notes": (*done.notes, *((f"the trace is cut: {cut}",) if cut else ())),
        }
    )


def with_memory(traced: Traced, report: InsideReport) -> Traced:
    """Return the trace with the memory that the process was seen to have, where it has no allocations in it."""
    return traced if traced.memory else traced.model_copy(update={"memory": report.memory})


def notes(reports: Sequence[InsideReport]) -> list[str]:
    """Return what of this a person should know, a line each."""
    lines = []
    for r in reports:
        who = f"process {r.pid}"
        if r.state == "written":
            if r.why == "its time":
                lines.append(f"{who}: the recording ended after its time, as it was meant to; the script went on")
            elif r.why == "its size":
                lines.append(f"{who}: the recording was cut, as the process had grown by 1 GiB meanwhile")
            elif r.why == "the program's own profiler":
                lines.append(f"{who}: the recording ended where the script started a profiler of its own")
            if r.why in ("os._exit", "exit()", "os.execv", "os.execve", "SIGTERM"):
                lines.append(f"{who}: ended by {r.why}; the trace was written just before that")
            if r.not_all:
                lines.append(f"{who}: {r.not_all}")
        elif r.state == "failed":
            lines.append(f"{who}: no trace, {r.error}")
        elif r.state == "recording":
            lines.append(f"{who}: killed, or ended without Python's own end, before its trace was written")
    return lines


def why_nothing(reports: Sequence[InsideReport]) -> str:
    """Return why there is no trace, in one line."""
    if not reports:
        return (
            "nothing was traced: the command started no Python that reads PYTHONPATH (one with -I, -E or -S does not)"
        )
    for state, words in (
        ("failed", "no trace could be written: {error}"),
        ("recording", "no trace: the process was killed, or ended without Python's own end, before it was written"),
        ("imported", "no trace: the process was killed before PyTorch did anything"),
        (
            "nothing",
            "nothing was traced: it ended before the recording began. That is after the seconds of --after, or, where "
            "torch is built for GPUs, two seconds after its import; and the main thread must run Python then",
        ),
    ):
        found = next((r for r in reports if r.state == state), None)
        if found is not None:
            return words.format(error=found.error)
    return "nothing was traced: the command never imported torch"


def python_with_torch(python: str | None) -> str:
    """Return the interpreter for a file. Raises ``UsageError`` where there is none."""
    found = shutil.which(python or sys.executable)
    if found is None:
        raise UsageError(f"there is no interpreter {python}")
    return found
