"""Probe of the program's memory: whether it grows without end, what grows, and whether it is swapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import listed
from hwdiag.explain.cpu_use import life
from hwdiag.explain.ended import failed
from hwdiag.explain.model import Answer, Case
from hwdiag.process.observation.model import InsideReport, MemoryPoint, ObservedProcess
from hwdiag.report.format import clean, disk_size, seconds, size

MIB = 1 << 20
PARTS = 8
"""Parts of the time that is looked at."""
GROWING = 6
"""Of these, so many have to grow."""
LEAST_BYTES = 64 * MIB
LEAST_SHARE = 0.1
"""What grew, of what there was."""
DOUBTFUL_BYTES = 24 * MIB
"""Steady growth from which on memory is not called steady."""
STEADY = 0.6
"""Growth of the second half over that of the first: less of it levels off."""
REACHED = 0.98
"""Share of the most from which on it is as large as it becomes."""
MOST_OF_IT = 0.65
"""Share of the time after loading in which it has to grow."""
LEAST_S = 2.0
LASTING = 0.4
"""Share of the program's time for which a process has to be there."""
COMPILERS = frozenset({"cc1", "cc1plus", "lto1", "as", "ld", "collect2", "clang", "clang++", "cicc", "ptxas", "rustc"})
"""They take memory until they are done."""
SWAPPED = 16 * MIB
SWAP_IN = 1e6
"""Bytes a second."""
FAULTS = 100.0
"""Major faults a second."""
KINDS = (
    ("anonymous_bytes", "anonymous memory: tensors, arrays and objects on the heap"),
    ("shared_bytes", "shared memory (/dev/shm): tensors from workers that are kept"),
    ("file_bytes", "mapped files: the kernel reclaims them when it needs memory"),
)


def look(case: Case) -> Iterator[Answer]:
    """Yield what grows and by how much a second, and whether it swaps."""
    seen = [p for p in case.program.processes if len(p.memory) > PARTS and is_judged(case, p)]
    risen = [(p, r) for p in seen if (r := rise(p.memory, p.began_s)) is not None]
    grown = [(p, r) for p, r in risen if r.grew_bytes >= max(LEAST_BYTES, LEAST_SHARE * r.from_bytes)]
    for process, found in sorted(grown, key=lambda pair: -pair[1].rate)[:3]:
        yield growing(case, process, found.rate, found.kind)
    if not grown:
        yield steady(case, seen, risen)
    yield from swapping(case)


def is_judged(case: Case, process: ObservedProcess) -> bool:
    """Return whether growth of a process can be a leak: not of compilers, nor of what was there for a short while."""
    return process.name not in COMPILERS and life(process) >= LASTING * case.program.seconds


@dataclass(frozen=True)
class Rise:
    """Resident memory that grows steadily."""

    grew_bytes: float
    seconds: float
    from_bytes: float
    """What there was before."""
    kind: str
    """Which of ``KINDS`` grows the most."""

    @property
    def rate(self) -> float:
        """Return bytes a second."""
        return self.grew_bytes / self.seconds


