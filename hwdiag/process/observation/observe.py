"""Observing a program: a command from its start to its end, or a process that runs already, for some time.

Everything is looked at from outside, by /proc, at two paces. Cheap looks, about every 20 ms and at random moments, ask
what the main threads of trainings do, how many files they have open and how full /dev/shm is. Dear looks, about one a
second and more often at first, read the whole tree: threads, affinity, memory, control groups, libraries. Their pace
follows what they take, so that observing stays cheap in a large tree as well.
"""

from __future__ import annotations

import math
import os
import random
import re
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol

from hwdiag.core.errors import UsageError
from hwdiag.core.text import now
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.host.sampling.series import SampleSeries
from hwdiag.process.command import Running, read
from hwdiag.process.disturbance import oom_kills
from hwdiag.process.launch import Launch
from hwdiag.process.model import Command, Outcome
from hwdiag.process.observation.followed import FollowedProcess
from hwdiag.process.observation.groups import ProcessGroups
from hwdiag.process.observation.kept_environment import without_ours
from hwdiag.process.observation.marks import MARKS, Marks, mark_pipe
from hwdiag.process.observation.model import Ending, InsideReport, ObservationCost, Program
from hwdiag.process.observation.neighbours import Neighbours
from hwdiag.process.observation.observable import observable, remarks
from hwdiag.process.observation.packages import packages
from hwdiag.process.observation.processes import Processes
from hwdiag.process.observation.room import Room
from hwdiag.process.observation.stat import TICKS, read_stat, read_text, ticks_now
from hwdiag.process.observation.table import ProcessTable
from hwdiag.process.observation.tee import Tee, drain
from hwdiag.process.observation.waits import Waits
from hwdiag.process.signals import PATIENCE, Requests, handling
from hwdiag.process.supervised import GRACE_S, End, Stdio
from hwdiag.process.supervisor import START

MOST_PROCESSES = 256
"""That are followed at a time, and told of."""
MOST_REMEMBERED = 1024
PACES = ((0.5, 0.05), (2.0, 0.1), (10.0, 0.5), (float("inf"), 1.0))
"""Until which second of the observation, so many seconds lie between two dear looks."""
SHARE = 0.01
"""Of the time, at most, that dear looks may take."""
WHOLE_S = 1.0
"""Between two looks at the machine and all other processes."""
GPU_USE = re.compile(r"gpu\d+\.use")
PATIENCE_S = 1.5
"""After a Ctrl-C the command has so long to end by itself."""


class Witness(Protocol):
    """What looks from inside the command's Python processes."""

    variables: Mapping[str, str]
    """To be added to the command's environment."""

    def collect(self) -> tuple[tuple[InsideReport, ...], str]:
        """Return what it left, and why there is nothing; called when all of the command has ended."""


