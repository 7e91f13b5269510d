"""A script of the person's own under torch.profiler: started unchanged, traced from inside, and what came of it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.text import now
from hwdiag.core.value import TopicStudy
from hwdiag.process.agent import MAIN
from hwdiag.process.clock import Clock
from hwdiag.process.command import Ran, Running
from hwdiag.process.launch import Launch
from hwdiag.process.model import Command
from hwdiag.process.signals import forwarding
from hwdiag.process.trace import Traced, analyse, cut_trace, read_trace

TRACER = MAIN.with_name("tracer.py")
TASK = "HWDIAG_TRACE"


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
    task = json.dumps({"folder": str(folder.resolve()), "seconds": seconds, "after": after, "events": events})
    started_at = now()
    env = {TASK: task, "KINETO_LOG_LEVEL": "99"}  # or the profiler's own messages stand among the command's
    with ExitStack() as stack:
        if file is None:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="hwdiag-"))
            try:
                shutil.copy(TRACER, Path(place, "sitecustomize.py"))
            except OSError as error:
                raise HwdiagError(f"cannot write to {place}: {error.strerror}") from None
            env["PYTHONPATH"] = os.pathsep.join(filter(None, (place, os.environ.get("PYTHONPATH"))))
        else:
            argv = [python, str(TRACER), str(file)]
        running = stack.enter_context(Running(Command(argv=tuple(argv), timeout_s=0), Launch(env=env), stdio))
        stack.enter_context(forwarding(running))
        Clock().wait(math.inf, [running.fileno()])
        ran = running.ran()
    return look(folder, argv if file is None else (str(file),), ran, events, started_at)


def look(folder: Path, argv: Sequence[str], ran: Ran, events: int, started_at: str) -> Profiled:
    """Return what the command left in the folder."""
    told = statuses(folder)
    written = [t for t in told if t["state"] == "written"]
    done = Profiled(
        started_at=started_at,
        command=tuple(argv),
        outcome="" if ran.outcome.ok else ran.outcome.detail,
        status=ran.status,
        trace=None,
        notes=tuple(notes(told)),
    )
    if not written:
        ended = f" It ended with: {done.outcome}." if done.outcome else ""
        raise HwdiagError(f"{why_nothing(told)}{ended}")
    # Where several processes use torch, the one that recorded most is the one that works.
    names = sorted((t["name"] for t in written), key=lambda n: (folder / n).stat().st_size, reverse=True)
    chosen = next(t for t in written if t["name"] == names[0])
    trace, cut = cut_trace(read_trace(folder / names[0]), events)
    if cut:
        try:
            (folder / names[0]).write_text(json.dumps(trace))
        except OSError as error:
            raise HwdiagError(f"cannot write {folder / names[0]}: {error.strerror}") from None
    return done.model_copy(
        update={
            "trace": names[0],
            "others": tuple(names[1:]),
            "steps": chosen.get("steps"),
            "torch": str(chosen.get("torch", "")),
            "traced": analyse(trace),
            "notes": (*done.notes, *((f"the trace is cut: {cut}",) if cut else ())),
        }
    )


def statuses(folder: Path) -> list[dict[str, Any]]:
    """Return the last status of each traced process, and remove their files, which are of no use to anybody else."""
    found = []
    for path in sorted(folder.glob("hwdiag_*.status.json")):
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(path.read_text())
            found.append({**told, "name": path.name.replace(".status.json", ".pt.trace.json")})
        with contextlib.suppress(OSError):
            path.unlink()
    return found


def notes(told: Sequence[dict[str, Any]]) -> list[str]:
    """Return what a person should know of the traced processes, a line each."""
    lines = []
    for t in told:
        who = f"process {t['pid']}"
        if t["state"] == "written":
            if t["why"] == "its time":
                lines.append(f"{who}: the recording ended after its time, as it was meant to; the script went on")
            elif t["why"] == "its size":
                lines.append(f"{who}: the recording was cut, as the process had grown by 1 GiB meanwhile")
            if t["why"] in ("os._exit", "os.execv", "os.execve", "SIGTERM"):
                lines.append(f"{who}: ended by {t['why']}; the trace was written just before that")
        elif t["state"] == "failed":
            lines.append(f"{who}: no trace, {t['error']}")
        elif t["state"] == "recording":
            lines.append(f"{who}: killed, or ended without Python's own end, before its trace was written")
    return lines


def why_nothing(told: Sequence[dict[str, Any]]) -> str:
    """Return why there is no trace, in one line."""
    if not told:
        return (
            "nothing was traced: the command started no Python that reads PYTHONPATH (one with -I, -E or -S does not)"
        )
    for state, words in (
        ("failed", "no trace could be written: {error}"),
        ("recording", "no trace: the process was killed, or ended without Python's own end, before it was written"),
        ("imported", "no trace: the process was killed before PyTorch did anything"),
        (
            "nothing",
            "nothing was traced: it was over before it used a GPU, within two seconds of importing torch",
        ),
    ):
        found = next((t for t in told if t["state"] == state), None)
        if found is not None:
            return words.format(error=found["error"])
    return "nothing was traced: the command never imported torch"


def python_with_torch(python: str | None) -> str:
    """Return the interpreter for a file. Raises ``UsageError`` where there is none."""
    found = shutil.which(python or sys.executable)
    if found is None:
        raise UsageError(f"there is no interpreter {python}")
    return found
