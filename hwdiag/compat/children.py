"""Probes as agents: a few at once, each with its end, its time-out, and nothing left behind."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwdiag.process.agent import Agent

LOOK_EVERY_S = 0.5
"""Seconds between looks at a probe's threads."""
STUCK_S = 3.0
"""A thread that is in a signal handler for longer has no way out: a report takes milliseconds."""
FEW_SIGNALS = 4
MAX_PRINTED = 16 * 2**20
"""Bytes that a probe may print before it is ended."""
FATAL = {4: "SIGILL", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV"}


@dataclass(frozen=True)
class Task:
    """The work of one agent, and its environment."""

    name: str
    """For the progress line."""
    python: str
    task: Mapping[str, Any]
    """The command."""
    env: Mapping[str, str]


@dataclass(frozen=True)
class ProbeEnd:
    """The end of a probe."""

    events: tuple[dict[str, Any], ...] = ()
    returncode: int | None = None
    """None if it could not be started."""
    stderr: str = ""
    ended_for: str | None = None
    """Why the parent ended it: no end in time, or prints without end."""
    stuck: str | None = None
    """The signal whose handler a thread was stuck in."""

    def all(self, name: str) -> list[dict[str, Any]]:
        """Return the events of this name, in order."""
        return [e for e in self.events if e["event"] == name]


class Probe:
    """One that runs."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.agent = Agent(task.python, env=task.env, most_printed=MAX_PRINTED)
        self.agent.tell(task.task)
        self.agent.close()
        self.started = self.looked = time.monotonic()
        self.in_handler: tuple[str, float] | None = None

    def end(self, *, ended_for: str | None = None, stuck: str | None = None) -> ProbeEnd:
        """Leave nothing of it behind; return how it ended."""
        with self.agent as agent:
            agent.kill()
        end = agent.end
        assert end is not None
        if end.why == "error":
            ended_for = end.error
        elif agent.printed_too_much:
            ended_for = f"printed more than {MAX_PRINTED >> 20} MiB"
        elif agent.hung_up:
            ended_for = "it closed files that are not its own"
        return ProbeEnd(tuple(agent.events), end.returncode, end.stdout, ended_for, stuck)

    def poll(self, timeout_s: float) -> ProbeEnd | None:
        """Return its end, if it has come or had to be made."""
        now = time.monotonic()
        while self.agent.next_event(0):
            pass
        if self.agent.ended:
            return self.end()
        if now - self.started > timeout_s:
            return self.end(ended_for=f"no end after {timeout_s:.0f} s", stuck=self.in_handler and self.in_handler[0])
        if now - self.looked < LOOK_EVERY_S:
            return None
        self.looked = now
        handler = handler_of(self.agent.pid)
        if handler is None or self.in_handler is None or self.in_handler[0] != handler:
            self.in_handler = None if handler is None else (handler, now)
        elif now - self.in_handler[1] > STUCK_S:
            return self.end(stuck=handler)
        return None


def handler_of(pid: int | None) -> str | None:
    """Return the fatal signal that a thread of the process is handling: blocked there, and hardly anything else is.

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


def run_tasks(
    tasks: Iterable[Task],
    *,
    timeout_s: float,
    at_once: int = 2,
    done: Callable[[Task, ProbeEnd], Sequence[Task]] = lambda task, end: (),
) -> None:
    """Run all tasks and those that ``done`` asks for, ``at_once`` at a time; on Ctrl-C all of them are killed."""
    waiting = [*tasks][::-1]
    running: list[Probe] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(Probe(waiting.pop()))
            for probe in [*running]:
                ended = probe.poll(timeout_s)
                if ended is not None:
                    running.remove(probe)
                    waiting += [*done(probe.task, ended)][::-1]
            if running:
                files = [file for probe in running for file in probe.agent.files()]
                select.select(files, [], [], LOOK_EVERY_S)
    finally:
        for probe in running:
            probe.end()


def run_task(task: Task, *, timeout_s: float) -> ProbeEnd:
    """Run one."""
    ends: list[ProbeEnd] = []

    def finished(_: Task, end: ProbeEnd) -> Sequence[Task]:
        ends.append(end)
        return ()

    run_tasks([task], timeout_s=timeout_s, done=finished)
    return ends[0]
