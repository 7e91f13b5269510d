"""Candidates for the CPUs, threads and memory of one process, from the topology of the host at hand."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from hwdiag.experiment.lever import Factor, Lever, Plan
from hwdiag.host.cpulist import format_cpulist
from hwdiag.host.model import Host, NumaNode
from hwdiag.process.launch import Launch, MemoryPolicy
from hwdiag.process.model import Software

PLACEMENT = "placement"
EFFECT = 10.0
"""Standard deviation of what placement does to the logarithm of the speed: one thread may be a tenth as fast as all."""

Core = tuple[int, ...]
"""The CPUs of one physical core that may be used, SMT siblings together."""

FEW_CPUS = 16
"""Up to so many, thread counts are tried in steps of 2; beyond in steps of 4, and then around the best of them."""
NEAR = (1 / 2, 3 / 4, 3 / 2, 2)
"""Where to look around the best thread count."""
OTHER_NODES = 3
"""Further NUMA nodes, at most, that are tried where one was best: they are alike but for what else runs there."""


@dataclass(frozen=True)
class Domain:
    """Cores that share something: a cache, a memory, a package, a kind, or just the machine."""

    name: str
    cores: tuple[Core, ...]
    nodes: tuple[int, ...] = ()
    """NUMA nodes with memory that it lies in; empty on a machine with one."""


def placement(host: Host, software: Software, *, threads: Iterable[int] | None = None, memory: bool = True) -> Factor:
    """Return thread counts, left to the scheduler or bound to cores that belong together, with their memory.

    Args:
        host: its topology and what of it may be used.
        software: what to set for a thread count to hold.
        threads: the only counts to try; None takes those from the topology, and others near the best of them.
        memory: whether memory can be bound here.
    """
    places = Places(host, software, memory=memory)
    if threads is None:
        return Factor(PLACEMENT, distinct(places.levers(thread_counts(host))), refine=places.around, effect=EFFECT)
    counts = sorted(set(threads))
    return Factor(PLACEMENT, only_counts(distinct(places.levers(counts)), counts, software), effect=EFFECT)


def only_counts(levers: Iterable[Lever], counts: Collection[int], software: Software) -> tuple[Lever, ...]:
    """Return the levers under which so many threads run."""
    return tuple(lever for lever in levers if (lever.launch.threads or software.threads) in counts)


def thread_counts(host: Host) -> list[int]:
    """Return thread counts within what this process may use: one per core, fewer in steps of 2 or 4, and with SMT one
    per CPU but one.

    Threads on every last CPU wait for each other as soon as anything else runs, so one is left to it. More threads
    than a CPU quota pays for are only stopped more often, so it bounds them.
    """
    cpus = len(host.usable_cpus) or 1
    cores = len(host.usable_cores) or cpus
    most = most_threads(host)
    step = 2 if cpus <= FEW_CPUS else 4
    fewer = (cores // step**i for i in range(cores.bit_length()))
    return sorted({min(n, most) for n in (*fewer, cores, max(cores, cpus - 1), 1) if n > 0})


def most_threads(host: Host) -> int:
    """Return the largest thread count: one per CPU, or as many as a quota pays for."""
    cpus, quota = len(host.usable_cpus) or 1, host.limits.cpu_quota
    return cpus if quota is None else min(cpus, max(1, math.ceil(quota)))


def domains(host: Host) -> tuple[Domain, ...]:
    """Return the largest domain of each sort, from the smallest sort to the whole: one stands for those that are like
    it."""
    cores = host.usable_cores or tuple((cpu,) for cpu in host.usable_cpus)
    sorts: list[tuple[str, list[Sequence[int]]]] = [
        ("one last-level cache", [c.cpus for c in host.cpu.llc]),
        ("one NUMA node", [n.cpus for n in usable_nodes(host)]),
        ("one socket", [[c.id for c in host.cpu.logical if c.socket == s] for s in range(host.cpu.sockets or 0)]),
    ]
    found = [*kind_domains(host), *(largest(name, groups, cores, host) for name, groups in sorts)]
    whole = Domain("all cores", tuple(cores), nodes_of(cores, host))
    parts = [d for d in found if d is not None and 0 < len(d.cores) < len(cores)]
    unique: dict[tuple[Core, ...], Domain] = {}
    for domain in parts:
        unique.setdefault(domain.cores, domain)
    return (*sorted(unique.values(), key=lambda d: len(d.cores)), whole)


def kind_domains(host: Host) -> tuple[Domain, ...]:
    """Return the usable cores of each kind; none on a machine whose cores are all alike."""
    found = [largest(kind.name, [kind.cpus], host.usable_cores, host) for kind in host.cpu.kinds]
    there = tuple(d for d in found if d is not None)
    return there if len(there) > 1 else ()


def largest(name: str, groups: Iterable[Sequence[int]], cores: Sequence[Core], host: Host) -> Domain | None:
    """Return the group with the most usable cores."""
    within = [tuple(core for core in cores if set(core) <= set(group)) for group in groups]
    best = max(within, key=len, default=())
    return Domain(name, best, nodes_of(best, host)) if best else None


def usable_nodes(host: Host) -> tuple[NumaNode, ...]:
    """Return the nodes that have memory this process may use, with those of their CPUs that it may use."""
    usable, mems = set(host.usable_cpus), host.limits.mems
    return tuple(
        node.model_copy(update={"cpus": tuple(c for c in node.cpus if c in usable)})
        for node in host.numa
        if node.memory_bytes != 0 and (mems is None or node.id in mems)
    )


def nodes_of(cores: Iterable[Core], host: Host) -> tuple[int, ...]:
    """Return the nodes with memory that these cores lie in; none where there is only one to choose from."""
    nodes = usable_nodes(host)
    cpus = {cpu for core in cores for cpu in core}
    return tuple(n.id for n in nodes if cpus & set(n.cpus)) if len(nodes) > 1 else ()


def with_threads(name: str, n: int, software: Software, *, factor: str = PLACEMENT, **more: object) -> Lever:
    """Return a lever of ``n`` intra-op threads. MKL's own variable wins over OMP_NUM_THREADS, so it is set where MKL
    is."""
    env = {"MKL_NUM_THREADS": str(n)} if software.mkl else {}
    launch = Launch.model_validate({"threads": n, "env": env, **more})
    return Lever(id=name.replace(" ", ""), factor=factor, title=name, launch=launch)


class Places:
    """Levers on one host: what a thread count may look like there."""

    def __init__(self, host: Host, software: Software, *, memory: bool) -> None:
        self.host, self.software, self.memory = host, software, memory
        self.domains = domains(host)

    def levers(self, counts: Sequence[int]) -> Iterator[Lever]:
        """Free counts, counts bound to cores, whole domains, and memory spread over all nodes."""
        most = min(max(counts), len(self.domains[-1].cores))
        for n in counts:
            if n != self.software.threads:
                yield self.free(n)
        for n in counts:
            if 1 < n <= most:
                yield from self.bound(n)
        for domain in self.domains:
            if 1 < len(domain.cores) <= most:
                yield from self.bound_in(domain, len(domain.cores))
        yield from self.siblings(min(max(counts) + 1, most_threads(self.host)))
        yield from self.interleaved(counts)

    def free(self, n: int) -> Lever:
        """Return a lever of so many threads, wherever the scheduler puts them."""
        return with_threads(f"threads={n}", n, self.software)

    def bound(self, n: int) -> Iterator[Lever]:
        """Yield levers with one thread on each of ``n`` cores of the smallest domain that has so many."""
        yield from self.bound_in(next(d for d in self.domains if len(d.cores) >= n), n)

    def bound_in(self, domain: Domain, n: int) -> Iterator[Lever]:
        """Yield levers with one thread on each of the first ``n`` cores of a domain, and its memory if it is one
        node's.

        None where that is every CPU that it may use, and as many threads as today: nothing would change.
        """
        cpus = tuple(sorted(core[0] for core in domain.cores[:n]))
        if cpus != self.host.usable_cpus or n != self.software.threads:
            yield with_threads(f"cpus={format_cpulist(cpus)}", n, self.software, cpus=cpus, memory=self._near(domain))

    def siblings(self, most: int) -> Iterator[Lever]:
        """Yield levers that use SMT siblings too, on all cores of the machine and of the largest part of it."""
        shared = [d for d in self.domains if any(len(core) > 1 for core in d.cores)]
        for domain in shared[-2:]:
            cpus = tuple(sorted(cpu for core in domain.cores for cpu in core))
            if len(cpus) <= most:
                name = f"cpus={format_cpulist(cpus)}"
                yield with_threads(name, len(cpus), self.software, cpus=cpus, memory=self._near(domain))

    def interleaved(self, counts: Sequence[int]) -> Iterator[Lever]:
        """Yield levers with memory in turn from all nodes, for what is bound by their bandwidth, with threads as today
        or one a core."""
        if self._all_nodes is None:
            return
        yield Lever(id="interleave", factor=PLACEMENT, title="interleave", launch=Launch(memory=self._all_nodes))
        n = len(self.domains[-1].cores)
        if n in counts:
            yield from self.bound_interleaved(n)

    def bound_interleaved(self, n: int) -> Iterator[Lever]:
        """Yield levers with one thread on each of the first ``n`` cores, and memory in turn from all nodes."""
        cpus = tuple(sorted(core[0] for core in self.domains[-1].cores[:n]))
        name = f"cpus={format_cpulist(cpus)}, interleave"
        yield with_threads(name, n, self.software, cpus=cpus, memory=self._all_nodes)

    def around(self, plan: Plan) -> list[Lever]:
        """Return levers near the best one: other thread counts, one core left free, and other memory and nodes where it
        is bound to one.

        Where anything else runs, threads on all cores wait for the one that is interrupted.
        """
        best = plan.launch
        n, cores = best.threads or self.software.threads or 1, len(self.domains[-1].cores)
        one_less = (cores - 1,) if 2 * n >= cores else ()
        near = sorted({round(n * factor) for factor in NEAR}.union(one_less) - {n, self.software.threads})
        if best.cpus is None:
            prefix = "interleave, " if best.memory else ""
            most = most_threads(self.host)
            free = [
                with_threads(f"{prefix}threads={m}", m, self.software, memory=best.memory)
                for m in near
                if 0 < m <= most
            ]
            bound = self.bound_interleaved if best.memory else self.bound
            return [*free, *self._all_but_one(best), *(bound(n) if 1 < n <= cores else ())]
        is_interleaved = best.memory is not None and best.memory.mode == "interleave"
        bound = self.bound_interleaved if is_interleaved else self.bound
        found = [lever for m in near if 1 < m <= cores for lever in bound(m)]
        if self._all_nodes is not None and not is_interleaved and n < cores:
            found += self.bound_interleaved(n)
        return [*found, *self._all_but_one(best), *self._elsewhere(best)]

    def _all_but_one(self, best: Launch) -> Iterator[Lever]:
        """Yield levers that use SMT siblings too, on the cores of the binding or on all, but leave one CPU for what
        else runs. Memory is from their node and, on all cores, from all nodes."""
        whole = self.domains[-1].cores
        cores = [core for core in whole if best.cpus is None or set(core) & set(best.cpus)]
        cpus = tuple(sorted([cpu for core in cores for cpu in core][:-1]))
        if len(cpus) <= len(cores) or len(cpus) > most_threads(self.host):
            return
        for memory in dict.fromkeys((best.memory, self._all_nodes if len(cores) == len(whole) else best.memory)):
            suffix = ", interleave" if memory is not None and memory.mode == "interleave" else ""
            name = f"cpus={format_cpulist(cpus)}{suffix}"
            yield with_threads(name, len(cpus), self.software, cpus=cpus, memory=memory)

    @cached_property
    def _all_nodes(self) -> MemoryPolicy | None:
        """Return the policy of memory in turn from all nodes; None where there is but one, or none may be chosen."""
        nodes = self.domains[-1].nodes
        return MemoryPolicy(mode="interleave", nodes=nodes) if self.memory and len(nodes) > 1 else None

    def _elsewhere(self, best: Launch) -> Iterator[Lever]:
        """Yield the same placement on the cores of other nodes."""
        if best.memory is None or best.memory.mode != "preferred" or best.threads is None:
            return
        cores = self.domains[-1].cores
        others = [n for n in usable_nodes(self.host) if n.cpus and n.id not in best.memory.nodes]
        for node in others[:OTHER_NODES]:
            there = tuple(core for core in cores if set(core) <= set(node.cpus))
            if len(there) >= best.threads == len(best.cpus or ()):
                yield from self.bound_in(Domain("another NUMA node", there, (node.id,)), best.threads)

    def _near(self, domain: Domain) -> MemoryPolicy | None:
        """Return the policy that prefers the node's own memory. It is not strict, since a full node would kill the
        process."""
        if len(domain.nodes) != 1 or not self.memory:
            return None
        return MemoryPolicy(mode="preferred", nodes=domain.nodes)


def distinct(levers: Iterable[Lever]) -> tuple[Lever, ...]:
    """Return each lever once."""
    found: dict[str, Lever] = {}
    for lever in levers:
        found.setdefault(lever.id, lever)
    return tuple(found.values())
