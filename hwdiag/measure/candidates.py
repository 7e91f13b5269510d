"""Which Launches are worth measuring on this host."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from hwdiag.host.model import Host, NumaNode
from hwdiag.measure.launch import Allocator, Launch, MemoryPolicy
from hwdiag.measure.model import BASELINE, Software

DEFAULT = Launch(name=BASELINE)

LIBRARY_FOLDERS = ("/usr/lib/*-linux-gnu*", "/usr/lib64", "/usr/lib", "/usr/local/lib", "/usr/local/lib64")
"""Where Debian, Fedora, Arch and hand-made installations put shared libraries."""
ALLOCATOR_FILES = {
    "tcmalloc": "libtcmalloc.so.*",
    "tcmalloc_minimal": "libtcmalloc_minimal.so.*",
    "jemalloc": "libjemalloc.so.*",
    "mimalloc": "libmimalloc.so.*",
}


def candidates(
    host: Host, software: Software, *, threads: Iterable[int] | None, allocators: tuple[Allocator, ...], numactl: bool
) -> tuple[Launch, ...]:
    """Today's default first, then thread counts, bindings and allocators that differ from it and fit what may be used.

    ``threads`` replaces the counts derived from the topology; ``numactl`` says whether memory can be bound here.
    """
    counts = tuple(threads) if threads is not None else thread_counts(host)
    return (
        DEFAULT,
        *(with_threads(f"threads={n}", n, software) for n in counts if n != software.threads),
        *kind_launches(host, software),
        *(numa_launches(host, software) if numactl else ()),
        *(Launch(name=allocator.name, allocator=allocator) for allocator in allocators),
    )


def thread_counts(host: Host) -> tuple[int, ...]:
    """1, the powers of two, the physical cores and all CPUs, of what this process may use."""
    cpus = len(host.usable_cpus) or 1
    cores = len(host.usable_cores) or cpus
    if host.limits.cpu_quota is not None:  # more threads than the quota pays for are only stopped more often
        cpus = min(cpus, max(1, math.ceil(host.limits.cpu_quota)))
    powers = (2**i for i in range(cpus.bit_length()))
    return tuple(sorted(n for n in {*powers, cores, cpus} if n <= cpus))


def with_threads(name: str, n: int, software: Software, **more: object) -> Launch:
    """A Launch with ``n`` intra-op threads. MKL's own variable wins over OMP_NUM_THREADS, so it is set where MKL is."""
    env = {"MKL_NUM_THREADS": str(n)} if software.mkl else {}
    return Launch.model_validate({"name": name, "threads": n, "env": env, **more})


def kind_launches(host: Host, software: Software) -> tuple[Launch, ...]:
    """One Launch on the cores of each kind, one thread per core; none on a machine whose cores are all alike."""
    usable = set(host.usable_cpus)
    kinds = [(kind.name, tuple(c for c in kind.cpus if c in usable)) for kind in host.cpu.kinds]
    there = [(name, cpus) for name, cpus in kinds if cpus]
    if len(there) < 2:
        return ()
    return tuple(
        with_threads(f"cores={name.replace(' ', '-')}", cores_of(cpus, host), software, cpus=cpus)
        for name, cpus in there
    )


def cores_of(cpus: tuple[int, ...], host: Host) -> int:
    """Usable physical cores behind these CPUs; as many as CPUs where the topology is unknown."""
    return sum(1 for core in host.usable_cores if set(core) & set(cpus)) or len(cpus)


def numa_launches(host: Host, software: Software) -> tuple[Launch, ...]:
    """One Launch bound to each usable node, and one interleaved over all; none on a machine with one node."""
    nodes = usable_nodes(host)
    if len(nodes) < 2:
        return ()
    interleave = MemoryPolicy(mode="interleave", nodes=tuple(n.id for n in nodes))
    return (
        *(bound_to(node, host, software) for node in nodes if node.cpus),
        Launch(name="interleave", memory=interleave),
    )


def usable_nodes(host: Host) -> tuple[NumaNode, ...]:
    """Nodes that have memory this process may use, with those of their CPUs that it may use."""
    usable, mems = set(host.usable_cpus), host.limits.mems
    return tuple(
        node.model_copy(update={"cpus": tuple(c for c in node.cpus if c in usable)})
        for node in host.numa
        if node.memory_bytes != 0 and (mems is None or node.id in mems)
    )


def bound_to(node: NumaNode, host: Host, software: Software) -> Launch:
    """One thread per core of the node, its memory first. Not strictly bound: a full node would kill the process."""
    memory = MemoryPolicy(mode="preferred", nodes=(node.id,))
    return with_threads(f"node={node.id}", cores_of(node.cpus, host), software, cpus=node.cpus, memory=memory)


def find_allocators(prefix: str | None, folders: Iterable[str] = LIBRARY_FOLDERS) -> tuple[Allocator, ...]:
    """The malloc replacements installed on this host or in the interpreter's ``prefix`` (conda puts them there)."""
    found: dict[str, str] = {}
    for folder in (*((f"{prefix}/lib",) if prefix else ()), *folders):
        for name, pattern in ALLOCATOR_FILES.items():
            paths = sorted(str(p) for p in Path("/").glob(f"{folder.lstrip('/')}/{pattern}"))
            if paths:
                # The shortest name is the soname's link, which survives updates of the package.
                found.setdefault(name, min(paths, key=len))
    if "tcmalloc" in found:  # the same allocator without its profiler
        found.pop("tcmalloc_minimal", None)
    return tuple(Allocator.model_validate({"name": name, "path": path}) for name, path in sorted(found.items()))