def rise(points: Sequence[MemoryPoint], began_s: float) -> Rise | None:
    """Return how the resident memory grows steadily; None where it does not.

    What is looked at begins when libraries are loaded (files that are mapped grow no more), after a third of the time
    at the earliest, and ends when the memory is as large as it becomes: a program that ends lets go for a while. That
    has to be most of the time that is left. Of its eight parts six have to grow, the second half nearly as much as the
    first.
    """
    later = growing_part(points, began_s)
    took = later[-1].seconds - later[0].seconds if later else 0.0
    if took < LEAST_S:
        return None
    at = np.array([p.seconds for p in later])
    ends = np.linspace(at[0], at[-1], PARTS + 1)
    resident = np.interp(ends, at, np.array([p.resident_bytes for p in later], dtype=float))
    parts = [b - a for a, b in pairwise(resident)]
    halves = resident[PARTS // 2] - resident[0], resident[-1] - resident[PARTS // 2]
    if sum(p > 0 for p in parts) < GROWING or halves[1] < STEADY * halves[0]:
        return None
    kinds = {name: getattr(later[-1], name) - getattr(later[0], name) for name, _ in KINDS}
    most = max(kinds, key=lambda name: kinds[name])
    return None if most == "file_bytes" else Rise(float(resident[-1] - resident[0]), took, float(resident[0]), most)


def growing_part(points: Sequence[MemoryPoint], began_s: float) -> list[MemoryPoint]:
    """Return the points from when all is loaded to when the memory is largest; none where that is a small part."""
    last = points[-1].seconds
    files, most = max(p.file_bytes for p in points), max(p.resident_bytes for p in points)
    loaded = next(p.seconds for p in points if p.file_bytes >= REACHED * files)
    first = max(loaded, began_s + (last - began_s) / 3)
    full = next(p.seconds for p in points if p.resident_bytes >= REACHED * most)
    if full - first < MOST_OF_IT * (last - first):
        return []
    return [p for p in points if first <= p.seconds <= full]


def growing(case: Case, process: ObservedProcess, rate: float, kind: str) -> Finding:
    """Return the finding of one process that grows."""
    points, inside = process.memory, report_of(case, process)
    at_end, what = points[-1].resident_bytes, dict(KINDS)[kind]
    minute = rate * 60
    left = case.host.memory.available_bytes
    limit = process.cgroup.memory_limit_bytes
    room = min((b for b in (left, limit - at_end if limit else None) if b is not None), default=None)
    until = f" At this rate the memory left ({size(room)}) lasts {seconds(room / rate)}." if room and room > 0 else ""
    grew, graph = counted(inside)
    told = f" From inside: {grew}." if grew else ""
    return Finding(
        id=f"memory-grows:{process.pid}",
        severity="problem" if failed(case.program.ending) else "warning",
        title=f"The memory of PID {process.pid} ({clean(process.name)}) grows steadily, by {disk_size(rate)} a second, "
        f"to {size(at_end)} resident",
        detail=f"What grows is {what}.{told} That is {disk_size(minute)} a minute.{until} "
        f"{remedy(process, kind, graph)}",
        evidence=("program.processes",),
    )


def remedy(process: ObservedProcess, kind: str, graph: bool | None) -> str:
    """Return where to look, by what grows."""
    if kind == "shared_bytes":
        return "Keep copies of batches ('batch.clone()') or what you need of them, not the batches themselves."
    detach = (
        "A tensor that is kept keeps the whole graph of the computation that it came from: add up numbers, not tensors "
        "('total += loss.item()', 'losses.append(loss.detach())'), and evaluate under 'torch.no_grad()'."
    )
    if graph:
        return detach
    other = (
        "Look for lists, dicts and caches that are added to in each step (functools.cache, hooks, logs); "
        "'tracemalloc' names the lines that allocate. Inputs of ever new shapes fill caches, too."
    )
    if not process.torch:
        return other
    return other if graph is False else f"{detach} {other}"


def report_of(case: Case, process: ObservedProcess) -> InsideReport | None:
    """Return what the process said of itself; None where it said nothing."""
    return next((i for i in case.program.inside if i.pid == process.pid), None)


def counted(inside: InsideReport | None) -> tuple[str, bool | None]:
    """Return what was counted from inside, and whether the graph of autograd is what grows; None where unknown."""
    pairs = {name: pair for name, pair in (inside.growth if inside else {}).items() if is_pair(pair)}
    grew = {name: (a, b) for name, (a, b) in pairs.items() if b > 1.2 * a + 20}
    ends = [(clean(name.replace("_", " ")), amount(name, a), amount(name, b)) for name, (a, b) in grew.items()]
    words = listed(f"{name} went from {before} to {after}" for name, before, after in ends)
    graph = [name for name in pairs if "graph" in name or "autograd" in name]
    return words if grew else "", any(name in grew for name in graph) if graph else None


def amount(name: str, value: float) -> str:
    """Return a count, or a size where the name says that it is one."""
    return size(value) if name.endswith("bytes") else f"{value:,.0f}"


def is_pair(value: Any) -> bool:
    """Return whether a value is two numbers: at an earlier and at a later moment."""
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value)


def steady(case: Case, seen: Sequence[ObservedProcess], risen: Sequence[tuple[ObservedProcess, Rise]]) -> Check:
    """Return that nothing grew, or that this could not be told."""
    long = [p for p in seen if life(p) >= 1.5 * LEAST_S]
    why = ""
    if not long:
        why = "it was too short to judge" if case.program.processes else "no process was seen"
    for process, found in risen:
        if found.grew_bytes >= DOUBTFUL_BYTES:
            why = (
                f"PID {process.pid} grew by {size(found.grew_bytes)} in {seconds(found.seconds)}, too little to judge: "
                "let it run for longer"
            )
    if why:
        return Check(id="memory-grows", state="unchecked", title="Whether its memory grows", detail=why)
    most = max(long, key=lambda p: max(m.resident_bytes for m in p.memory))
    peak = max(m.resident_bytes for m in most.memory)
    return Check(
        id="memory-grows",
        state="fine",
        title="Its memory does not grow steadily",
        detail=f"at most {size(peak)} resident in PID {most.pid}; looked at from when its libraries were loaded",
    )


def swapping(case: Case) -> Iterator[Answer]:
    """Yield a finding where the program's memory was swapped out, or is read from disk again and again."""
    swapped = sum(max((m.swapped_bytes for m in p.memory), default=0) for p in case.program.processes)
    back = case.program.machine.get("swap.in", 0.0)
    if swapped >= SWAPPED:
        yield Finding(
            id="swapped",
            severity="warning" if back >= SWAP_IN else "note",
            title=f"{size(swapped)} of its memory were swapped out; {disk_size(back)} a second were read back",
            detail="It, or what runs beside it, wants more memory than there is. A smaller batch, fewer workers or "
            "programs at the same time; 'sysctl vm.swappiness=10' keeps programs in memory before file caches.",
            evidence=("program.processes", "program.machine"),
        )
        return
    faults = [(p.major_faults / life(p), p) for p in case.program.processes if life(p) >= LEAST_S and at_limit(p)]
    worst = max(faults, key=lambda pair: pair[0], default=None)
    if worst is not None and worst[0] >= FAULTS:
        yield Finding(
            id="major-faults",
            severity="warning",
            title=f"PID {worst[1].pid} reads pages from disk {worst[0]:.0f} times a second: its control group is at "
            f"its limit of {size(worst[1].cgroup.memory_limit_bytes)}",
            detail="The kernel drops pages of mapped files and libraries to stay within the limit, and has to read "
            "them again. Raise the limit ('docker run --memory', MemoryMax=), or take less memory.",
            evidence=("program.processes",),
        )


def at_limit(process: ObservedProcess) -> bool:
    """Return whether the control group of a process was at its memory limit."""
    group = process.cgroup
    return bool(group.memory_limit_bytes) and (group.memory_peak_bytes or 0) >= 0.95 * (group.memory_limit_bytes or 0)
