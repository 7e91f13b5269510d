"""Hosts and a Record that never ran, but could have: enough of everything that the report shows."""

from __future__ import annotations

import math
from typing import Any

from hwdiag.core.files import EmittedFile
from hwdiag.core.finding import Check, Finding, Recommendation
from hwdiag.core.interval import Interval
from hwdiag.experiment.ceilings import Ceiling
from hwdiag.experiment.lever import CONTROL, DEFAULT, Lever, Plan
from hwdiag.experiment.model import Comparison, Estimate, Measurement, Noise, SearchStep, TriedPlan, Workload
from hwdiag.host.model import (
    Cache,
    CoreKind,
    Cpu,
    Disk,
    Gap,
    Gpu,
    Host,
    Isa,
    Limits,
    LogicalCpu,
    Memory,
    NumaNode,
    System,
)
from hwdiag.process.launch import Allocator, Launch, MemoryPolicy
from hwdiag.process.model import Applied, Disturbance, Outcome, Software, ThreadPool
from hwdiag.record.model import Record
from hwdiag.record.tuning import Tuning, tuning

GIB = 2**30
MIB = 2**20
HOSTILE = "<script>alert('gpu')</script>\x1b[31m & \"Co\" \u202eevil"


def make_cpu(sockets: int, cores: int, smt: int, nodes_per_socket: int = 1, llc_cores: int = 0, **more: Any) -> Cpu:
    """A regular processor, numbered as Linux numbers x86 servers: all first hardware threads, then all second ones."""
    total = sockets * cores
    llc_cores = llc_cores or cores
    logical = [
        LogicalCpu(
            id=t * total + c,
            core=c,
            socket=c // cores,
            node=c // (cores // nodes_per_socket) if nodes_per_socket else None,
        )
        for t in range(smt)
        for c in range(total)
    ]
    caches = [
        Cache(level=3, type="unified", size_bytes=llc_cores * 2 * MIB, cpus=members)
        for first in range(0, total, llc_cores)
        for members in [tuple(sorted(t * total + c for t in range(smt) for c in range(first, first + llc_cores)))]
    ]
    data: dict[str, Any] = {
        "vendor": "GenuineIntel",
        "model": "Intel(R) Xeon(R) CPU E5-2697 v2 @ 2.70GHz",
        "sockets": sockets,
        "cores": total,
        "online": tuple(range(total * smt)),
        "smt": smt > 1,
        "logical": tuple(logical),
        "caches": tuple(caches),
        "isa": Isa(level="x86-64-v2", features=("AVX", "F16C", "SSE4.2"), missing=("AVX2", "FMA", "AVX512F")),
        "governor": "performance",
        "driver": "intel_cpufreq",
        "boost": True,
    }
    return Cpu(**(data | more))


def make_host(name: str, cpu: Cpu, memory_gib: float, **more: Any) -> Host:
    nodes: dict[int, list[int]] = {}
    for c in cpu.logical:
        if c.node is not None:
            nodes.setdefault(c.node, []).append(c.id)
    numa = tuple(
        NumaNode(id=n, cpus=tuple(sorted(ids)), memory_bytes=int(memory_gib * GIB / len(nodes)), distances=())
        for n, ids in nodes.items()
    )
    data: dict[str, Any] = {
        "read_at": "2026-03-01T10:02:00Z",
        "system": System(hostname=name, arch="x86_64", kernel="6.8.0-51-generic", distribution="Ubuntu 24.04.1 LTS"),
        "cpu": cpu,
        "memory": Memory(
            total_bytes=int(memory_gib * GIB),
            available_bytes=int(memory_gib * GIB * 0.9),
            swap_total_bytes=8 * GIB,
            swap_free_bytes=8 * GIB,
            page_bytes=4096,
            transparent_hugepages="madvise",
        ),
        "numa": numa,
        "gpu_note": "no NVIDIA driver on this host",
        "disks": (
            Disk(name="nvme0n1", kind="nvme", size_bytes=1_920_383_410_176, model="SAMSUNG MZ1LB1T9", rotational=False),
        ),
    }
    return Host(**(data | more))


