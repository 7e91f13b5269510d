"""Hosts drawn by chance, of any size and layout, for the searches to be tried on."""

from __future__ import annotations

import random

import numpy as np

from hwdiag.host.model import Cache, CoreKind, Cpu, Host, Isa, Limits, LogicalCpu, Memory, NumaNode, System
from hwdiag.process.model import Outcome, Software, ThreadPool
from hwdiag.tune.runtime import heap
from tests.simulation.virtual import ALLOCATORS, VirtualHost

CORES = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


def random_host(seed: int, *, cores: int | None = None) -> VirtualHost:
    """A host of 4 to 256 CPUs and 1 to 8 nodes, with or without SMT, some with slow cores, some with a quota."""
    r = random.Random(seed)

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(r.uniform(np.log(low), np.log(high))))

    cores = cores or r.choice(CORES)
    mixed = cores <= 24 and r.random() < 0.3
    nodes = 1 if mixed or cores < 8 else r.choice([n for n in (1, 1, 2, 2, 4, 8) if cores / n >= 4])
    smt = r.choice((1, 2))
    quota = r.choice((cores / 2, cores * 0.75)) if r.random() < 0.1 else None
    vendor = r.choice(("GenuineIntel", "AuthenticAMD"))
    host = make_host(r, cores=cores, nodes=nodes, smt=smt, mixed=mixed, quota=quota, vendor=vendor)
    openmp = r.choice(("libgomp", "libgomp", "libiomp5"))
    software = Software(
        python="python",
        outcome=Outcome(kind="ok"),
        mkl=True,
        onednn=True,
        threads=cores if r.random() < 0.8 else cores * smt,
        pools=(ThreadPool(api="openmp", name=openmp),),
    )
    heaps = heap(host, software, ALLOCATORS).levers
    fresh = {k: r.uniform(0.1, 1.2) for x in heaps for k in (*(f"{k}={v}" for k, v in x.launch.env.items()), x.title)}
    active, passive = r.uniform(0.5, 1.0), r.uniform(1.0, 3.0)
    inside = random_net(random.Random(f"net {seed}"))
    return VirtualHost(
        inside=inside,
        host=host,
        software=software,
        slow=r.uniform(0.3, 0.8),
        smt_yield=r.uniform(0.9, 1.35),
        serial=log_uniform(0.002, 0.15),
        bandwidth_work=log_uniform(0.05, 1.2),
        node_threads=r.uniform(2, 10),
        remote=r.uniform(0.4, 0.9),
        sync=log_uniform(1e-4, 1e-2),
        hop=r.uniform(0, 0.8),
        coherence=log_uniform(1e-8, 1e-5),
        crowd=r.choice((0, 0, r.uniform(0.02, 0.5))),
        migration=r.uniform(0, 0.03),
        heap_share=r.choice((0, r.uniform(0, 0.4))),
        effects={
            "OMP_WAIT_POLICY=active": active,
            "KMP_BLOCKTIME=infinite": active,
            "OMP_WAIT_POLICY=passive": passive,
            "KMP_BLOCKTIME=0": passive,
            "/x/libhwdiag-mkl.so": r.choice((1.0, r.uniform(1.0, 2.4))),
            "ATEN_CPU_CAPABILITY=avx2": r.uniform(0.55, 1.1),
            **fresh,
        },
    )


def random_net(r: random.Random) -> dict[frozenset[str], float]:
    """Return what levers within the process give on one net: bf16 helps or harms, channels_last helps beside it."""
    bits = r.uniform(-0.7, 1.1)
    single = {
        "ONEDNN_DEFAULT_FPMATH_MODE=BF16": r.uniform(-0.3, 0.3),
        "matmul-bf16": bits * r.uniform(0.3, 0.9),
        "autocast-bf16": bits * r.uniform(0.2, 0.9),
        "bf16": bits,
        "int8-dynamic": r.uniform(-0.7, 0.9),
        "channels-last": r.choice((0.0, r.uniform(-0.2, 0.3))),
        "math-attention": r.choice((0.0, r.uniform(-0.4, 0.1))),
    }
    together = {frozenset((name, "channels-last")): r.uniform(-0.1, 0.4) for name in ("bf16", "autocast-bf16")}
    return {frozenset((name,)): gain for name, gain in single.items()} | together


def make_host(
    r: random.Random, *, cores: int, nodes: int, smt: int, mixed: bool, quota: float | None, vendor: str
) -> Host:
    """Nodes in one socket or two; caches of a node's cores, or of 4 or 8 of them; siblings numbered after all cores."""
    sockets = 1 if nodes == 1 else r.choice((2, nodes)) if nodes > 2 else 2
    fast = cores // 2 if mixed else cores
    per_cache = r.choice((max(1, cores // nodes), 8, 4))
    logical = tuple(
        LogicalCpu(id=t * cores + c, core=c, socket=c * sockets // cores, node=c * nodes // cores, kind=int(c >= fast))
        for t in range(smt)
        for c in range(cores)
        if t == 0 or c < fast  # slow cores have one thread each
    )
    online = tuple(sorted(cpu.id for cpu in logical))
    kinds = [[cpu.id for cpu in logical if cpu.kind == k] for k in range(1 + mixed)]
    groups = sorted({(cpu.node, cpu.core // per_cache) for cpu in logical})
    caches = [tuple(sorted(x.id for x in logical if (x.node, x.core // per_cache) == g)) for g in groups]
    return Host(
        read_at="2026-11-20T10:00:00Z",
        system=System(hostname="virtual", arch="x86_64"),
        cpu=Cpu(
            vendor=vendor,
            sockets=sockets,
            cores=cores,
            online=online,
            smt=smt > 1,
            logical=logical,
            kinds=tuple(
                CoreKind(name=("fast", "slow")[k], cpus=tuple(sorted(cpus)), cores=(fast, cores - fast)[k])
                for k, cpus in enumerate(kinds)
            ),
            caches=tuple(Cache(level=3, type="unified", size_bytes=32 << 20, cpus=cpus) for cpus in caches),
            isa=Isa(level="x86-64-v4", features=("AVX2", "AVX512F", "AVX512-BF16", "AVX512-VNNI"), missing=()),
        ),
        memory=Memory(total_bytes=256 << 30, available_bytes=250 << 30),
        numa=tuple(
            NumaNode(id=n, cpus=tuple(sorted(c.id for c in logical if c.node == n)), memory_bytes=64 << 30)
            for n in range(nodes)
        ),
        limits=Limits(allowed=online, cpu_quota=quota),
    )
