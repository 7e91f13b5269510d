"""Observing a program: a command from its start to its end, or a process that runs already, for some time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol

from hwdiag.core.errors import UsageError
from hwdiag.core.text import now
from hwdiag.host.sampling import Sampler
from hwdiag.process.command import Running, read
from hwdiag.process.launch import Launch
from hwdiag.process.model import Command, Outcome
from hwdiag.process.observation.groups import ProcessGroups
from hwdiag.process.observation.kept_environment import without_ours
from hwdiag.process.observation.marks import MARKS, mark_pipe
from hwdiag.process.observation.model import Ending, InsideReport, Program
from hwdiag.process.observation.observable import observable, remarks
from hwdiag.process.observation.observation import Observation
from hwdiag.process.observation.stack_sampling import installed
from hwdiag.process.observation.stat import TICKS, read_stat, read_text
from hwdiag.process.observation.tee import Tee, drain
from hwdiag.process.signals import PATIENCE, Requests, handling, on_resize
from hwdiag.process.supervised import GRACE_S, End, Stdio

PATIENCE_S = 1.2
"""After a Ctrl-C the command has so long to end by itself."""


class InsideInstrument(Protocol):
    """A part that looks from inside the command's Python processes."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Return what is to be added to the command's environment."""

    def collect(self, is_over: Callable[[], bool] = ...) -> tuple[tuple[InsideReport, ...], str]:
        """Return what it left, and why there is nothing; called when all of the command has ended.

        ``is_over``: whether the person has asked for the end, and waits for nothing more.
        """


def observe_command(
    argv: Sequence[str],
    *,
    stdio: Stdio = (None, None, None),
    seconds: float | None = None,
    witness: InsideInstrument | None = None,
    sampler: Sampler | None = None,
    started: Callable[[], None] = lambda: None,
) -> Program:
    """Start a command once, look at it to its end, and return what was seen. Nothing of it outlives this.

    Args:
        argv: the command.
        stdio: the person's input, output and error: the command has the input, and what it prints goes on to the
            others. Where one is None, it has no input, and what it prints is kept only.
        seconds: after which it is ended; None: to its end.
        witness: what looks from inside.
        sampler: what is read of the machine; closed by the caller. None: nothing.
        started: called when the command is there.

    Raises:
        UsageError: there is no command.
    """
    if not argv:
        raise UsageError("there is no command to look at")
    started_at, ours = now(), dict(witness.variables if witness else {})
    requests, notes, before = Requests(), list[str](), dict(os.environ)
    with ExitStack() as stack:
        stack.enter_context(handling(requests.asked))
        pipe, where = stack.enter_context(mark_pipe())
        ours[MARKS] = str(where)
        command, launch = Command(argv=tuple(argv), timeout_s=seconds or 0), Launch(env=ours)
        tee = stack.enter_context(Tee(stdio))
        observation = Observation(sampler, lambda found: without_ours(found, ours, before))
        observation.groups[read_text("/proc/self/cgroup", 1 << 16)] = ProcessGroups(observation.root)
        running = stack.enter_context(Running(command, launch, tee.stdio))
        requests.started(running)
        tee.started()
        stack.enter_context(on_resize(lambda: _resize(tee, running)))
        supervisor = running.supervisor_pid
        observation.table.tops.add(supervisor)
        observation.ours.add(supervisor)
        started()
        observation.run(running.fileno(), lambda: _is_over(requests), marks=pipe)
        supervisor_cpu_s = _cpu_s(supervisor)
        if _is_over(requests) and running.wait(0) is None:
            notes.append(f"It had not ended {time.monotonic() - requests.first_at:.1f} s after Ctrl-C, and was killed.")
            end = running.stop()
        else:
            end = running.wait(GRACE_S) or running.stop()
        observation.close(supervisor_cpu_s)
        drain(tee, lambda: requests.count > 0)
        stdout, stderr = tee.texts()
        end = end.model_copy(update={"stdout": stdout, "stderr": stderr})
        ending = _ending(end, command, launch, observation, requests)
        inside, why = (
            witness.collect(lambda: requests.count > 0) if witness else ((), "it was looked at from outside alone")
        )
        return observation.program(
            tuple(argv),
            cpu_s=end.cpu_s,
            started_at=started_at,
            ending=ending,
            notes=tuple(notes),
            inside=inside,
            inside_note=why,
        )


def _resize(tee: Tee, running: Running) -> None:
    """Give the command's terminals the size of the person's, and tell the command, which is not in their session."""
    tee.resize()
    running.signal(signal.SIGWINCH)


def _is_over(requests: Requests) -> bool:
    """Return whether the person has asked for the end for long enough, or often enough."""
    waited = time.monotonic() - requests.first_at
    return requests.count >= PATIENCE or (requests.first == signal.SIGINT and waited > PATIENCE_S)


def _cpu_s(pid: int) -> float:
    stat = read_stat(f"/proc/{pid}/stat")
    return stat.ticks / TICKS if stat else 0.0


def _ending(end: End, command: Command, launch: Launch, observation: Observation, requests: Requests) -> Ending:
    ran = read(end, command, launch)
    outcome = ran.outcome
    if end.why == "ended" and end.returncode == -signal.SIGKILL and requests.first is None and observation.oom_killed():
        outcome = Outcome(kind="out-of-memory", detail="killed by the kernel for lack of memory (SIGKILL)")
    status = ran.status
    if end.why == "stopped" and requests.first is not None:
        outcome = Outcome(kind="signal", detail="killed, since it did not end when it was asked to")
        status = -requests.first
    return Ending(
        outcome=outcome,
        status=status,
        seconds=max(0.0, ran.ended - ran.began) if ran.began else 0.0,
        stdout=end.stdout,
        stderr=end.stderr,
        full_disks=observation.free_space.finish(),
        asked_to_end=requests.first,
    )


# A process that runs already


def observe_pid(pid: int, seconds: float, *, sampler: Sampler | None = None) -> Program:
    """Look at a running process and all below it for so many seconds, or until it ends or Ctrl-C comes.

    Raises:
        UsageError: there is nothing to look at: no such process, a zombie, a thread, the kernel's own, hwdiag itself.
    """
    stat = observable(pid)
    requests, started_at = Requests(), now()
    command = tuple(word for word in read_text(f"/proc/{pid}/cmdline", 1 << 16).split("\0") if word)
    notes = remarks(pid)
    with ExitStack() as stack:
        stack.enter_context(handling(requests.asked))
        observation = Observation(sampler, py_spy=installed() or "")
        stack.callback(observation.waits.close)
        observation.table.tops.add(pid)
        observation.table.members[pid] = stat.started
        end = None
        try:
            end = os.pidfd_open(pid)
            stack.callback(os.close, end)
        except (OSError, AttributeError):  # Linux before 5.3; it has ended
            pass

        def is_over() -> bool:
            table = observation.table
            return requests.first is not None or pid not in table.members or table.stats[pid].has_ended

        observation.look()
        observation.run(end, is_over, seconds)
        observation.look()
        observation.close()
        there = read_stat(f"/proc/{pid}/stat")
        ended = there is None or there.started != stat.started or there.has_ended
        took = observation.took
        if ended:
            notes.append(f"PID {pid} ended after {took:.1f} s; only its parent knows with which exit status.")
        ending = Ending(
            outcome=Outcome(kind="ok", detail="it ended" if ended else "it runs on"),
            seconds=took,
            full_disks=observation.free_space.finish(),
            asked_to_end=requests.first,
        )
        return observation.program(
            command,
            pid=pid,
            started_at=started_at,
            ending=ending,
            notes=tuple(notes),
            inside_note="it ran already: only a command that hwdiag starts can be looked at from inside",
        )
