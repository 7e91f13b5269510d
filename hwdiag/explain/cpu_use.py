"""CPUs of a program: those that it may use, those that it used and wanted, and its threads' wait for one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from hwdiag.explain.model import Case
from hwdiag.process.observation.model import ObservedProcess, ObservedThread

BUSY = 0.2
"""Share of a process's life in which a thread ran or wanted to, from which on it counts as busy."""
WORKING = 0.05
"""CPUs that a process used, from which on what it may use matters."""
CROWDED_FOR = 0.2
"""Share of the time for which processes have to be there together to count so."""
SHORTEST_S = 0.5
LEAST_S = 1.0
"""Of a program that was shorter, waiting for CPUs says nothing: it only started."""
CROWDED = 1.25
"""CPUs wanted over CPUs that it may have, from which on its own threads are in each other's way."""
WAITED = 0.15
"""Share of the time without a CPU, of that in which it could run, that is worth a finding."""
THROTTLED = 0.02
"""Seconds for which the quota stopped it, of those observed."""


@dataclass(frozen=True)
class CpuUse:
    """A program's CPUs while it was observed."""

    seconds: float
    online: frozenset[int]
    """Of the host."""
    own: frozenset[int]
    """That hwdiag may use, and with it whatever started the command."""
    allowed: frozenset[int]
    """That any thread of the program's working processes may use."""
    quota: float | None
    """CPUs' worth of time of the tightest quota; None without one."""
    throttled_s: float
    used: float
    """CPUs that it kept busy, in the mean."""
    waited: float | None
    """CPUs' worth of time for which its threads could run and had none; None where the kernel does not tell."""
    others: float
    """CPUs that other programs kept busy."""
    working: tuple[ObservedProcess, ...]
    """Its processes that used CPU time, those of DataLoaders' workers too."""
    at_once: tuple[ObservedProcess, ...]
    """Of these, those that were there together when it wanted most CPUs: others came before or after them."""

    @property
    def capacity(self) -> float:
        """Return the CPUs' worth of time that the program may have."""
        cpus = float(len(self.allowed) or len(self.own) or 1)
        return min(cpus, self.quota) if self.quota is not None else cpus

    @property
    def wait_share(self) -> float | None:
        """Return the share of the time in which its threads could run and had no CPU."""
        if self.waited is None:
            return None
        return self.waited / (self.used + self.waited) if self.used + self.waited > 0.01 else 0.0

    @property
    def wanted(self) -> float:
        """Return the CPUs that its threads ran on or waited for."""
        return self.used + (self.waited or 0.0)

    @property
    def is_short(self) -> bool:
        """Return whether the program ended before its use of the CPUs could matter."""
        return self.seconds < LEAST_S

    @property
    def is_crowded(self) -> bool:
        """Return whether the program's own threads want more CPUs than it may have."""
        return self.wanted >= CROWDED * self.capacity

    @property
    def is_throttled(self) -> bool:
        """Return whether a quota stopped the program for a time worth a word."""
        return self.throttled_s >= THROTTLED * self.seconds


def cpu_use(case: Case) -> CpuUse:
    """Return the CPUs that the program had and wanted."""
    program = case.program
    seconds = max(program.seconds, 1e-3)
    working = working_processes(case)
    threads = [t for p in program.processes for t in p.threads]
    waits = [t.wait_s for t in threads if t.wait_s is not None]
    groups = {p.cgroup.path: p.cgroup for p in program.processes}.values()
    quotas = [g.cpu_quota for g in groups if g.cpu_quota is not None]
    online = frozenset(case.host.cpu.online)
    return CpuUse(
        seconds=seconds,
        online=online,
        own=frozenset(program.own_allowed) or frozenset(case.host.usable_cpus),
        allowed=union((p.allowed, *(t.allowed for t in busy_threads(p))) for p in working),
        quota=min(quotas, default=None),
        throttled_s=max((g.throttled_s or 0.0 for g in groups), default=0.0),
        used=sum(p.cpu_s for p in program.processes) / seconds,
        waited=sum(waits) / seconds if waits else None,
        others=sum(n.cpus for n in program.neighbours),
        working=working,
        at_once=most_at_once(working, seconds),
    )


def union(lists: Iterable[Iterable[tuple[int, ...]]]) -> frozenset[int]:
    """Return all CPUs of these lists."""
    return frozenset(cpu for found in lists for cpus in found for cpu in cpus)


def working_processes(case: Case) -> tuple[ObservedProcess, ...]:
    """Return the processes that used CPU time worth a word; of none, the one that used most."""
    found = [p for p in case.program.processes if p.allowed]
    busy = tuple(p for p in found if p.cpu_s >= WORKING * life(p))
    return busy or tuple(sorted(found, key=lambda p: -p.cpu_s)[:1])


def most_at_once(working: tuple[ObservedProcess, ...], seconds: float) -> tuple[ObservedProcess, ...]:
    """Return the processes that were there together when more CPUs were wanted than for four fifths of the time."""
    moments = sorted({moment for p in working for moment in (p.began_s, max(p.ended_s, p.began_s + SHORTEST_S))})
    spans = []
    for begin, end in pairwise(moments):
        there = tuple(p for p in working if p.began_s <= begin and max(p.ended_s, p.began_s + SHORTEST_S) >= end)
        spans.append((sum(wanted_by(p, t) for p in there for t in p.threads), end - begin, there))
    left = CROWDED_FOR * seconds
    for _, took, there in sorted(spans, key=lambda span: -span[0]):
        left -= took
        if left <= 0:
            return there
    return working if not spans else min(spans, key=lambda span: span[0])[2]


def life(process: ObservedProcess) -> float:
    """Return the seconds for which a process was observed."""
    return max(process.ended_s - process.began_s, SHORTEST_S)


def wanted_by(process: ObservedProcess, thread: ObservedThread, waits: float = 1.0) -> float:
    """Return the share of its process's life in which a thread ran, or wanted to; ``waits``: the share of its waiting
    that counts."""
    return (thread.cpu_s + waits * (thread.wait_s or 0.0)) / life(process)


def busy_threads(process: ObservedProcess) -> tuple[ObservedThread, ...]:
    """Return the threads that ran, or wanted to, for a good part of their process's life."""
    return tuple(t for t in process.threads if wanted_by(process, t) >= BUSY)


def crowd_on_a_mask(use: CpuUse) -> tuple[frozenset[int], list[tuple[ObservedProcess, ObservedThread]]] | None:
    """Return the fewest CPUs on which busy threads sit by their masks, more than those can run, and these threads.

    None where every busy thread may run on all CPUs of the program, or has one for itself.
    """
    busy = [(p, t) for p in use.at_once for t in busy_threads(p) if t.allowed]
    for mask in sorted({frozenset(t.allowed) for _, t in busy}, key=lambda m: (len(m), sorted(m))):
        on_it = [(p, t) for p, t in busy if frozenset(t.allowed) <= mask]
        wanted = sum(wanted_by(p, t) for p, t in on_it)
        if not mask >= use.allowed and len(on_it) > len(mask) and wanted >= 1.1 * len(mask):
            return mask, on_it
    return None
