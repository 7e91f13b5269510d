"""What is asked about the way to start a process, in the order in which it is decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hwdiag.host.model import Host
from hwdiag.measure.budget import Goal
from hwdiag.measure.campaign import room
from hwdiag.measure.dispatch import dispatch
from hwdiag.measure.instances import instances
from hwdiag.measure.launch import Allocator
from hwdiag.measure.model import Software, Workload
from hwdiag.measure.placement import placement
from hwdiag.measure.runtime import heap, interop, runtime
from hwdiag.measure.search import Question


def questions(
    host: Host,
    software: Software,
    workloads: Sequence[Workload] = (),
    *,
    goal: Goal = "latency",
    threads: Iterable[int] | None = None,
    allocators: Iterable[Allocator] = (),
    vendor_check: Path | None = None,
) -> tuple[Question, ...]:
    """All of them; one without options is not asked.

    Args:
        host: its topology and what of it may be used.
        software: what the target interpreter's torch is made of.
        workloads: what is measured.
        goal: one process as fast as can be, or the most from many at the same time.
        threads: counts to try in place of those from the topology.
        allocators: the malloc replacements that are installed.
        vendor_check: the library that answers MKL's question for the vendor, where it is worth a try.
    """
    if goal == "throughput":
        placed = instances(host, software, most=room(host, workloads))
    else:
        placed = placement(host, software, threads=threads)
    return (
        # Placement first: its thread counts are then seen beside today's default, as the curve shows them.
        placed,
        runtime(host, software),
        interop(software, workloads),
        heap(host, software, allocators),
        dispatch(host, software, vendor_check),
    )