def dual_host() -> Host:
    cpu = make_cpu(2, 12, 2)
    allowed = tuple(i for i in cpu.online if i not in (22, 23, 46, 47))
    gpu = Gpu(
        index=0, name="NVIDIA GeForce RTX 3060", driver="560.35", cuda="12.6", compute_capability="8.6",
        memory_bytes=12 * GIB, pcie_generation=3, pcie_width=16, node=1,
    )  # fmt: skip
    disks = (
        Disk(name="nvme0n1", kind="nvme", size_bytes=1_000_204_886_016, model="Samsung 980 PRO", rotational=False),
        Disk(name="sda", kind="sata", size_bytes=4_000_787_030_016, model="WDC WD40EFRX-68N32N0", rotational=True),
    )
    return make_host(
        "rack-7", cpu, 256, gpus=(gpu,), gpu_note=None, disks=disks,
        limits=Limits(allowed=allowed, cgroup_version=2, nofile=(1024, 1048576), memlock_bytes=(8 * MIB, None)),
        gaps=(Gap(what="/sys/firmware/dmi/tables/DMI", why="permission denied"),),
    )  # fmt: skip


def tiny_host() -> Host:
    cpu = make_cpu(1, 2, 1, llc_cores=2, model="AMD EPYC 7763 64-Core Processor", vendor="AuthenticAMD")
    return make_host(
        "tiny", cpu, 7.6, disks=(Disk(name="vda", kind="virtio", size_bytes=64 * 10**9, rotational=True),),
        system=System(hostname="tiny", arch="x86_64", hypervisor="KVM", container="docker"),
    )  # fmt: skip


def huge_host() -> Host:
    cpu = make_cpu(2, 128, 2, nodes_per_socket=4, llc_cores=8, model="AMD EPYC 9754 128-Core Processor")
    gpus = tuple(
        Gpu(index=i, name="NVIDIA H100 80GB HBM3", memory_bytes=80 * GIB, node=i, compute_capability="9.0",
            pcie_generation=5, pcie_width=16)
        for i in range(8)
    )  # fmt: skip
    host = make_host("huge", cpu, 1536, gpus=gpus, gpu_note=None)
    cxl = NumaNode(id=8, cpus=(), memory_bytes=256 * GIB)
    return host.model_copy(update={"numa": (*host.numa, cxl, NumaNode(id=9, cpus=(), memory_bytes=0))})


def hybrid_host() -> Host:
    """8 P-cores with SMT and 16 E-cores without, as on an Intel Core i9."""
    p = [LogicalCpu(id=2 * c + t, core=c, socket=0, node=0, kind=0) for c in range(8) for t in (0, 1)]
    e = [LogicalCpu(id=16 + c, core=8 + c, socket=0, node=0, kind=1) for c in range(16)]
    kinds = (
        CoreKind(name="P-core", cpus=tuple(range(16)), cores=8, max_mhz=5800),
        CoreKind(name="E-core", cpus=tuple(range(16, 32)), cores=16, max_mhz=4300),
    )
    cpu = Cpu(
        vendor="GenuineIntel", model="13th Gen Intel(R) Core(TM) i9-13900K", sockets=1, cores=24,
        online=tuple(range(32)), smt=True, logical=(*p, *e), kinds=kinds,
        caches=(Cache(level=3, type="unified", size_bytes=36 * MIB, cpus=tuple(range(32))),),
    )  # fmt: skip
    return make_host("desk", cpu, 64)


