"""All that is looked at of one program while it runs, and how often.

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
import time
from collections.abc import Callable
from typing import Any

from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.host.sampling.series import SampleSeries
from hwdiag.process.disturbance import oom_kills
from hwdiag.process.observation.followed import FollowedProcess
from hwdiag.process.observation.free_space import FreeSpace
from hwdiag.process.observation.groups import ProcessGroups
from hwdiag.process.observation.marks import Marks
from hwdiag.process.observation.model import Ending, ObservationCost, Program
from hwdiag.process.observation.neighbours import Neighbours
from hwdiag.process.observation.packages import packages
from hwdiag.process.observation.processes import Processes
from hwdiag.process.observation.roles import mark_workers
from hwdiag.process.observation.stat import read_stat, read_text, ticks_now
from hwdiag.process.observation.table import ProcessTable
from hwdiag.process.observation.waits import Waits
from hwdiag.process.supervisor import START

MOST_PROCESSES = 256
"""That are followed at a time, and told of."""
IN_DETAIL = 16
"""Of them the busiest, with all of their threads; a record of the others' would be large."""
MOST_REMEMBERED = 1024
PACES = ((0.5, 0.05), (2.0, 0.1), (10.0, 0.5), (float("inf"), 1.0))
"""Until which second of the observation, so many seconds lie between two dear looks."""
SHARE = 0.01
"""Of the time, at most, that dear looks may take, unless that would leave more than ``SLOWEST_S`` between two."""
SLOWEST_S = 5.0
WHOLE_S = 1.0
"""Between two looks at the machine and all other processes."""
GPU_USE = re.compile(r"gpu\d+\.use")


