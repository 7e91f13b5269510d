"""The factors of the way to start a process: the one that decides most first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hwdiag.core.choices import Goal
from hwdiag.experiment.campaign import processes_that_fit
from hwdiag.experiment.lever import Factor
from hwdiag.experiment.model import Workload
from hwdiag.experiment.net_facts import KNOWN, NetFacts, facts_of
from hwdiag.host.model import Host
from hwdiag.process.launch import Allocator
from hwdiag.process.model import Software
from hwdiag.tune.dispatch import dispatch
from hwdiag.tune.instances import instances
from hwdiag.tune.placement import placement
from hwdiag.tune.runtime import heap, interop, runtime
from hwdiag.tune.within import of_command, within


def factors(
    host: Host,
    software: Software,
    workloads: Sequence[Workload] = (),
    *,
    goal: Goal = "latency",
    threads: Iterable[int] | None = None,
    allocators: Iterable[Allocator] = (),
    vendor_check: Path | None = None,
    facts: NetFacts | None = None,
    folder: Path | None = None,
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
        facts: what is known of a net of the person's own; None takes what is known of the catalogue's.
        folder: of the ``sitecustomize`` that switches torch in a command.
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
        *within_process(host, software, workloads, facts, folder),
    )
    return tuple(factor for factor in found if factor.levers)


def within_process(
    host: Host,
    software: Software,
    workloads: Sequence[Workload],
    facts: NetFacts | None,
    folder: Path | None,
) -> tuple[Factor, ...]:
    """Return what may be changed within the process: of nets all, of a command what its start can switch."""
    if any(w.kind == "command" for w in workloads):
        return of_command(host, software, folder)
    if facts is None and not any(w.kind in KNOWN for w in workloads):
        return ()
    return within(host, software, facts or facts_of(workloads))
