"""Probes as child processes: a few at once, each with its end, its time-out, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from hwdiag.process.child import STDERR_TAIL, kill_group, parse_events

PROBE = Path(__file__).parents[1] / "agent" / "probe.py"
POLL_S = 0.02
LOOK_EVERY_S = 0.5
"""Seconds between looks at a child's threads."""
STUCK_S = 3.0
"""A thread that is in a signal handler for longer has no way out: a report takes milliseconds."""
FEW_SIGNALS = 4
MAX_PRINTED = 16 * 2**20
"""Bytes that a child may print before it is ended: no package may fill the disk."""
FATAL = {4: "SIGILL", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV"}


@dataclass(frozen=True)
class Task:
    """What one child is to do, and in which environment."""

    name: str
    """For the progress line."""
    python: str
    task: Mapping[str, Any]
    env: Mapping[str, str]


@dataclass(frozen=True)
class End:
    """How a child ended."""

    events: tuple[dict[str, Any], ...] = ()
    returncode: int | None = None
    """None if it could not be started."""
    stderr: str = ""
    ended_for: str | None = None
    """Why the parent ended it: no end in time, or prints without end."""
    stuck: str | None = None
    """The signal whose handler a thread was stuck in."""

    def all(self, name: str) -> list[dict[str, Any]]:
        """The events of this name, in order."""
        return [e for e in self.events if e["event"] == name]


@dataclass
class Child:
    """One that runs."""

    task: Task
    process: subprocess.Popen[str]
    stdout: TextIO
    stderr: TextIO
    started: float = field(default_factory=time.monotonic)
    looked: float = 0.0
    in_handler: tuple[str, float] | None = None

    def end(self, **why: str | None) -> End:
        """Leave nothing of its process group behind, and read what it said."""
        kill_group(self.process)
        code = self.process.wait()
        self.stdout.seek(0)
        end = End(parse_events(self.stdout.read(MAX_PRINTED)), code, end_of(self.stderr), **why)
        self.stdout.close()
        self.stderr.close()
        return end

    def poll(self, timeout_s: float) -> End | None:
        """Its end, if it has come or had to be made."""
        now = time.monotonic()
        if self.process.poll() is not None:
            return self.end()
        if now - self.started > timeout_s:
            return self.end(ended_for=f"no end after {timeout_s:.0f} s", stuck=self.in_handler and self.in_handler[0])
        if size_of(self.stdout) + size_of(self.stderr) > MAX_PRINTED:
            return self.end(ended_for=f"printed more than {MAX_PRINTED >> 20} MiB")
        if now - self.looked < LOOK_EVERY_S:
            return None
        self.looked = now
        handler = handler_of(self.process.pid)
        if handler is None or self.in_handler is None or self.in_handler[0] != handler:
            self.in_handler = None if handler is None else (handler, now)
        elif now - self.in_handler[1] > STUCK_S:
            return self.end(stuck=handler)
        return None


def size_of(file: TextIO) -> int:
    """Bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def end_of(file: TextIO) -> str:
    """The end of what a child printed, however long it is."""
    return os.pread(file.fileno(), STDERR_TAIL, max(0, size_of(file) - STDERR_TAIL)).decode(errors="replace")


def handler_of(pid: int) -> str | None:
    """The fatal signal that a thread of the process is handling: blocked there, and hardly anything else is.

    Threads that block many signals for good, as emulators' and some runtimes' do, are left out by that.
    """
    wanted = sum(1 << (number - 1) for number in FATAL)
    with contextlib.suppress(OSError, ValueError):
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            line = next((x for x in status.read_text(errors="replace").splitlines() if x.startswith("SigBlk:")), "0 0")
            mask = int(line.split()[1], 16)
            if (mask & wanted).bit_count() == 1 and mask.bit_count() <= FEW_SIGNALS:
                return FATAL[(mask & wanted).bit_length()]
    return None


def start(task: Task) -> Child:
    """Start a probe in a process group of its own. Raises ``OSError`` if the interpreter cannot be run."""
    stdout = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by Child.end
    stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by Child.end
    with tempfile.TemporaryFile("w+") as stdin:
        json.dump({"parent": os.getpid(), **task.task}, stdin)
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                [task.python, str(PROBE)],
                env=dict(task.env),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        except OSError:
            stdout.close()
            stderr.close()
            raise
    return Child(task, process, stdout, stderr)


def run_tasks(
    tasks: Iterable[Task],
    *,
    timeout_s: float,
    at_once: int = 2,
    done: Callable[[Task, End], Sequence[Task]] = lambda task, end: (),
) -> None:
    """Run all tasks and those that ``done`` asks for, ``at_once`` at a time; on Ctrl-C all of them are killed."""
    waiting = [*tasks][::-1]
    running: list[Child] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                task = waiting.pop()
                try:
                    running.append(start(task))
                except OSError as error:
                    end = End(ended_for=f"{task.python}: {error.strerror or error}")
                    waiting += [*done(task, end)][::-1]
            for child in [*running]:
                ended = child.poll(timeout_s)
                if ended is not None:
                    running.remove(child)
                    waiting += [*done(child.task, ended)][::-1]
            if running:
                time.sleep(POLL_S)
    finally:
        for child in running:
            child.end()


def run_task(task: Task, *, timeout_s: float) -> End:
    """Run one."""
    ends: list[End] = []

    def finished(_: Task, end: End) -> Sequence[Task]:
        ends.append(end)
        return ()

    run_tasks([task], timeout_s=timeout_s, done=finished)
    return ends[0]
