"""Candidates for the highest throughput of several instances: their number, threads and binding, from the topology."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from hwdiag.experiment.lever import Factor, Lever
from hwdiag.host.model import Host
from hwdiag.process.launch import InstancePlacement, MemoryPolicy, places_text
from hwdiag.process.model import Software
from hwdiag.tune.placement import EFFECT, Core, distinct, nodes_of, only_counts, usable_nodes, with_threads

INSTANCES = "instances"

Group = tuple[Core, ...]
"""The cores of one instance."""


def instances(
    host: Host, software: Software, *, most: int, threads: Iterable[int] | None = None, memory: bool = True
) -> Factor:
    """Return one instance per socket, NUMA node, last-level cache, core, SMT sibling, and core groups of sizes in
    between.

    Args:
        host: its topology and what of it may be used.
        software: what to set for a thread count to hold.
        most: instances at most, for want of memory.
        threads: the only thread counts of an instance to try; None tries all.
        memory: whether memory can be bound here.
    """
    levers = distinct(
        lever
        for groups in divisions(host)
        if (lever := as_lever(within_quota(groups, host), host, software, memory))
        and len(lever.launch.instances) <= most
    )
    able = levers if threads is None else only_counts(levers, [*threads], software)
    return Factor(INSTANCES, able, effect=EFFECT)


def divisions(host: Host) -> Iterator[tuple[Group, ...]]:
    """Yield divisions of the usable cores into groups of about one size. Their number grows like the logarithm of the
    cores."""
    cores = host.usable_cores or tuple((cpu,) for cpu in host.usable_cpus)
    sockets = [[c.id for c in host.cpu.logical if c.socket == s] for s in range(host.cpu.sockets or 0)]
    nodes = [n.cpus for n in usable_nodes(host)]
    caches = [c.cpus for c in host.cpu.llc]
    shared = [parts for parts in (split(cores, by) for by in (sockets, nodes, caches)) if parts]
    for parts in shared:
        yield alike(parts)
    # Groups in between never reach over the border of the smallest part.
    parts = max([(tuple(cores),), *shared], key=len)
    for i in range(max(map(len, parts)).bit_length()):
        size = 2**i
        yield tuple(part[j : j + size] for part in parts for j in range(0, len(part) - size + 1, size))
    if any(len(core) > 1 for core in cores):
        yield tuple(((cpu,),) for cpu in sorted(cpu for core in cores for cpu in core))


def split(cores: Sequence[Core], by: Iterable[Sequence[int]]) -> tuple[Group, ...]:
    """Return the cores grouped by what they share. Cores that share nothing are left out."""
    parts = (tuple(core for core in cores if set(core) <= set(cpus)) for cpus in by)
    return tuple(part for part in parts if part)


def alike(parts: Sequence[Group]) -> tuple[Group, ...]:
    """Return groups of equal size: those less than half the largest are left idle, the others cut to the smallest of
    them."""
    largest = max(map(len, parts))
    kept = [part for part in parts if 2 * len(part) >= largest]
    size = min(map(len, kept))
    return tuple(part[:size] for part in kept)


def within_quota(groups: tuple[Group, ...], host: Host) -> tuple[Group, ...]:
    """Return no more groups than a CPU quota pays for, nor more cores in each."""
    quota = host.limits.cpu_quota
    if quota is None or not groups:
        return groups
    paid = max(1, math.ceil(quota))
    return tuple(group[:paid] for group in groups[: max(1, paid // len(groups[0]))])


def as_lever(groups: Sequence[Group], host: Host, software: Software, memory: bool) -> Lever | None:
    """Return a lever with one thread on each core of each group; None for a single instance, where there is nothing to
    divide."""
    if len(groups) < 2:
        return None
    threads = len(groups[0])
    places = tuple(place(group, host, memory) for group in groups)
    name = f"{len(groups)} instances on CPUs {places_text(places)}"
    return with_threads(name, threads, software, factor=INSTANCES, instances=places)


def place(group: Group, host: Host, memory: bool) -> InstancePlacement:
    """Return the placement on the first CPU of each core, with memory from the group's own node first where there are
    several."""
    nodes = nodes_of(group, host) if memory else ()
    near = MemoryPolicy(mode="preferred", nodes=nodes) if len(nodes) == 1 else None
    return InstancePlacement(cpus=tuple(sorted(core[0] for core in group)), memory=near)