def arm_host() -> Host:
    """A GB10: two kinds of cores, two clusters, memory shared with the GPU."""
    logical = tuple(
        LogicalCpu(id=i, core=i, socket=0, node=0, kind=0 if i % 10 >= 5 else 1, capacity=1024 if i % 10 >= 5 else 718)
        for i in range(20)
    )
    kinds = tuple(
        CoreKind(name=name, cpus=tuple(c.id for c in logical if c.kind == k), cores=10, max_mhz=mhz)
        for k, (name, mhz) in enumerate((("Cortex-X925", 3900), ("Cortex-A725", 2800)))
    )
    caches = tuple(
        Cache(level=3, type="unified", size_bytes=s * MIB, cpus=tuple(range(first, first + 10)))
        for first, s in ((0, 8), (10, 16))
    )
    cpu = Cpu(
        vendor="ARM", model="Cortex-X925 + Cortex-A725", sockets=1, cores=20, online=tuple(range(20)), smt=False,
        logical=logical, kinds=kinds, caches=caches,
    )  # fmt: skip
    gpu = Gpu(index=0, name="NVIDIA GB10", unified_memory=True, compute_capability="12.1", node=0)
    return make_host("spark", cpu, 119.7, gpus=(gpu,), gpu_note=None)


def hostile_host() -> Host:
    host = dual_host()
    gpu = host.gpus[0].model_copy(update={"name": HOSTILE})
    system = System(hostname=HOSTILE, arch="x86_64", product=HOSTILE)
    return host.model_copy(update={"gpus": (gpu,), "system": system})


HOSTS = {
    "dual": dual_host,
    "tiny": tiny_host,
    "huge": huge_host,
    "hybrid": hybrid_host,
    "arm": arm_host,
    "hostile": hostile_host,
}

F32, BF16 = "float32", "bfloat16"
WORKLOADS = (
    Workload(name="matmul-fp32", title="Matrix product, fp32, 2048 x 2048", kind="matmul", family="compute", dtype=F32,
             size={"n": 2048}, flops=2 * 2048**3, bytes=3 * 4 * 2048**2),
    Workload(name="matmul-bf16", title="Matrix product, bf16, 2048 x 2048", kind="matmul", family="compute", dtype=BF16,
             size={"n": 2048}, flops=2 * 2048**3, bytes=3 * 2 * 2048**2),
    Workload(name="conv2d", title="2-d convolution, fp32, 32x3x224x224 to 64 channels", kind="conv2d", family="compute",
             dtype=F32, size={"batch": 32}, flops=32 * 64 * 224**2 * 27 * 2, bytes=4 * 32 * 224**2 * 67),
    Workload(name="copy", title="Memory copy, 256 MiB", kind="copy", family="memory", dtype=F32, size={"n": 64 * MIB},
             flops=0, bytes=512 * MIB, note="arrays hold 4.3 times the last-level cache"),
    Workload(name="triad", title="Triad a = b + s c, 3 x 256 MiB", kind="triad", family="memory", dtype=F32,
             size={"n": 64 * MIB}, flops=128 * MIB, bytes=768 * MIB),
    Workload(name="resnet18", title="ResNet-18, fp32, batch 1", kind="resnet18", family="model", dtype=F32,
             size={"batch": 1}, flops=3.63e9, bytes=68e6),
    Workload(name="gpt2", title="GPT-2 small, fp32, 64 tokens, batch 1", kind="gpt2", family="model", dtype=F32,
             size={"batch": 1, "tokens": 64}, flops=16.4e9, bytes=520e6),
)  # fmt: skip
_ONE_THREAD = {"matmul-fp32": 0.36, "matmul-bf16": 3.1, "conv2d": 0.27, "copy": 0.062, "triad": 0.094,
               "resnet18": 0.11, "gpt2": 0.48}  # fmt: skip
_PARALLEL = {"matmul-fp32": 0.985, "matmul-bf16": 0.95, "conv2d": 0.97, "copy": 0.74, "triad": 0.76, "resnet18": 0.9,
             "gpt2": 0.93}  # fmt: skip


def placed(id: str, launch: Launch) -> Lever:
    return Lever(id=id, factor="placement", title=id, launch=launch)


THREADS = [Plan.of(placed(f"threads-{n}", Launch(threads=n))) for n in (1, 2, 4, 8, 16, 24)]
NODE0_CPUS = Launch(threads=12, cpus=tuple(range(12)), memory=MemoryPolicy(mode="bind", nodes=(0,)))
NODE0 = Plan.of(placed("node0", NODE0_CPUS))
SPREAD = Plan.of(placed("spread", Launch(memory=MemoryPolicy(mode="interleave", nodes=(0, 1)))))
TCMALLOC = Lever(
    id="tcmalloc", factor="heap", title="tcmalloc",
    launch=Launch(allocator=Allocator(name="tcmalloc", path="/usr/lib/libtcmalloc.so.4")),
)  # fmt: skip
MALLOC = Plan.of(TCMALLOC)
BEST = NODE0.plus(TCMALLOC)


