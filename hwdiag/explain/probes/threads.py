"""Probe of the program's threads: whether they are as many as it may use CPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from hwdiag.core.finding import Finding
from hwdiag.core.text import listed, plural
from hwdiag.explain.cpu_use import CROWDED, WAITED, CpuUse, busy_threads, cpu_use, crowd_on_a_mask, life, wanted_by
from hwdiag.explain.model import Answer, Case
from hwdiag.process.observation.model import ObservedProcess, ObservedThread
from hwdiag.report.format import percent

BELOW = 0.75
"""Share of its CPUs that its threads want, below which more threads could."""
COMPUTES = 0.5
"""CPUs that each of its threads wants, from which on it computes most of the time."""
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT")
"""Variables that bound how many threads torch starts."""
BLAS_COUNTS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS", "OMP_THREAD_LIMIT")
"""Variables that bound how many threads NumPy's OpenBLAS starts."""
OPENBLAS = re.compile(r"lib(scipy_)?openblas[-.\w]*\.so")


def look(case: Case) -> Iterator[Answer]:
    """Yield whether its threads are too many or too few for its CPUs."""
    use = cpu_use(case)
    if use.working and not use.is_short:
        yield from too_many(use)
        yield from too_few(case, use)


def too_many(use: CpuUse) -> Iterator[Answer]:
    """Yield a finding where the program's own threads want more CPUs than it may have."""
    share = use.wait_share
    by_quota = use.quota is not None and use.quota < len(use.allowed)
    if share is None or share < WAITED or by_quota or crowd_on_a_mask(use) is not None:  # the probe ``cpus`` tells
        return
    main = [p for p in use.at_once if not p.worker]
    threads = {p.pid: busy_threads(p) for p in use.at_once}
    mine = use.used / (use.used + use.others) if use.used else 1.0  # what waits for other programs wants no more CPUs
    computing = sum(wanted_by(p, t, mine) for p in main for t in threads[p.pid])
    everything = sum(wanted_by(p, t, mine) for p in use.at_once for t in threads[p.pid])
    capacity = use.capacity
    cpus = f"{capacity:g} CPU{'' if capacity == 1 else 's'}"
    if computing >= CROWDED * capacity:
        count = sum(len(threads[p.pid]) for p in main)
        several = [p for p in main if threads[p.pid]]
        each = max(1, int(capacity) // max(1, len(several)))
        yield Finding(
            id="too-many-threads",
            severity="warning",
            title=f"{plural(count, 'busy thread')} in {plural(len(several), 'process', 'processes')} share {cpus}: "
            f"they waited for a CPU {percent(share)} of the time in which they could run",
            detail=f"{spread(several, threads)} Threads of OpenMP wait for the slowest of them, so that too many are "
            f"slower than few. Give each process its part: 'export OMP_NUM_THREADS={each}' before the start, or "
            f"'torch.set_num_threads({each})' in it.",
            evidence=("program.processes",),
        )
    elif everything >= CROWDED * capacity and (workers := len(use.at_once) - len(main)) > capacity:
        yield Finding(
            id="too-many-workers",
            severity="note",
            title=f"{plural(workers, 'DataLoader worker')} and the training want {everything:.1f} CPUs, and may use "
            f"{cpus}: they waited for one {percent(share)} of the time in which they could run",
            detail=f"Fewer workers (num_workers={max(1, int(capacity) - 1)}) or cheaper samples leave the training "
            "more; 'hwdiag dataloader' measures how many are best.",
            evidence=("program.processes",),
        )


def spread(several: Sequence[ObservedProcess], threads: Mapping[int, Sequence[ObservedThread]]) -> str:
    """Return how many busy threads each process has, in a sentence."""
    told = [f"PID {p.pid} has {plural(len(threads[p.pid]), 'busy thread')}" for p in several[:4]]
    more = f", and {len(several) - 4} more processes like them" if len(several) > 4 else ""
    return f"{listed(told)}{more}."


def too_few(case: Case, use: CpuUse) -> Iterator[Answer]:
    """Yield a finding where torch computes with fewer threads than it may, and leaves CPUs idle."""
    if use.capacity < 2 or use.wanted > BELOW * use.capacity:
        return
    for process in case.computing:
        if not process.torch and not any(OPENBLAS.match(PurePath(path).name) for path in process.libraries):
            continue  # nothing of it is known to compute in threads
        threads, why, remedy = few_threads(case, process, int(use.capacity))
        who = "torch computes" if process.torch else "NumPy's OpenBLAS may compute"
        wanted = sum(wanted_by(process, thread) for thread in busy_threads(process))
        if threads is None or threads > use.capacity / 2 or wanted < COMPUTES * threads:
            continue
        yield Finding(
            id="too-few-threads",
            severity="warning" if process.torch else "note",
            title=f"{who} with {plural(threads, 'thread')} and may use {use.capacity:g} CPUs: {why}",
            detail=f"PID {process.pid} kept {process.cpu_s / life(process):.1f} CPUs busy, and {use.used:.1f} of "
            f"{use.capacity:g} were used by all of the program. {remedy} Whether more threads are faster, "
            "'hwdiag tune' measures; small operations gain nothing.",
            evidence=("program.processes",),
        )
        return


def few_threads(case: Case, process: ObservedProcess, cpus: int) -> tuple[int | None, str, str]:
    """Return how many threads torch computes with in a process, why, and how to have more; None where unknown."""
    env = process.environment
    names = COUNTS if process.torch else BLAS_COUNTS
    told = {name: int(env[name].split(",")[0]) for name in names if env.get(name, "").split(",")[0].strip().isdigit()}
    least = min(told, key=lambda name: told[name], default=None)
    inside = next((i.facts.get("threads") for i in case.program.inside if i.pid == process.pid), None)
    threads = inside if isinstance(inside, int) else told[least] if least else None
    if least is not None and threads is not None and threads >= told[least]:
        bounded = ", as far as OMP_THREAD_LIMIT lets it" if least == "OMP_THREAD_LIMIT" else ""
        return (
            threads,
            f"{least}={told[least]} was inherited",
            f"Remove it ('env -u {least} ...') or set it to {cpus}"
            + (f"; 'torch.set_num_threads({cpus})' does so from inside{bounded}." if process.torch else "."),
        )
    return (
        threads,
        "the program set that (torch.set_num_threads, or a library such as threadpoolctl or OpenCV)",
        f"Look for set_num_threads and threadpool_limits in it; 'torch.set_num_threads({cpus})' after that.",
    )