class Observation:
    """All that is looked at of one program, while it runs."""

    def __init__(
        self, tops: set[int], sampler: Sampler | None, ours: set[int], clean: Callable[[dict[str, str]], dict[str, str]]
    ) -> None:
        """Begin.

        Args:
            tops: processes to which all below them belongs.
            sampler: what is read of the machine.
            ours: hwdiag's own processes.
            clean: takes out of a process's variables what hwdiag put there.
        """
        self.began, self.began_ticks = time.monotonic(), ticks_now()
        self.ours, self.clean = ours, clean
        self.table = ProcessTable(tops)
        self.followed: dict[int, FollowedProcess] = {}
        self.ended: list[FollowedProcess] = []
        self.root = Root.live()
        self.groups: dict[str, ProcessGroups] = {}
        self.waits = Waits(Processes())
        self.neighbours = Neighbours(self.began_ticks)
        self.room = Room()
        self.series = None if sampler is None else SampleSeries(sampler)
        self.marks = Marks()
        self.looks = 0
        self._oom_before = oom_kills(self.root)
        self._cpu = time.process_time()
        self._whole_due = 0.0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    # Looks

    def glance(self) -> None:
        """Look at what changes quickly, and is cheap."""
        self.looks += 1
        self.waits.look()
        for pid in self.waits.alive:
            if (process := self.followed.get(pid)) is not None:
                process.count_files()
                self.room.glance(pid)

    def look(self) -> None:
        """Look at everything."""
        self.looks += 1
        at = self.seconds
        whole = at >= self._whole_due
        self.table.look(whole)
        if whole:
            self._whole_due = at + WHOLE_S
        self._look_at_processes(at)
        for groups in self.groups.values():
            groups.look()
        self.waits.follow(self.followed)
        if whole:
            self._look_at_machine()

    def _look_at_machine(self) -> None:
        self.neighbours.look(self.table.stats, self.table.members, self.ours)
        self._sample()
        top = max(self.followed.values(), key=lambda p: p.cpu_s, default=None)
        if top is not None:
            self.room.glance(top.pid)
            self.room.look(top.pid, tuple(filter(None, (top.cwd, top.variables.get("TMPDIR", "/tmp")))))

    def _sample(self) -> None:
        if self.series is not None:
            values = self.series.take()
            named = zip((column.name for column in self.series.sampler.columns), values, strict=True)
            self.waits.take([v / 100 for name, v in named if GPU_USE.fullmatch(name) and not math.isnan(v)])

    def _look_at_processes(self, at: float) -> None:
        alive = {}
        for pid in self.table.members:
            if pid in self.ours:
                continue
            stat = self.table.stats[pid]
            process = self.followed.get(pid)
            if stat.has_ended:
                if process is not None:
                    process.end(stat)
            elif process is not None and process.stat.started == stat.started:
                alive[pid] = process
            elif len(alive) < MOST_PROCESSES:
                alive[pid] = FollowedProcess(pid, stat, began=self.began_ticks, clean=self.clean)
        self.ended += [process for pid, process in self.followed.items() if alive.get(pid) is not process]
        if len(self.ended) > MOST_REMEMBERED:
            self.ended = sorted(self.ended, key=lambda p: -p.cpu_s)[: MOST_REMEMBERED // 2]
        self.followed = alive
        for pid, process in alive.items():
            process.look(self.table.stats[pid], at)
            self._look_at_groups(process)

    def _look_at_groups(self, process: FollowedProcess) -> None:
        text = read_text(f"/proc/{process.pid}/cgroup", 1 << 16)
        if text and text != process.cgroup_text:
            stat = read_stat(f"/proc/{process.pid}/stat")
            if process.cgroup_text and not (stat and stat.mapped):
                return  # who ends has left its groups
            process.cgroup_text = text
            if text not in self.groups:
                self.groups[text] = ProcessGroups(self.root, str(process.pid))

    # The run

    def run(
        self, end: int | None, is_over: Callable[[], bool], seconds: float | None = None, marks: int | None = None
    ) -> None:
        """Look until the file ``end`` can be read, ``is_over`` says so, or the time is up; ``marks`` come by a pipe."""
        order = random.Random(1)
        poller = select.poll()
        for file in (end, marks):
            if file is not None:
                poller.register(file, select.POLLIN)
        until = float("inf") if seconds is None else self.began + seconds
        look_at = glance_at = time.monotonic()
        while not is_over() and (moment := time.monotonic()) < until:
            if moment >= look_at:
                before = time.thread_time()
                self.look()
                took = time.thread_time() - before
                pace = next(pace for until_s, pace in PACES if self.seconds < until_s)
                look_at = moment + max(pace, took / SHARE)
            elif moment >= glance_at:
                self.glance()
            if time.monotonic() >= glance_at:
                glance_at = time.monotonic() + order.expovariate(1 / self.waits.pause_s)
            ready = [
                file for file, _ in poller.poll(max(0.0, 1000 * (min(look_at, glance_at, until) - time.monotonic())))
            ]
            if marks is not None and marks in ready:
                self.marks.read(marks, self.seconds)
            if end in ready:
                break

    # All together

    def program(
        self,
        *,
        started_at: str,
        command: tuple[str, ...],
        pid: int | None,
        ending: Ending,
        cpu_s: float | None,
        notes: Sequence[str],
        inside: tuple[tuple[InsideReport, ...], str],
        supervisor_cpu_s: float,
    ) -> Program:
        """Return all that was seen; ``cpu_s``: what all of the program used, where that is known."""
        seconds = self.seconds
        self.table.look(whole=True)
        self.neighbours.look(self.table.stats, self.table.members, self.ours)
        self._sample()
        for groups in self.groups.values():
            groups.look()
        everybody = [*self.ended, *self.followed.values()]
        for process in everybody:
            if process.cgroup_text in self.groups:
                process.group = self.groups[process.cgroup_text].found()
            if START in process.command:  # it was not seen after it had become the command
                process.command = command
        everybody.sort(key=lambda p: -p.cpu_s)
        used = time.process_time() - self._cpu + supervisor_cpu_s
        found = tuple(process.found() for process in everybody[:MOST_PROCESSES])
        mapped = [path for process in found for path in process.libraries]
        return Program(
            command=command,
            pid=pid,
            started_at=started_at,
            seconds=seconds,
            own_allowed=tuple(sorted(os.sched_getaffinity(0))),
            processes=found,
            packages=packages([*mapped, ending.stderr, ending.stdout]),
            neighbours=self.neighbours.found(seconds, cpu_s),
            machine=self.series.means() if self.series else {},
            marks=self.marks.sorted(),
            shared_memory=self.room.shared,
            waits=self.waits.found(everybody),
            inside=inside[0],
            inside_note=inside[1],
            ending=ending,
            cost=ObservationCost(cpu_s=used, share=used / seconds if seconds > 0 else 0.0, looks=self.looks),
            notes=tuple(notes),
            oom_kills=max(0, oom_kills(self.root) - self._oom_before),
        )

    def oom_killed(self) -> bool:
        """Whether the kernel killed something of the program's control groups for want of memory meanwhile.

        Where no group counts that, or one is gone, whether it killed anything on the machine.
        """
        told = []
        for groups in self.groups.values():
            groups.look()
            told.append(groups.found().oom_kills if groups.is_there() else None)
        return any(told) or (None in told and oom_kills(self.root) > self._oom_before)


def observe_command(
    argv: Sequence[str],
    *,
    stdio: Stdio = (None, None, None),
    seconds: float | None = None,
    witness: Witness | None = None,
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
    own_group = ProcessGroups(Root.live())
    with ExitStack() as stack:
        stack.enter_context(handling(requests.asked))
        pipe, where = stack.enter_context(mark_pipe())
        ours[MARKS] = str(where)
        command, launch = Command(argv=tuple(argv), timeout_s=seconds or 0), Launch(env=ours)
        tee = stack.enter_context(Tee(stdio))
        running = stack.enter_context(Running(command, launch, tee.stdio))
        requests.started(running)
        tee.started()
        supervisor = running.supervisor_pid
        observation = Observation(
            {supervisor}, sampler, {os.getpid(), supervisor}, lambda found: without_ours(found, ours, before)
        )
        observation.groups[read_text("/proc/self/cgroup", 1 << 16)] = own_group
        started()
        observation.run(running.fileno(), lambda: _is_over(requests), marks=pipe)
        supervisor_cpu_s = _cpu_s(supervisor)
        if _is_over(requests) and running.wait(0) is None:
            notes.append(f"It had not ended {time.monotonic() - requests.first_at:.1f} s after Ctrl-C, and was killed.")
            end = running.stop()
        else:
            end = running.wait(GRACE_S) or running.stop()
        drain(tee, lambda: requests.count > 0)
        stdout, stderr = tee.texts()
        end = end.model_copy(update={"stdout": stdout, "stderr": stderr})
        ending = _ending(end, command, launch, observation, requests)
        inside = witness.collect() if witness else ((), "no witness was asked for")
        return observation.program(
            started_at=started_at,
            command=tuple(argv),
            pid=None,
            ending=ending,
            cpu_s=end.cpu_s,
            notes=notes,
            inside=inside,
            supervisor_cpu_s=supervisor_cpu_s,
        )


def _is_over(requests: Requests) -> bool:
    """Whether the person has asked for the end for long enough, or often enough."""
    waited = time.monotonic() - requests.first_at
    return requests.count >= PATIENCE or (requests.first == signal.SIGINT and waited > PATIENCE_S)


def _cpu_s(pid: int) -> float:
    stat = read_stat(f"/proc/{pid}/stat")
    return stat.ticks / TICKS if stat else 0.0


def _ending(end: End, command: Command, launch: Launch, observation: Observation, requests: Requests) -> Ending:
    ran = read(end, command, launch)
    outcome = ran.outcome
    if end.why == "ended" and end.returncode == -signal.SIGKILL and requests.first is None and observation.oom_killed():
        outcome = Outcome(kind="out-of-memory", detail="killed by the kernel for want of memory (SIGKILL)")
    return Ending(
        outcome=outcome,
        status=ran.status,
        seconds=max(0.0, ran.ended - ran.began) if ran.began else 0.0,
        stdout=end.stdout,
        stderr=end.stderr,
        full_disks=observation.room.full(),
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
        observation = Observation({pid}, sampler, {os.getpid()}, lambda found: found)
        observation.table.members[pid] = stat.started
        end = None
        try:
            end = os.pidfd_open(pid)
            stack.callback(os.close, end)
        except (OSError, AttributeError):  # Linux before 5.3; it has ended
            pass

        def is_over() -> bool:
            return requests.first is not None or pid not in observation.followed

        observation.look()
        observation.run(end, is_over, seconds)
        observation.look()
        there = read_stat(f"/proc/{pid}/stat")
        ended = there is None or there.started != stat.started or there.has_ended
        took = observation.seconds
        if ended:
            notes.append(f"PID {pid} ended after {took:.1f} s; only its parent knows with which exit status.")
        ending = Ending(
            outcome=Outcome(kind="ok", detail="it ended" if ended else "it runs on"),
            seconds=took,
            full_disks=observation.room.full(),
            asked_to_end=requests.first,
        )
        return observation.program(
            started_at=started_at,
            command=command,
            pid=pid,
            ending=ending,
            cpu_s=None,
            notes=notes,
            inside=((), "it ran already: only a command that hwdiag starts can be looked at from inside"),
            supervisor_cpu_s=0.0,
        )
