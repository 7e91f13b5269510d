"""One process of the program while it is followed: what each look at it adds up to."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from hwdiag.host.cpulist import parse_cpulist
from hwdiag.process.observation.kept_environment import kept, parse_environment
from hwdiag.process.observation.mapped import has_torch, mapped_files, notable
from hwdiag.process.observation.model import (
    CgroupOfProcess,
    MemoryPoint,
    ObservedProcess,
    ObservedThread,
    ResourceLimits,
)
from hwdiag.process.observation.resource_limits import parse_limits
from hwdiag.process.observation.stat import POLICIES, TICKS, Stat, read_bytes, read_stat, read_text

MOST_THREADS = 128
"""That are told of; four times as many are looked at."""
MOST_POINTS = 240
MOST_WORDS = 200
"""Of a command line, and characters of each."""
EARLY_S, MAPS_PACE = 2.0, 0.05
"""So long after its start each look asks which libraries are mapped; later after this share of the time, a second at
least: programs load libraries late."""
WORKER = "pt_data_worker"
"""What torch calls a worker of a DataLoader (since 2.6)."""
SIZES = re.compile(r"^(VmSize|VmRSS|RssAnon|RssFile|RssShmem|VmSwap):\s+(\d+) kB$", re.MULTILINE)
ALLOWED = re.compile(r"^Cpus_allowed_list:\s*(\S*)$", re.MULTILINE)
UID = re.compile(r"^Uid:\s+\d+\s+(\d+)", re.MULTILINE)

Clean = Callable[[dict[str, str]], dict[str, str]]
"""Takes out of a process's variables what hwdiag put there."""


@dataclass
class FollowedThread:
    """One thread."""

    before: int
    """Ticks of CPU time that do not count: those before the observation."""
    waited_before: float
    name: str = ""
    ticks: int = 0
    waited: float | None = None
    ran_on: set[int] = field(default_factory=set)
    policy: int = 0
    nice: int = 0
    allowed: tuple[int, ...] = ()

    def found(self, tid: int) -> ObservedThread:
        """Return what was seen of it."""
        return ObservedThread(
            tid=tid,
            name=self.name,
            allowed=self.allowed,
            ran_on=tuple(sorted(self.ran_on)),
            cpu_s=max(0, self.ticks - self.before) / TICKS,
            wait_s=None if self.waited is None else max(0.0, self.waited - self.waited_before),
            policy=POLICIES[self.policy] if self.policy < len(POLICIES) else str(self.policy),
            nice=self.nice,
        )


