"""Causes why a workload runs far below its ceiling, by evidence, or that it is not known and what would tell.

The evidence is one look into an iteration (``experiment.operation_times``): the time of each operation beside what this
machine's measured ceilings allow it, page faults, the CPUs that worked, and how many kernels there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hwdiag.core.text import listed
from hwdiag.experiment.model import Workload
from hwdiag.experiment.operation_times import OperationCost, OperationTimes
from hwdiag.record.tuning import Tuning
from hwdiag.report.format import count, percent, plural, seconds, size
from hwdiag.report.roof import Roof, default_estimates, roof_of

FAR = 0.6
"""Share of the ceiling below which a cause is asked for."""
FAULTING, IN_KERNEL = 1 << 20, 0.1
"""Bytes of fresh pages in an iteration, and share of the CPU time in the kernel, from which faults are a cause."""
IDLE = 0.7
"""Share of its threads that work, below which they are few."""
SHORT_S, MANY = 30e-6, 0.3
"""Mean length of a call that is called short, and share of the time in such calls that is much."""
BETWEEN = 0.25
"""Share of the time between operations that is much."""
MOVES, NEAR = 0.4, 0.6
"""Share of the time in operations whose roof is the memory's that is much, and of that roof that is near it."""
CACHED = 1.3
"""Of that roof, from which on the data surely come from a cache."""
SLOW, LONG = 0.5, 0.25
"""Share of its own roof below which an operation is slow, and of the time from which that matters."""
UNKNOWN = "not known"


@dataclass(frozen=True)
class Cause:
    """One cause of a low speed."""

    what: str
    evidence: str
    share: float
    """Of the time that it explains, roughly: the largest comes first."""


@dataclass(frozen=True)
class Below:
    """One workload far below its ceiling, with what is known of why."""

    workload: Workload
    device: str
    share: float
    """Of its ceiling, 0..1."""
    causes: tuple[Cause, ...]
    why_unknown: str = ""
    command: str = ""
    """What would tell more, or help."""


def far_below(study: Tuning) -> list[tuple[Workload, float, str]]:
    """Return the workloads below ``FAR`` of their ceiling as they run today, with that share, the farthest first."""
    found = []
    for workload, estimate in default_estimates(study):
        share = roof_of(study, estimate.device).share(workload, estimate.seconds.median)
        if share is not None and share < FAR:
            found.append((workload, share, estimate.device))
    return sorted(found, key=lambda item: item[1])


def below_ceiling(study: Tuning) -> list[Below]:
    """Return what is far below its ceiling, the farthest first, with its causes."""
    looks = {x.workload: x for x in study.looks}
    return [
        judged(workload, share, device, looks.get(workload.name) if device == "cpu" else None, roof_of(study, device))
        for workload, share, device in far_below(study)
    ]


def judged(workload: Workload, share: float, device: str, look: OperationTimes | None, roof: Roof) -> Below:
    """Return the causes of one workload's low speed, as far as a look at it tells them."""
    if look is None:
        why = "there was no time to look into it" if device == "cpu" else "a GPU is not looked into here"
        command = "make diagnose BUDGET=thorough" if device == "cpu" else f"hwdiag devices --net {workload.kind}"
        return Below(workload, device, share, (), why, command)
    if not look.outcome.ok:
        why = f"the look into it failed ({look.outcome.detail})"
        return Below(workload, device, share, (), why, "hwdiag compat")
    causes = tuple(sorted((c for rule in RULES for c in rule(look, roof)), key=lambda c: -c.share))
    why = "" if causes else "no operation stands out"
    return Below(workload, device, share, causes, why, "hwdiag profile -- python your_program.py")


def page_faults(look: OperationTimes, _roof: Roof) -> Iterator[Cause]:
    """Yield page faults: memory that each iteration gets afresh from the kernel, page by page."""
    fresh = look.faults * look.page_bytes
    if fresh >= FAULTING and look.system_share >= IN_KERNEL:
        yield Cause(
            "page faults: its results lie in memory that the kernel hands out again each time",
            f"{look.faults:,.0f} page faults an iteration ({size(fresh)}), {percent(look.system_share)} of its CPU "
            "time in the kernel",
            look.system_share,
        )