class Observation:
    """All that is looked at of one program, while it runs."""

    def __init__(
        self,
        sampler: Sampler | None,
        clean: Callable[[dict[str, str]], dict[str, str]] = lambda found: found,
        py_spy: str | None = None,
    ) -> None:
        """Begin; the program is what is below ``table.tops``.

        Args:
            sampler: what is read of the machine.
            clean: takes out of a process's variables what hwdiag put there.
            py_spy: the program that tells the stacks of trainings without workers; see ``Waits``.
        """
        self.began, self.began_ticks = time.monotonic(), ticks_now()
        self.ours, self.clean = {os.getpid()}, clean
        """hwdiag's own processes."""
        self.table = ProcessTable()
        self.followed: dict[int, FollowedProcess] = {}
        self.known: dict[tuple[int, int], FollowedProcess] = {}
        """All that were followed, by their ids and when they were started; ``followed`` are those of the last look."""
        self.root = Root.live()
        self.groups: dict[str, ProcessGroups] = {}
        self.waits = Waits(Processes(), py_spy)
        self.neighbours = Neighbours(self.began_ticks)
        self.free_space = FreeSpace()
        self.series = None if sampler is None else SampleSeries(sampler)
        self.marks = Marks()
        self.looks = 0
        self._oom_before = oom_kills(self.root)
        self._oom_at_looks = (self._oom_before, self._oom_before)
        """The machine's count at the look before the last, and at the last."""
        self._cpu = time.process_time()
        self._whole_due = 0.0

    @property
    def seconds(self) -> float:
        """Return the seconds since the observation began."""
        return time.monotonic() - self.began

    # Looks

    def glance(self) -> None:
        """Look at what changes quickly, and is cheap."""
        self.looks += 1
        self.waits.look(self.seconds)
        if self.looks % 2 == 0:
            for pid in self.waits.alive:
                if (process := self.followed.get(pid)) is not None:
                    process.count_files()
                    self.free_space.glance(pid)

    def look(self) -> None:
        """Look at everything."""
        self.looks += 1
        at = self.seconds
        self._oom_at_looks = (self._oom_at_looks[1], oom_kills(self.root))
        whole = at >= self._whole_due
        self.table.look(whole)
        if whole:
            self._whole_due = at + WHOLE_S
        self._look_at_processes(at)
        for groups in self.groups.values():
            groups.look()
        self.waits.follow(self.followed)
        self.ours.update(stacks.pid for stacks in self.waits.stacks.values())
        if whole:
            self._look_at_machine()

    def _look_at_machine(self) -> None:
        self.neighbours.look(self.table.stats, self.table.members, self.ours)
        self._sample()
        top = max(self.followed.values(), key=lambda p: p.cpu_s, default=None)
        if top is not None:
            self.free_space.glance(top.pid)
            self.free_space.look(top.pid, tuple(filter(None, (top.cwd, top.variables.get("TMPDIR", "/tmp")))))

    def _sample(self) -> None:
        if self.series is not None:
            values = self.series.take()
            named = zip((column.name for column in self.series.sampler.columns), values, strict=True)
            self.waits.take([v / 100 for name, v in named if GPU_USE.fullmatch(name) and not math.isnan(v)])

    def _look_at_processes(self, at: float) -> None:
        self.followed = {}
        for pid in self._busiest():
            stat = self.table.stats[pid]
            process = self.known.get((pid, stat.started))
            if stat.has_ended:
                if process is not None:
                    process.end(stat)
                continue
            if process is None:
                process = FollowedProcess(pid, stat, began=self.began_ticks, clean=self.clean)
                self.known[pid, stat.started] = process
            self.followed[pid] = process
            process.look(stat, at)
            self._look_at_groups(process)
        if len(self.known) > MOST_REMEMBERED:
            alive = {(pid, process.stat.started) for pid, process in self.followed.items()}
            ended = sorted((key for key in self.known if key not in alive), key=lambda key: self.known[key].cpu_s)
            for key in ended[: MOST_REMEMBERED // 2]:
                del self.known[key]

    def _busiest(self) -> list[int]:
        """Return the program's processes; where they are too many, those that used most CPU time."""
        members = [pid for pid in self.table.members if pid not in self.ours]
        if len(members) <= MOST_PROCESSES:
            return members
        return sorted(members, key=lambda pid: (-self.table.stats[pid].ticks, pid not in self.followed))[
            :MOST_PROCESSES
        ]

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
                look_at = moment + max(pace, min(took / SHARE, SLOWEST_S))
            elif moment >= glance_at:
                self.glance()
            if time.monotonic() >= glance_at:
                glance_at = time.monotonic() + order.expovariate(1 / self.waits.pause_s(self.seconds))
            ready = [
                file for file, _ in poller.poll(max(0.0, 1000 * (min(look_at, glance_at, until) - time.monotonic())))
            ]
            if marks is not None and marks in ready:
                self.marks.read(marks, self.seconds)
            if end in ready:
                break

    # All together

    def close(self, supervisor_cpu_s: float = 0.0) -> None:
        """Take the last counters, and add up what observing cost, the supervisor's part included."""
        self.took = self.seconds
        self.table.look(whole=True)
        self.neighbours.look(self.table.stats, self.table.members, self.ours)
        self._sample()
        for groups in self.groups.values():
            groups.look()
        used = time.process_time() - self._cpu + supervisor_cpu_s
        share = used / self.took if self.took > 0 else 0.0
        self.cost = ObservationCost(cpu_s=used, share=share, looks=self.looks)
        kills = oom_kills(self.root)
        self.oom_kills = max(0, kills - self._oom_before)
        self._oom_at_end = kills > self._oom_at_looks[0]

    def oom_killed(self) -> bool:
        """Return whether the kernel killed something of the program's control groups for want of memory meanwhile.

        Where no group counts that, or one is gone, whether it killed anything on the machine; and whether it did so as
        the program ended, which may have been in a group that no look saw.
        """
        told = [g.found().oom_kills if g.is_there() else None for g in self.groups.values()]
        return any(told) or self._oom_at_end or (None in told and self.oom_kills > 0)

    def program(self, command: tuple[str, ...], *, ending: Ending, cpu_s: float | None = None, **told: Any) -> Program:
        """Return all that was seen, with what else is told of it.

        ``cpu_s``: what all of the program used to the end of each of its processes, where that is known.
        """
        everybody = [*self.known.values()]
        for process in everybody:
            if process.cgroup_text in self.groups:
                process.group = self.groups[process.cgroup_text].found()
            if START in process.command:  # it was not seen after it had become the command
                process.command = command
        mark_workers(everybody)
        everybody.sort(key=lambda p: -p.cpu_s)
        details = (1.0 if n < IN_DETAIL else 0.1 for n in range(MOST_PROCESSES))
        found = tuple(p.found(detail) for p, detail in zip(everybody, details, strict=False))
        mapped = [path for process in found for path in process.libraries]
        return Program(
            command=command,
            seconds=self.took,
            own_allowed=tuple(sorted(os.sched_getaffinity(0))),
            processes=found,
            packages=packages([*mapped, ending.stderr, ending.stdout]),
            neighbours=self.neighbours.found(self.took, cpu_s),
            machine=self.series.means() if self.series else {},
            marks=self.marks.sorted(),
            shared_memory=self.free_space.shared,
            waits=self.waits.found(everybody),
            cost=self.cost,
            oom_kills=self.oom_kills,
            ending=ending,
            **told,
        )