class FollowedProcess:
    """One process, from its first look to its last."""

    def __init__(self, pid: int, stat: Stat, *, began: int, clean: Clean, proc: str = "/proc") -> None:
        """``began``: when the observation began, in ticks; what started later is counted from its own start."""
        self.pid, self.stat, self.proc, self.clean = pid, stat, f"{proc}/{pid}", clean
        self.is_new, self._observed_from = stat.started >= began, began
        self._before = 0 if self.is_new else stat.ticks
        self._faults_before = 0 if self.is_new else stat.major_faults
        self.parent = stat.parent
        self.threads: dict[int, FollowedThread] = {}
        self.most_threads = 0
        self.memory: list[MemoryPoint] = []
        self._points, self._every = 0, 1
        self._last_point: MemoryPoint | None = None
        self.most_files: int | None = None
        self.hidden: dict[str, None] = {}
        self.began: float | None = None
        self.ended = 0.0
        self.group = CgroupOfProcess()
        self.cgroup_text = ""
        self.uid: int | None = None
        self.is_worker = False
        self.cwd = ""
        self._program: object = None
        self._start_over()

    def _start_over(self) -> None:
        """Forget what was read before: the process has become another program."""
        self.command: tuple[str, ...] = ()
        self.executable = ""
        self.variables: dict[str, str] = {}
        self.libraries: tuple[str, ...] = ()
        self.torch = False
        self.limits = ResourceLimits()
        self.first_allowed: tuple[int, ...] = ()
        self.allowed: tuple[int, ...] = ()
        self._mapped, self._maps_due = -1, 0.0
        self._seen_threads = (-1, -1)
        self.threads = {tid: thread for tid, thread in self.threads.items() if tid == self.pid}

    @property
    def cpu_s(self) -> float:
        """Return the CPU seconds so far."""
        return max(0, self.stat.ticks - self._before) / TICKS

    def end(self, stat: Stat) -> None:
        """Take the last that the kernel tells of it."""
        self.stat = stat

    def look(self, stat: Stat, at: float) -> None:
        """Look at all of it, at a moment of the observation's clock."""
        if self.began is None:
            self.began = at
        self.ended, self.stat = at, stat
        self.most_threads = max(self.most_threads, stat.threads)
        self.is_worker = self.is_worker or stat.name.startswith(WORKER)
        self._identify()
        self._look_at_status(at)
        self._look_at_threads()
        self.count_files()
        self._look_at_maps(at)

    # What it is

    def _identify(self) -> None:
        """Read what an exec may have changed."""
        executable = self._link("exe")
        if not executable and not self.stat.resident:
            return  # it ends
        program = (executable, self.stat.stack) if executable else self._words()
        if program == self._program:
            return
        self._program = program
        self._start_over()
        self.executable, self.command = executable, self._words()
        self.allowed = self.first_allowed = self._affinity(self.pid) or ()
        self.variables = self._environment()
        self.limits = self._limits()
        self.cwd = self._link("cwd")

    def _words(self) -> tuple[str, ...]:
        block = read_text(f"{self.proc}/cmdline", 1 << 16)
        return tuple(word[: 10 * MOST_WORDS] for word in block.removesuffix("\0").split("\0") if block)[:MOST_WORDS]

    def _link(self, name: str) -> str:
        try:
            return os.readlink(f"{self.proc}/{name}").removesuffix(" (deleted)")
        except PermissionError:
            self.hidden["its program, environment, libraries and open files: look as its owner or as root"] = None
            return ""
        except OSError:
            return ""

    def _limits(self) -> ResourceLimits:
        return parse_limits(read_text(f"{self.proc}/limits"))

    def _environment(self) -> dict[str, str]:
        try:
            block = read_bytes(f"{self.proc}/environ", 1 << 20)
        except PermissionError:
            return {}
        return kept(self.clean(parse_environment(block)))

    # What it has

    def _look_at_status(self, at: float) -> None:
        text = read_text(f"{self.proc}/status")
        if uid := UID.search(text):
            self.uid = int(uid[1])
        if allowed := ALLOWED.search(text):
            self.allowed = parse_cpulist(allowed[1])
            self.first_allowed = self.first_allowed or self.allowed
        sizes = {name: 1024 * int(size) for name, size in SIZES.findall(text)}
        if "VmSize" in sizes:  # it has memory no more when it ends
            self._add(
                MemoryPoint(
                    seconds=round(at, 3),
                    resident_bytes=sizes.get("VmRSS", 0),
                    anonymous_bytes=sizes.get("RssAnon", 0),
                    file_bytes=sizes.get("RssFile", 0),
                    shared_bytes=sizes.get("RssShmem", 0),
                    swapped_bytes=sizes.get("VmSwap", 0),
                    mapped_bytes=sizes["VmSize"],
                )
            )

    def _add(self, point: MemoryPoint) -> None:
        """Keep a point; of many, every second, every fourth and so on. The last one is kept beside."""
        if self._points % self._every == 0:
            self.memory.append(point)
        self._points += 1
        self._last_point = point
        if len(self.memory) >= MOST_POINTS:
            self.memory = self.memory[::2]
            self._every *= 2

    def _look_at_threads(self) -> None:
        if self._seen_threads == (self.stat.ticks, self.stat.threads):
            return  # none of them ran
        self._seen_threads = (self.stat.ticks, self.stat.threads)
        try:
            ids = [int(name) for name in os.listdir(f"{self.proc}/task")]
        except OSError:
            return
        for tid in ids[: 4 * MOST_THREADS]:
            self._look_at_thread(tid)
        if len(self.threads) > 8 * MOST_THREADS:
            alive = set(ids)
            ended = sorted((t.ticks, tid) for tid, t in self.threads.items() if tid not in alive)
            for _, tid in ended[: len(self.threads) - 4 * MOST_THREADS]:
                del self.threads[tid]

    def _look_at_thread(self, tid: int) -> None:
        stat = read_stat(f"{self.proc}/task/{tid}/stat")
        if stat is None:
            return
        thread = self.threads.get(tid)
        is_first = thread is None
        if thread is None:
            counts = self.is_new or stat.started > self._observed_from
            thread = self.threads[tid] = FollowedThread(0 if counts else stat.ticks, 0.0)
        if stat.state == "R" or stat.ticks != thread.ticks:
            thread.ran_on.add(stat.cpu)
        elif not is_first:
            return  # it did nothing since
        thread.name, thread.ticks, thread.policy, thread.nice = stat.name, stat.ticks, stat.policy, stat.nice
        words = read_text(f"{self.proc}/task/{tid}/schedstat").split()
        thread.waited = int(words[1]) / 1e9 if len(words) > 1 else None
        if is_first and not self.is_new and thread.before:
            thread.waited_before = thread.waited or 0.0
        thread.allowed = self._affinity(tid) or thread.allowed

    def _affinity(self, tid: int) -> tuple[int, ...] | None:
        try:
            return tuple(sorted(os.sched_getaffinity(tid)))
        except OSError:
            return None

    def count_files(self) -> None:
        """Count its open files; Linux 6.2 and newer tell the number at once."""
        try:
            count = os.stat(f"{self.proc}/fd").st_size or len(os.listdir(f"{self.proc}/fd"))
        except OSError:
            return
        self.most_files = max(count, self.most_files or 0)

    def _look_at_maps(self, at: float) -> None:
        if self.stat.mapped == self._mapped or (at - (self.began or 0.0) > EARLY_S and at < self._maps_due):
            return
        self._mapped, self._maps_due = self.stat.mapped, at + max(1.0, MAPS_PACE * at)
        files = mapped_files(read_text(f"{self.proc}/maps"))
        if files:
            self.libraries = notable(files, self.variables.get("LD_PRELOAD", ""))
            self.torch = has_torch(files)
        self.limits = self._limits()  # a program may change its own

    # All together

    def found(self, detail: float = 1.0) -> ObservedProcess:
        """Return what was seen of it; ``detail``: of the threads and points of memory, which share at most."""
        memory = self.memory[:: max(1, math.ceil(len(self.memory) / (detail * MOST_POINTS)))]
        last = () if self._last_point is None or self._last_point is memory[-1] else (self._last_point,)
        threads = sorted(((t.found(tid)) for tid, t in self.threads.items()), key=lambda t: -t.cpu_s)
        return ObservedProcess(
            pid=self.pid,
            parent=self.parent,
            name=self.stat.name,
            command=self.command,
            executable=self.executable,
            uid=self.uid,
            began_s=round(self.began or 0.0, 3),
            ended_s=round(self.ended, 3),
            first_allowed=self.first_allowed,
            allowed=self.allowed,
            threads=tuple(threads[: int(detail * MOST_THREADS)]),
            most_threads=self.most_threads,
            cpu_s=self.cpu_s,
            major_faults=max(0, self.stat.major_faults - self._faults_before),
            memory=(*memory, *last),
            environment=self.variables,
            libraries=self.libraries,
            torch=self.torch,
            most_open_files=self.most_files,
            limits=self.limits,
            cgroup=self.group,
            worker=self.is_worker,
            hidden=tuple(self.hidden),
        )