def few_threads(look: OperationTimes, _roof: Roof) -> Iterator[Cause]:
    """Yield that fewer CPUs work than it has threads."""
    if look.threads > 1 and look.cpus < IDLE * look.threads:
        yield Cause(
            "few threads work: parts of it run on one CPU alone, or other programs have the CPUs",
            f"{look.cpus:.1f} CPUs work for {plural(look.threads, 'thread')}",
            1 - look.cpus / look.threads,
        )


def small_kernels(look: OperationTimes, _roof: Roof) -> Iterator[Cause]:
    """Yield that much of the time goes into short calls, or between the calls."""
    calls = [o for o in look.operations if o.calls and o.seconds / o.calls < SHORT_S]
    short = sum(o.seconds for o in calls)
    between = max(0.0, look.seconds - sum(o.seconds for o in look.operations))
    total = sum(o.calls for o in look.operations)
    if not total or not look.seconds:
        return
    lost = (short + between) / look.seconds
    if short > MANY * look.seconds or between > BETWEEN * look.seconds:
        yield Cause(
            "small kernels: starting them costs more than what they compute",
            f"{total:,.0f} operations an iteration, {percent(min(1.0, lost))} of its {seconds(look.seconds)} between "
            f"them or in calls of less than {seconds(SHORT_S)}",
            min(1.0, lost),
        )


def memory_bound(look: OperationTimes, roof: Roof) -> Iterator[Cause]:
    """Yield that operations wait for memory, which move data near the rate that this machine reached."""
    if roof.memory is None or not look.seconds:
        return
    rate = roof.memory.value
    near = [o for o in look.operations if NEAR <= o.bytes / rate / (o.seconds or 1.0) <= CACHED]
    bound = [o for o in near if limit(o, roof) == "memory"]
    took = sum(o.seconds for o in bound)
    if took >= MOVES * look.seconds:
        moved = sum(o.bytes for o in bound)
        yield Cause(
            f"memory-bound: {names(bound)} wait for memory",
            f"{percent(took / look.seconds)} of the time at {count(moved / took)}B/s, of {count(rate)}B/s that memory "
            "gives",
            took / look.seconds,
        )


def slow_path(look: OperationTimes, roof: Roof) -> Iterator[Cause]:
    """Yield operations that take long and reach little of what the ceilings allow each of them."""
    for o in look.operations:
        least = least_s(o, roof)
        if least is None or not look.seconds or o.seconds < LONG * look.seconds:
            continue
        if least < SLOW * o.seconds and o.calls and o.seconds / o.calls >= SHORT_S:
            took = o.seconds / look.seconds
            rate = f"{count(o.flops / o.seconds)}FLOP/s" if o.flops else f"{count(o.bytes / o.seconds)}B/s"
            yield Cause(
                f"a slow library path: {o.name} takes a kernel that does not suit its shape or this CPU",
                f"{percent(took)} of the time in {plural(round(o.calls), 'call')} of {o.name} at {rate}, "
                f"{percent(least / o.seconds)} of what this machine's ceilings allow it",
                took * (1 - least / o.seconds),
            )


RULES: tuple[Callable[[OperationTimes, Roof], Iterator[Cause]], ...] = (
    page_faults,
    few_threads,
    small_kernels,
    memory_bound,
    slow_path,
)


def limit(o: OperationCost, roof: Roof) -> str:
    """Return which ceiling limits an operation, ``compute`` or ``memory``; empty where that is not known."""
    compute = roof.compute.get(o.dtype)
    by_memory = o.bytes / roof.memory.value if roof.memory and o.bytes else 0.0
    by_compute = o.flops / compute.value if compute and o.flops else 0.0
    if o.flops and compute is None:
        return ""
    return "" if not (by_memory or by_compute) else "memory" if by_memory >= by_compute else "compute"


def least_s(o: OperationCost, roof: Roof) -> float | None:
    """Return the least seconds that the ceilings allow an operation; None where they are not known."""
    by = limit(o, roof)
    if by == "memory" and roof.memory is not None:
        return o.bytes / roof.memory.value
    return o.flops / roof.compute[o.dtype].value if by == "compute" else None


def names(operations: list[OperationCost], most: int = 3) -> str:
    """Return the names of the longest of these."""
    return listed(o.name for o in sorted(operations, key=lambda o: -o.seconds)[:most])