def seconds_of(workload: str, threads: int, device: str, factor: float) -> float:
    """Amdahl's law with a little cost per thread; a GPU is thirty times one thread."""
    if device != "cpu":
        return _ONE_THREAD[workload] / 30
    p = _PARALLEL[workload]
    return _ONE_THREAD[workload] * (1 - p + p / threads + 0.002 * threads) / factor


class Bench:
    """Collects measurements as a run would make them, and what is estimated from them."""

    def __init__(self, processes: int = 3) -> None:
        self.processes = processes
        self.measurements: list[Measurement] = []
        self.estimates: list[Estimate] = []
        self.comparisons: list[Comparison] = []

    def measure(self, plan: Plan, workload: Workload, threads: int, factor: float = 1.0, device: str = "cpu",
                phase: Any = "screen") -> list[Measurement]:  # fmt: skip
        new = []
        for block in range(self.processes):
            base = seconds_of(workload.name, threads, device, factor) * (1 + 0.012 * math.sin(7 * block + threads))
            new.append(Measurement(
                id=f"m{len(self.measurements) + 1 + len(new):03d}", plan=plan.id, workload=workload.name,
                device=device, phase=phase, block=block, process=len(self.measurements) + block,
                outcome=Outcome(kind="ok"), seconds=tuple(base * (1 + 0.004 * math.cos(i)) for i in range(9)), warmup=2,
                applied=Applied(threads=threads, interop_threads=24, cpus=tuple(range(44)), memory_policy="default"),
                peak_rss_bytes=900 * MIB,
                disturbance=Disturbance(load=0.4, other_cpu=0.03, steal=0.0, swapped_bytes=0, mhz=2994.0),
            ))  # fmt: skip
        self.measurements += new
        if phase == "screen":
            self.estimates.append(self._estimate(new))
        return new

    def _estimate(self, new: list[Measurement]) -> Estimate:
        medians = sorted(m.median_s for m in new)
        interval = Interval(median=medians[len(medians) // 2], low=medians[0], high=medians[-1],
                            processes=len(new), samples=9 * len(new))  # fmt: skip
        first = new[0]
        return Estimate(workload=first.workload, plan=first.plan, device=first.device, seconds=interval,
                        measurements=tuple(m.id for m in new))  # fmt: skip

    def compare(self, workload: str, candidate: Plan, gain: float, verdict: Any, evidence: tuple[str, ...],
                phase: Any = "confirm", spread: float = 0.03) -> None:  # fmt: skip
        interval = Interval(median=gain, low=gain * (1 - spread), high=gain * (1 + spread), processes=10)
        self.comparisons.append(Comparison(
            workload=workload, baseline="default", candidate=candidate.id, phase=phase, speedup=interval,
            verdict=verdict, why="the interval excludes 1" if verdict == "better" else "within 3 % either way",
            measurements=evidence,
        ))  # fmt: skip


def make_record(host: Host | None = None, gpu: bool = True, **more: Any) -> Record:
    """A whole record of a thorough run on two sockets, in which one child was killed."""
    host = host or dual_host()
    bench = Bench()
    for w in WORKLOADS:
        bench.measure(DEFAULT, w, 24)
        for plan in THREADS:
            bench.measure(plan, w, plan.launch.threads or 24)
        bench.measure(NODE0, w, 12, 1.2)
        bench.measure(SPREAD, w, 24, 0.97)
        bench.measure(MALLOC, w, 24, 1.01)
        if gpu:
            bench.measure(DEFAULT, w, 24, device="cuda:0")
    failed = Measurement(
        id=f"m{len(bench.measurements) + 1:03d}", plan=MALLOC.id, workload="gpt2", phase="screen", block=9,
        process=990,
        outcome=Outcome(kind="signal", detail="killed by SIGILL (illegal instruction) while importing torch"),
    )  # fmt: skip
    bench.measurements.append(failed)
    confirmed: dict[str, tuple[str, ...]] = {}
    for w in WORKLOADS:
        pairs = bench.measure(DEFAULT, w, 24, phase="confirm") + bench.measure(BEST, w, 12, 1.2, phase="confirm")
        confirmed[w.name] = tuple(m.id for m in pairs)
    evidence = tuple(i for ids in confirmed.values() for i in ids)
    bench.compare("overall", BEST, 1.12, "better", evidence, spread=0.015)
    for name, gain, verdict in (("gpt2", 1.31, "better"), ("resnet18", 1.24, "better"), ("conv2d", 1.02, "same"),
                                ("matmul-fp32", 1.0, "same"), ("matmul-bf16", 0.99, "same"), ("copy", 0.92, "worse"),
                                ("triad", 1.04, "undecided")):  # fmt: skip
        bench.compare(name, BEST, gain, verdict, confirmed[name], spread=0.012 if verdict == "same" else 0.035)
    for w in WORKLOADS:
        if w.name in ("resnet18", "gpt2"):
            for plan in (DEFAULT, CONTROL):
                bench.measure(plan, w, 24, phase="noise")
    bench.compare("gpt2", MALLOC, 1.01, "same", evidence[:6], phase="screen")
    data: dict[str, Any] = {
        "name": "rack-7",
        "started_at": "2026-03-01T10:02:00Z",
        "finished_at": "2026-03-01T10:06:31Z",
        "versions": {"hwdiag": "0.1.0", "python": "3.11.7", "pydantic": "2.12.0"},
        "params": {"tune": {"host": "rack-7", "budget": "standard", "min_effect": 3.0}},
        "verdict": "Started with 12 threads on node 0, your models run 1.12x as fast here (1.10 to 1.14).",
        "host": host,
        "software": make_software(),
        "noise": Noise(pairs=8, spread=0.021, alone=0.13, drift_p=0.4, autocorrelation=0.1),
        "steps": make_steps(),
        "plans": (DEFAULT, CONTROL, *THREADS, NODE0, SPREAD, MALLOC, BEST),
        "workloads": WORKLOADS,
        "overall_of": ("resnet18", "gpt2"),
        "measurements": tuple(bench.measurements),
        "estimates": tuple(bench.estimates),
        "comparisons": tuple(bench.comparisons),
        "ceilings": make_ceilings(bench, gpu),
        "findings": make_findings(failed.id),
        "recommendations": make_recommendations(confirmed, evidence),
        "checks": (
            Check(id="governor", state="fine", title="The CPU governor is performance"),
            Check(id="thp", state="fine", title="Transparent huge pages are madvise", detail="jemalloc prefers it so."),
            Check(id="quota", state="fine", title="No CPU quota", detail="cgroup v2, cpu.max is max."),
            Check(id="dimm", state="unchecked", title="Whether every memory channel is filled",
                  detail="Reading the DMI table needs root: sudo dmidecode -t memory"),
        ),
        "files": (
            EmittedFile(path="scripts/launch.sh", what="Runs any command under the recommended launch"),
            EmittedFile(path="figures/topology.svg", what="The host in one picture"),
        ),
        "complete": True,
    }  # fmt: skip
    return changed(Record(**{k: v for k, v in data.items() if k in Record.model_fields}), **{**data, **more})


def changed(record: Record, **more: Any) -> Record:
    """The record with other values, those of its search for a launch among them."""
    study = tuning(record).model_copy(update={k: v for k, v in more.items() if k in Tuning.model_fields})
    own = {k: v for k, v in more.items() if k in Record.model_fields}
    return record.model_copy(update={**own, "studies": {**record.studies, "tune": study}})


def make_steps() -> tuple[SearchStep, ...]:
    """Two factors: one thing taken on, one dropped, and one that was not better."""

    def option(plan: Plan, gain: float, *, dropped: bool = False) -> TriedPlan:
        speedup = Interval(median=gain, low=gain - 0.02, high=gain + 0.02, processes=3)
        return TriedPlan(plan=plan.id, speedup=speedup, dropped=dropped)

    raced = (option(NODE0, 1.1), option(THREADS[0], 0.2, dropped=True))
    return (
        SearchStep(factor="placement", options=raced, adopted=NODE0.id),
        SearchStep(factor="heap", options=(option(BEST, 1.09),), adopted=None),
    )


def make_software() -> Software:
    return Software(
        python="/home/kim/ComfyUI/venv/bin/python", outcome=Outcome(kind="ok"), python_version="3.11.9",
        torch_version="2.13.0+cpu", cpu_capability="DEFAULT", mkl=True, onednn=True, threads=24, interop_threads=24,
        pools=(ThreadPool(api="openmp", name="libgomp", version="14", threads=24),), numpy_version="2.2.1",
        environment={"OMP_NUM_THREADS": "24", "OPENBLAS_CORETYPE": "Haswell"},
    )  # fmt: skip


def make_ceilings(bench: Bench, gpu: bool) -> tuple[Ceiling, ...]:
    """The fastest process of the matrix products and of triad, per device."""
    known = {w.name: w for w in WORKLOADS}
    ceilings = []
    for device in ("cpu", "cuda:0") if gpu else ("cpu",):
        for name in ("matmul-fp32", "matmul-bf16", "triad"):
            w = known[name]
            mine = [m for m in bench.measurements if m.workload == name and m.device == device and m.outcome.ok]
            top = min(mine, key=lambda m: m.median_s)
            kind, work = ("memory", w.bytes) if name == "triad" else ("compute", w.flops)
            ceilings.append(Ceiling(device=device, kind=kind, dtype=w.dtype, value=work / top.median_s, workload=name,
                                    measurement=top.id))  # fmt: skip
    return tuple(ceilings)


def make_findings(failed: str) -> tuple[Finding, ...]:
    return (
        Finding(id="killed", severity="problem", title="torch dies under tcmalloc, once in four starts",
                detail="SIGILL while importing torch. The other three starts were fine.", evidence=(failed,)),
        Finding(id="inherited-openblas-coretype", severity="warning", title="OPENBLAS_CORETYPE=Haswell is inherited",
                detail="This CPU has no AVX2, which Haswell kernels use. Unset it before numpy is imported.",
                evidence=("software.environment", "host.cpu.isa")),
        Finding(id="cpus", severity="note", title="4 of 48 CPUs are closed to this process",
                detail="CPUs 22, 23, 46 and 47 are isolated.", evidence=("host.limits.allowed",)),
    )  # fmt: skip


def make_recommendations(
    confirmed: dict[str, tuple[str, ...]], evidence: tuple[str, ...]
) -> tuple[Recommendation, ...]:
    def speedup(gain: float) -> Interval:
        return Interval(median=gain, low=gain * 0.97, high=gain * 1.03, processes=10, samples=90)

    undo = "Start without scripts/launch.sh. Nothing on the host was changed."
    return (
        Recommendation(id="launch-overall", scope="overall", plan=BEST.id,
                       title="Run with 12 threads on node 0 and tcmalloc: 1.12x as fast (1.10 to 1.14)",
                       why="Half the threads on one socket beat all of them on two: no traffic between the sockets.",
                       speedup=Interval(median=1.12, low=1.10, high=1.14, processes=10), undo=undo,
                       risk="Copying memory gets slower (0.92x): one socket's channels instead of two.",
                       evidence=evidence),
        Recommendation(id="launch-gpt2", scope="gpt2", plan=NODE0.id, title="Run gpt2 on node 0: 1.31x as fast",
                       why="Its layers are small.", speedup=speedup(1.31), risk="None known.", undo=undo,
                       evidence=confirmed["gpt2"]),
        Recommendation(id="keep-conv2d", scope="conv2d", plan=None, title="Keep what you have for conv2d",
                       why="The best of 10 launches gave 1.02x (1.01 to 1.03), less than the minimum effect of 3 %.",
                       speedup=speedup(1.02), evidence=confirmed["conv2d"]),
    )  # fmt: skip
