"""A host that is not there: how fast a process would be on it under any Launch.

The times follow Amdahl's law (1967) for what is serial, Gunther's universal scalability law ("Guerrilla Capacity
Planning", 2007) for what threads cost each other, a memory node's bandwidth that a few threads use up, dearer memory
of other nodes, SMT siblings that share a core, and cliffs where there are more threads than CPUs that are free.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from hwdiag.core.choices import Accuracy
from hwdiag.experiment.lever import Factor, Lever, within
from hwdiag.experiment.net_facts import NetFacts
from hwdiag.host.model import Host, LogicalCpu
from hwdiag.process.launch import Allocator, Launch
from hwdiag.process.model import Software
from hwdiag.tune.factors import factors
from hwdiag.tune.placement import PLACEMENT, Domain, domains, most_threads
from hwdiag.tune.runtime import BOUND
from hwdiag.tune.within import LAYOUT, PRECISION

AS_IT_IS = Launch()
NET = NetFacts(is_net=True, convolutions=True, attention=True, linear_layers=True)
ALLOCATORS = tuple(Allocator(name=name, path=f"/usr/lib/lib{name}.so") for name in ("jemalloc", "tcmalloc"))


@dataclass(frozen=True)
class Place:
    """Where the threads run, and which nodes their memory is on."""

    per_core: tuple[int, ...]
    """Threads on each usable core."""
    memory: tuple[int, ...]
    """Nodes that hold it, in equal parts."""
    pinned: bool


@dataclass(frozen=True)
class VirtualHost:
    """A host, and what decides how fast things are on it. Times are in units of its work by one fast core."""

    host: Host
    software: Software
    slow: float
    """Speed of its second kind of cores, of that of the first."""
    smt_yield: float
    """What both siblings of a core do together, of what one does alone."""
    serial: float
    bandwidth_work: float
    """Time that one thread would wait for memory."""
    node_threads: float
    """Threads that use up the bandwidth of one node."""
    remote: float
    """Speed of another node's memory, of that of its own."""
    sync: float
    """Time to start and end all parallel regions, per doubling of the threads."""
    hop: float
    """How much dearer that is over the border of a last-level cache or a socket."""
    coherence: float
    """Time that each pair of threads costs."""
    crowd: float
    """Loss where no CPU is left for anything else."""
    migration: float
    """Loss of threads that are not pinned."""
    heap_share: float
    """Of the default's time, what the kernel takes to give out fresh memory."""
    effects: Mapping[str, float]
    """By setting: on what it changes, as a factor."""
    inside: Mapping[frozenset[str], float] = field(default_factory=dict)
    """By levers within the process, one or two that meet: what they add to the logarithm of the speed."""

    @cached_property
    def factors(self) -> tuple[Factor, ...]:
        """The ones that the workbook has, in its order."""
        vendor_check = Path("/x/libhwdiag-mkl.so")
        return factors(self.host, self.software, allocators=ALLOCATORS, vendor_check=vendor_check, facts=NET)

    def seconds(self, launch: Launch, techniques: Sequence[str] = ()) -> float:
        """Time of one iteration, without noise."""
        used = {*techniques, *(f"{k}={v}" for k, v in launch.env.items())}
        gain = sum(more for levers, more in self.inside.items() if levers <= used)
        return self._seconds(launch) / float(np.exp(gain))

    def best_inside(self, accuracy: Accuracy) -> float:
        """Return the most that levers within the process add up to, of results of this accuracy, without compiling."""
        able = [[x for x in factor.levers if within(x.accuracy, accuracy)] for factor in self.factors if inside(factor)]
        whole = (
            {name for x in chosen if x is not None for name in (*x.techniques, x.id)}
            for chosen in itertools.product(*([None, *levers] for levers in able))
        )
        return max(sum(more for levers, more in self.inside.items() if levers <= used) for used in whole)

    def _seconds(self, launch: Launch) -> float:
        """Return the time of one iteration of the net as it is."""
        close = launch.cpus is None and launch.env.items() >= BOUND.items()
        n = launch.threads or self.software.threads or 1
        place = self.spread(n) if launch.cpus is None and not close else self.on(launch.cpus or self._first(n), launch)
        if launch.cpus is None and launch.memory is not None:
            place = Place(place.per_core, launch.memory.nodes, place.pinned)
        return self.time(place, *self.speeds(launch))

    def speeds(self, launch: Launch) -> tuple[float, float, float]:
        """What its settings do to the kernels' speed, to waiting, and to the heap."""

        def of(settings: Sequence[str]) -> float:
            return float(np.prod([self.effects.get(s, 1.0) for s in settings]))

        settings = [f"{k}={v}" for k, v in launch.env.items()]
        allocator: list[str] = [launch.allocator.name] if launch.allocator else []
        waiting = [s for s in settings if s.startswith(("OMP_WAIT", "KMP_"))]
        kernels = [s for s in settings if s.startswith("ATEN")] + list(launch.preload)
        memory = [s for s in settings if s.startswith(("GLIBC", "THP"))]
        return of(kernels), of(waiting), of(memory + allocator)

    def time(self, place: Place, kernels: float = 1, waiting: float = 1, fresh: float = 1) -> float:
        """Time of one iteration. Without any settings the heap takes ``heap_share`` of the default's time."""
        work = self._work(np.array([self._terms(place)]), kernels, waiting)
        return float(work[0]) + fresh * self.heap_share * self._default_work

    @cached_property
    def _default_work(self) -> float:
        return float(self._work(np.array([self._terms(self.spread(self.software.threads or 1))]), 1, 1)[0])

    def _terms(self, place: Place) -> tuple[float, ...]:
        """Times that depend on the place: to compute, for memory, for a parallel region; then factors on all of it."""
        used = np.flatnonzero(place.per_core)
        threads = np.array(place.per_core)[used]
        n = int(threads.sum())
        # Each thread has an equal part, so the slowest decides.
        paces = self._speed[used] * np.where(threads > 1, self.smt_yield, 1.0) / threads
        compute = self.serial / paces.max() + (1 - self.serial) / (n * paces.min())
        borders = len(set(self._cache[used])) - 1 + 2 * (len(set(self._socket[used])) - 1)
        sync = self.sync * np.log2(n) * (1 + self.hop * np.log2(1 + borders))
        quota = self.host.limits.cpu_quota
        factor = (1 if place.pinned else 1 + self.migration) * max(1.0, n / (quota or n)) ** 1.5
        crowd = self.crowd if n >= len(self.host.usable_cpus) else 0.0
        memory = self._memory(place.memory, np.bincount(self._node[used], weights=threads, minlength=self._nodes))
        return compute, memory, sync, self.coherence * n * n, crowd, factor

    def _memory(self, nodes: Sequence[int], threads: np.ndarray) -> float:
        """Time for memory of these nodes, with so many threads on each: the node's or the slowest thread's."""
        n = threads.sum()
        local = threads[list(nodes)].sum() / n / len(nodes)
        worst = 1 / len(nodes) if set(np.flatnonzero(threads)) <= set(nodes) else 0.0
        by_node = self.bandwidth_work / (self.node_threads * len(nodes)) * self._distance(local)
        by_thread = self.bandwidth_work / n * self._distance(worst)
        return float((by_node**4 + by_thread**4) ** 0.25)

    def _distance(self, local: float) -> float:
        """How much dearer memory is of which so much is the own node's."""
        return local + (1 - local) / self.remote

    def _work(self, terms: np.ndarray, kernels: float, waiting: float) -> np.ndarray:
        compute, memory, sync, coherence, crowd, factor = terms.T
        work = ((compute / kernels) ** 3 + memory**3) ** (1 / 3) + waiting * sync + coherence
        # Who spins while it waits takes the CPU from who works.
        return np.asarray(work * (1 + crowd / min(1.0, waiting)) * factor)

    def spread(self, n: int) -> Place:
        """Where the scheduler puts them: on idle cores, the fast ones first, in turn over the nodes."""
        return Place(self._threads(self._spread_order, n), (0,), False)

    def on(self, cpus: Sequence[int], launch: Launch = AS_IT_IS) -> Place:
        """Bound to these CPUs; memory from where the first thread runs, if nothing else is said."""
        cores = [self._core_of[cpu] for cpu in cpus]
        counts = np.bincount(cores, minlength=len(self.host.usable_cores))
        memory = launch.memory.nodes if launch.memory else (int(self._node[cores[0]]),)
        return Place(tuple(int(c) for c in counts), memory, True)

    def best_seconds(self) -> tuple[float, int]:
        """The least time of all Launches, and how many there are: every count, place, memory and setting."""
        settings = [self.speeds(_merged(chosen)) for chosen in itertools.product(*self._settings)]
        places = list(dict.fromkeys(self.every_place()))
        terms = np.array([self._terms(place) for place in places])
        heap_s = self.heap_share * self._default_work
        best = min(self._work(terms, kernels, waiting).min() + fresh * heap_s for kernels, waiting, fresh in settings)
        return float(best), len(places) * len(settings)

    def exhaustive(self) -> int:
        """Every combination of the factors' levers, the default's among them, without what compiles."""
        return int(np.prod([1.0 + len(factor.levers) for factor in self.factors if not factor.slow_s]))

    @property
    def _settings(self) -> list[tuple[Launch, ...]]:
        others = [factor.levers for factor in self.factors if factor.name != PLACEMENT and not inside(factor)]
        return [(Launch(), *(lever.launch for lever in levers)) for levers in others]

    def every_place(self) -> Iterator[Place]:
        """Any number of threads: free, or on the first cores of any cache, node, socket, kind or the whole, one or two
        to a core; memory from the first node, the own one, or all."""
        nodes = tuple(range(self._nodes))
        parts = domains(self.host)
        for n in range(1, most_threads(self.host) + 1):
            yield self.spread(n)
            if self._nodes > 1:
                yield Place(self.spread(n).per_core, nodes, False)
            for domain in parts:
                yield from self._in_domain(domain, n, nodes)

    def _in_domain(self, domain: Domain, n: int, nodes: tuple[int, ...]) -> Iterator[Place]:
        for width in {1, max(len(core) for core in domain.cores)}:
            cpus = [cpu for core in domain.cores for cpu in core[:width]]
            if n <= len(cpus):
                place = self.on(cpus[:n])
                yield place
                if self._nodes > 1:
                    yield Place(place.per_core, nodes, True)

    def _first(self, n: int) -> list[int]:
        """OMP_PROC_BIND=close: one on each of the first cores, and round again."""
        cores = self.host.usable_cores
        by_sibling = [core[i] for i in range(max(map(len, cores))) for core in cores if i < len(core)]
        return by_sibling[:n]

    def _threads(self, order: Sequence[int], n: int) -> tuple[int, ...]:
        counts = [0] * len(order)
        for i in range(n):
            counts[order[i % len(order)]] += 1
        return tuple(counts)

    @cached_property
    def _core_of(self) -> dict[int, int]:
        return {cpu: i for i, core in enumerate(self.host.usable_cores) for cpu in core}

    @cached_property
    def _first_cpus(self) -> list[LogicalCpu]:
        by_id = {cpu.id: cpu for cpu in self.host.cpu.logical}
        return [by_id[core[0]] for core in self.host.usable_cores]

    @cached_property
    def _node(self) -> np.ndarray:
        return np.array([cpu.node for cpu in self._first_cpus])

    @cached_property
    def _socket(self) -> np.ndarray:
        return np.array([cpu.socket for cpu in self._first_cpus])

    @cached_property
    def _speed(self) -> np.ndarray:
        return np.array([self.slow if cpu.kind else 1.0 for cpu in self._first_cpus])

    @cached_property
    def _cache(self) -> np.ndarray:
        cache_of = {cpu: i for i, cache in enumerate(self.host.cpu.llc) for cpu in cache.cpus}
        return np.array([cache_of[cpu.id] for cpu in self._first_cpus])

    @cached_property
    def _nodes(self) -> int:
        return len(self.host.numa)

    @cached_property
    def _spread_order(self) -> list[int]:
        rank: dict[int, int] = {}
        keys = []
        for i, node in enumerate(self._node):
            rank[node] = rank.get(node, -1) + 1
            keys.append((-self._speed[i], rank[node], node, i))
        return [key[-1] for key in sorted(keys)]


def inside(factor: Factor) -> bool:
    """Return whether a factor changes something within the process, without compiling."""
    return factor.name in (PRECISION, LAYOUT, "attention") and not factor.slow_s


def _merged(chosen: Sequence[Launch]) -> Launch:
    whole = Launch()
    for change in chosen:
        whole = whole.plus(change)
    return whole


@dataclass(frozen=True)
class Flat:
    """Nothing makes a difference but one lever, or none."""

    lever: Lever | None = None
    gain: float = 1.0

    def seconds(self, launch: Launch, techniques: Sequence[str] = ()) -> float:
        """Time of one iteration, without noise."""
        if self.lever is None or not {*self.lever.techniques} <= {*techniques}:
            return 1.0
        return 1 / self.gain if holds(launch, self.lever.launch) else 1.0


def holds(launch: Launch, part: Launch) -> bool:
    """Return whether a launch sets all that a part of it sets."""
    return (
        all(
            getattr(part, name) in (None, (), getattr(launch, name))
            for name in ("threads", "interop_threads", "cpus", "memory", "allocator", "instances")
        )
        and launch.env.items() >= part.env.items()
        and {*launch.preload} >= {*part.preload}
        and {*launch.unset} >= {*part.unset}
    )
