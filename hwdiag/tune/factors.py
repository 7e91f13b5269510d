"""The factors of the way to start a process: the one that decides most first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hwdiag.core.choices import Goal
from hwdiag.experiment.campaign import processes_that_fit
from hwdiag.experiment.lever import Factor
from hwdiag.experiment.model import Workload
from hwdiag.host.model import Host
from hwdiag.process.launch import Allocator
from hwdiag.process.model import Software
from hwdiag.tune.dispatch import dispatch
from hwdiag.tune.instances import instances
from hwdiag.tune.placement import placement
from hwdiag.tune.runtime import heap, interop, runtime


def factors(
    host: Host,
    software: Software,
    workloads: Sequence[Workload] = (),
    *,
    goal: Goal = "latency",
    threads: Iterable[int] | None = None,
    allocators: Iterable[Allocator] = (),
    vendor_check: Path | None = None,
) -> tuple[Factor, ...]:
    """Return those that have levers on this host, the one that decides most first.

    Args:
        host: its topology and what of it may be used.
        software: what the target interpreter's torch is made of.
        workloads: what is measured.
        goal: one process as fast as can be, or the most from many at the same time.
        threads: the only counts to try; None takes those from the topology.
        allocators: the malloc replacements that are installed.
        vendor_check: the library that answers MKL's question for the vendor, where it is worth a try.
    """
    if goal == "throughput":
        placed = instances(host, software, most=processes_that_fit(host, workloads), threads=threads)
    else:
        placed = placement(host, software, threads=threads)
    found = (
        placed,
        runtime(host, software),
        interop(software, workloads),
        heap(host, software, allocators),
        dispatch(host, software, vendor_check),
    )
    return tuple(factor for factor in found if factor.levers)
