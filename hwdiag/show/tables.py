"""Tables of everything in a Host and a Record, the same for terminal, notebook and report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hwdiag.advise.environment import IMAGINED_CAPS, caps_of
from hwdiag.host.cpulist import format_cpulist
from hwdiag.host.model import Build, Cache, Disk, Gpu, Hidden, Host, NumaNode
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Disturbance, Estimate, Measurement, Software, ThreadPool, Workload
from hwdiag.measure.workloads import ENGINES
from hwdiag.record.model import Record
from hwdiag.show.format import (
    UNKNOWN,
    cache_size,
    count,
    disk_size,
    measured,
    percent,
    plural,
    seconds,
    significant,
    size,
    speedup,
)
from hwdiag.show.roof import Roof, default_estimates, roof_of
from hwdiag.show.table import Cell, Ids, Share, join_few
from hwdiag.show.table import Table as Table

Fact = tuple[str, str]

SEVERITIES = ("problem", "warning", "note")


# Host


def host_table(host: Host) -> Table:
    """Every fact of a host in a row, the unknown ones with their reason."""
    rows = [*_system(host), *_cpu(host), *_memory(host), *_devices(host), *_limits(host)]
    rows += [("Not readable", f"{gap.what}: {gap.why}") for gap in host.gaps]
    return Table(f"Facts of {host.label}", ("Fact", "Value"), tuple(rows))


def _known(facts: Iterable[tuple[str, object]]) -> list[Fact]:
    """Only the facts that are known."""
    return [(name, str(value)) for name, value in facts if value is not None and value != ""]


def _system(host: Host) -> list[Fact]:
    system = host.system
    kernel = " ".join(p for p in (system.kernel or UNKNOWN, system.arch) if p)
    return _known((
        ("Host", system.hostname if system.hostname != UNKNOWN else None),
        ("Product", system.product),
        ("System", system.distribution),
        ("Kernel", kernel),
        ("Hypervisor", hypervisor_words(host)),
        ("Container", system.container),
    ))  # fmt: skip


def hypervisor_words(host: Host) -> str | None:
    """Name of the hypervisor; one that only gives itself away by a CPU flag is still one."""
    name = host.system.hypervisor
    return "a hypervisor of unknown make" if name == UNKNOWN else name


def _cpu(host: Host) -> list[Fact]:
    cpu = host.cpu
    isa = cpu.isa
    return _known((
        ("Processor", cpu.model or UNKNOWN),
        ("Cores", core_words(host)),
        ("Kinds of cores", join_few([f"{k.cores} {k.name} (CPUs {format_cpulist(k.cpus)})" for k in cpu.kinds])
         if len(cpu.kinds) > 1 else None),
        ("Offline CPUs", format_cpulist(cpu.offline)),
        ("Instruction set", isa and isa.level),
        ("It has", isa and ", ".join(isa.features)),
        ("It lacks", isa and ", ".join(isa.missing)),
        ("Hidden from programs", isa and join_few([hidden_words(h) for h in isa.hidden])),
        ("SVE vectors", isa and isa.sve_bits and f"{isa.sve_bits} bits"),
        ("Compile for it with", isa and isa.build and _build(isa.build)),
        ("Caches", _caches(cpu.caches)),
        ("CPU clock", join_few([p for p in (cpu.governor and f"governor {cpu.governor}",
                                            cpu.driver and f"driver {cpu.driver}",
                                            None if cpu.boost is None else f"boost {'on' if cpu.boost else 'off'}")
                                if p])),
    ))  # fmt: skip


def hidden_words(hidden: Hidden) -> str:
    """``AVX2, FMA by the kernel (clearcpuid=avx2 on its command line)``."""
    return f"{', '.join(hidden.features) or 'some features'} by the {hidden.by} ({hidden.why})"


def _build(build: Build) -> str:
    target = f" calls it {build.target}" if build.target else ""
    return f"{build.flags} ({build.by}{target})"


def core_words(host: Host) -> str:
    """``24 cores on 2 sockets, 48 CPUs, of which this process may use 44``."""
    cpu = host.cpu
    cores = plural(cpu.cores, "core") if cpu.cores else "cores unknown"
    sockets = f" on {plural(cpu.sockets, 'socket')}" if cpu.sockets else ""
    usable = len(host.usable_cpus)
    limit = f", of which this process may use {usable}" if usable < len(cpu.online) else ""
    return f"{cores}{sockets}, {plural(len(cpu.online), 'CPU')}{limit}"


def _caches(caches: Sequence[Cache]) -> str:
    """``L1d 32 KiB x 24, L2 256 KiB x 24, L3 30 MiB x 2``."""
    tally: dict[str, int] = {}
    for cache in sorted(caches, key=lambda c: (c.level, c.type)):
        suffix = {"data": "d", "instruction": "i", "unified": ""}[cache.type]
        name = f"L{cache.level}{suffix} {cache_size(cache.size_bytes)}"
        tally[name] = tally.get(name, 0) + 1
    return join_few([f"{name} x {n}" for name, n in tally.items()])


def _memory(host: Host) -> list[Fact]:
    memory = host.memory
    swap = None if memory.swap_total_bytes is None else size(memory.swap_total_bytes)
    return _known((
        ("Memory", f"{size(memory.total_bytes)}, {size(memory.available_bytes)} available"),
        ("Swap", "none" if memory.swap_total_bytes == 0 else swap),
        ("Pages", memory.page_bytes and size(memory.page_bytes)),
        ("Transparent huge pages", memory.transparent_hugepages),
        *((f"NUMA node {n.id}", _node(n)) for n in host.numa),
    ))  # fmt: skip


def _node(node: NumaNode) -> str:
    cpus = f"CPUs {format_cpulist(node.cpus)}" if node.cpus else "no CPUs"
    distances = f", distances {' '.join(map(str, node.distances))}" if len(node.distances) > 1 else ""
    return f"{cpus}, {size(node.memory_bytes)}{distances}"


def _devices(host: Host) -> list[Fact]:
    gpus = [(f"GPU {g.index}", _gpu(g)) for g in host.gpus] or [("GPU", f"none: {host.gpu_note or UNKNOWN}")]
    return gpus + [(f"Disk {d.name}", _disk(d)) for d in host.disks]


def _gpu(gpu: Gpu) -> str:
    throttled = f"throttled: {', '.join(gpu.throttle_reasons)}" if gpu.throttle_reasons else None
    facts = (
        gpu.name,
        "unified memory" if gpu.unified_memory else f"{size(gpu.memory_bytes)} memory",
        gpu.compute_capability and f"compute capability {gpu.compute_capability}",
        gpu.sm_mhz is not None and f"{_clock(gpu.sm_mhz, gpu.sm_max_mhz)} (SM)",
        gpu.memory_mhz is not None and f"{_clock(gpu.memory_mhz, gpu.memory_max_mhz)} (memory)",
        pcie_words(gpu),
        gpu.nvlinks is not None and f"{gpu.nvlinks} NVLinks up",
        gpu.ecc is not None and f"ECC {_on(gpu.ecc)}",
        gpu.mig is not None and f"MIG {_on(gpu.mig)}",
        gpu.persistence is not None and f"persistence {_on(gpu.persistence)}",
        gpu.node is not None and f"next to NUMA node {gpu.node}",
        gpu.power_limit_w and f"power limit {gpu.power_limit_w:.0f} W",
        gpu.driver and f"driver {gpu.driver}",
        throttled,
    )
    return join_few([f for f in facts if f], limit=20)


def _on(state: bool) -> str:
    return "on" if state else "off"


def _clock(now: float, most: float | None) -> str:
    return f"{now:.0f} of {most:.0f} MHz" if most else f"{now:.0f} MHz"


def pcie_words(gpu: Gpu) -> str | None:
    """``PCIe 1 x16 now, up to 4 x16``; of an integrated GPU, that its link carries nothing.

    A GB10 reports "generation 1, one lane": its PCIe function is only for its registers. Data goes over the chip's own
    link between CPU and GPU, so nothing can be wrong there.
    """
    if gpu.pcie_generation is None:
        return None
    now = f"PCIe {gpu.pcie_generation} x{gpu.pcie_width or '?'}"
    if gpu.unified_memory:
        return f"{now} carries no data: the GPU shares the CPU's memory"
    if gpu.pcie_max_generation is None:
        return now
    most = f"{gpu.pcie_max_generation} x{gpu.pcie_max_width or '?'}"
    return now if now.endswith(f" {most}") else f"{now} now, up to {most}"


def _disk(disk: Disk) -> str:
    virtual = disk.kind in ("virtio", "xen")  # what a hypervisor says of its disks is not what they are made of
    spins = None if virtual else {True: "rotating", False: "solid state", None: None}[disk.rotational]
    facts = (disk.model, disk.kind, disk_size(disk.size_bytes), spins, disk.scheduler and f"scheduler {disk.scheduler}")
    return join_few([f for f in facts if f])


def _limits(host: Host) -> list[Fact]:
    limits = host.limits
    return _known((
        ("CPUs allowed", format_cpulist(limits.allowed)),
        ("CPU set of the cgroup", limits.cpuset and format_cpulist(limits.cpuset)),
        ("CPU quota", limits.cpu_quota and plural(limits.cpu_quota, "CPU")),
        ("Memory limit", limits.memory_limit_bytes and size(limits.memory_limit_bytes)),
        ("Memory from nodes", limits.mems and format_cpulist(limits.mems)),
        ("Open files", limits.nofile and " to ".join(_limit(v) for v in limits.nofile)),
        ("Locked memory", limits.memlock_bytes and " to ".join(_limit(v, True) for v in limits.memlock_bytes)),
    ))  # fmt: skip


def _limit(value: int | None, in_bytes: bool = False) -> str:
    if value is None:
        return "unlimited"
    return size(value) if in_bytes else str(value)


# Software, plan


def software_table(software: Software) -> Table:
    """What the target interpreter runs, or of what it died."""
    yes = {True: "yes", False: "no", None: None}
    rows = _known((
        ("Interpreter", software.python),
        ("Outcome", None if software.outcome.ok else outcome_words(software.outcome.kind, software.outcome.detail)),
        ("Python", software.python_version),
        ("torch", software.torch_version),
        ("CUDA of torch", software.cuda or ("none: a CPU build" if software.torch_version else None)),
        ("CUDA devices", ", ".join(software.cuda_devices) or software.cuda_note),
        ("CPU kernels", software.cpu_capability),
        ("Can be capped by", "; ".join(caps_of(software)) if software.outcome.ok else None),
        ("Caps nothing", ", ".join(IMAGINED_CAPS) if software.outcome.ok else None),
        ("MKL", yes[software.mkl]),
        ("oneDNN", yes[software.onednn]),
        ("Threads", software.threads and f"{software.threads} intra-op, {software.interop_threads or '?'} inter-op"),
        *((f"Library {p.name}", _pool(p)) for p in software.pools),
        ("numpy", software.numpy_version),
        *((f"${name}", value or "(empty)") for name, value in sorted(software.environment.items())),
    ))  # fmt: skip
    return Table("The PyTorch that you run", ("Fact", "Value"), tuple(rows))


def _pool(pool: ThreadPool) -> str:
    facts = (
        pool.api,
        pool.version and f"version {pool.version}",
        pool.threads and plural(pool.threads, "thread"),
        pool.path,
    )
    return ", ".join(f for f in facts if f)


def outcome_words(kind: str, detail: str) -> str:
    """``ok``, or ``failed (signal): killed by SIGILL``."""
    return "ok" if kind == "ok" else f"failed ({kind})" + (f": {detail}" if detail else "")


def plan_table(launches: Sequence[Launch], workloads: Sequence[Workload]) -> Table:
    """What is going to be measured: every launch, and every workload with its work per iteration."""
    rows = [("launch", launch.name, launch.describe(), "") for launch in launches]
    rows += [("workload", w.name, w.title + (f" ({w.note})" if w.note else ""), _work(w)) for w in workloads]
    return Table("What is measured", ("Part", "Name", "What it is", "Work per iteration"), tuple(rows), frozenset({3}))


def _work(workload: Workload) -> str:
    """``17.2 GFLOP, 50.3 MB``: operations, and bytes read plus written."""
    return f"{count(workload.flops)}FLOP, {disk_size(workload.bytes)}"


# Results


def results_table(record: Record) -> Table:
    """Each workload as it runs today: speed or time with its interval, and how much that is of the ceiling."""
    roofs = {e.device: roof_of(record, e.device) for _, e in default_estimates(record)}
    rows = tuple(_result(w, e, roofs[e.device]) for w, e in default_estimates(record))
    header = ("Workload", "Device", "Today (95 % interval)", "Of the ceiling", "Processes / samples", "Evidence")
    return Table("As it runs today", header, rows, frozenset({2, 3, 4}))


def _result(workload: Workload, estimate: Estimate, roof: Roof) -> tuple[Cell, ...]:
    share = roof.share(workload, estimate.seconds.median)
    return (
        workload.title,
        estimate.device,
        value_words(workload, estimate),
        UNKNOWN if share is None else Share(share),
        f"{estimate.seconds.processes} / {estimate.seconds.samples}",
        Ids(estimate.measurements),
    )


def value_words(workload: Workload, estimate: Estimate) -> str:
    """A workload's speed or time in its unit, with its interval."""
    interval = estimate.seconds
    if interval.processes < 2:
        return f"{significant(workload.value(interval.median))} {workload.unit} (one process)"
    low, high = sorted((workload.value(interval.low), workload.value(interval.high)))
    return measured(workload.value(interval.median), low, high, workload.unit)


def ceilings_table(record: Record) -> Table:
    """The most that each device reached in this run."""
    rows = []
    for c in record.ceilings:
        unit = "FLOP/s" if c.kind == "compute" else "B/s, read plus written"
        rows.append((c.device, f"{c.kind}, {c.dtype}", f"{count(c.value)}{unit}", c.workload, Ids((c.measurement,))))
    header = ("Device", "Ceiling", "Most reached", "Workload", "Evidence")
    return Table("Ceilings: the most that was reached here", header, tuple(rows), frozenset({2}))


def engines_table(record: Record) -> Table:
    """The same matrix product by each library, under each Launch that it was measured under."""
    by_name = {w.name: w for w in record.workloads}
    found = [e for e in record.estimates if e.workload in ENGINES and e.device == "cpu" and e.workload in by_name]
    best = max((by_name[e.workload].value(e.seconds.median) for e in found), default=0.0)
    rows = tuple(
        (
            ENGINES[e.workload],
            e.launch,
            f"{by_name[e.workload].value(e.seconds.median):.0f} GFLOP/s",
            percent(by_name[e.workload].value(e.seconds.median) / best),
            Ids(e.measurements),
        )
        for e in sorted(found, key=lambda e: e.seconds.median)
    )
    header = ("Library", "Launch", "Speed", "Of the fastest here", "Evidence")
    return Table("The same product by each library", header, rows, frozenset({2, 3}))


def comparisons_table(record: Record) -> Table:
    """Every launch against today's default."""
    words = {launch.name: launch.describe() for launch in record.launches}
    rows = tuple(
        (
            c.workload,
            c.device,
            c.candidate,
            words.get(c.candidate, ""),
            c.phase,
            speedup(c.speedup),
            c.verdict if c.phase == "confirm" else "not judged",
            str(c.speedup.processes),
            Ids(c.measurements),
        )
        for c in record.comparisons
    )
    header = (
        "Workload",
        "Device",
        "Launch",
        "It sets",
        "Phase",
        "Speed-up (95 % interval)",
        "Verdict",
        "Pairs",
        "Evidence",
    )
    return Table("Launches against today's default", header, rows, frozenset({5, 7}))


def findings_table(record: Record) -> Table:
    """What is wrong or notable, the worst first."""
    found = sorted(record.findings, key=lambda f: SEVERITIES.index(f.severity))
    rows = tuple((f.severity, f.title, f.detail, Ids(f.evidence)) for f in found)
    return Table("Findings", ("Severity", "Finding", "Why it matters, what to do", "Evidence"), rows)


def recommendations_table(record: Record) -> Table:
    """What to change, in the order of the measured gain, and what to keep."""
    rows = tuple(
        (r.title, speedup(r.speedup) if r.speedup else "none shown", r.why, r.risk or "none known",
         r.undo or ("nothing to undo" if r.launch is None else UNKNOWN), Ids(r.evidence))
        for r in record.recommendations
    )  # fmt: skip
    header = ("Recommendation", "Speed-up (95 % interval)", "Why", "Risk", "How to take it back", "Evidence")
    return Table("Recommendations", header, rows, frozenset({1}))


def checks_table(record: Record) -> Table:
    """What was checked and is fine, and what could not be checked."""
    words = {"fine": "fine", "unchecked": "not checked"}
    rows = tuple((words[c.state], c.title, c.detail) for c in record.checks)
    return Table("Checks", ("State", "Check", "Detail"), rows)


def files_table(record: Record) -> Table:
    """The files beside the record."""
    return Table("Files", ("File", "What it is"), tuple((f.path, f.what) for f in record.files))


# Measurements


def measurements_table(measurements: Sequence[Measurement], caption: str = "All measurements") -> Table:
    """One row per process and workload, with an anchor of its id."""
    rows = tuple(_measurement(m) for m in measurements)
    header = ("Id", "Workload", "Launch", "Device", "Phase", "Process", "Samples", "Median", "Outcome", "Meanwhile")
    return Table(caption, header, rows, frozenset({5, 6, 7}), tuple(m.id for m in measurements))


def _measurement(m: Measurement) -> tuple[Cell, ...]:
    return (
        m.id, m.workload, m.launch, m.device, m.phase, str(m.process), str(len(m.seconds)),
        seconds(m.median_s) if m.seconds else "none",
        outcome_words(m.outcome.kind, m.outcome.detail),
        disturbance_words(m.disturbance),
    )  # fmt: skip


def failures_table(record: Record) -> Table:
    """The measurements that did not end well."""
    failed = [m for m in record.measurements if not m.outcome.ok]
    rows = tuple(
        (m.workload, m.launch, m.device, outcome_words(m.outcome.kind, m.outcome.detail), Ids((m.id,))) for m in failed
    )
    return Table("Measurements that failed", ("Workload", "Launch", "Device", "What happened", "Evidence"), rows)


def disturbance_words(d: Disturbance) -> str:
    """What the machine did meanwhile: what disturbs is said only where there was some."""
    parts = (
        d.load is not None and f"load {d.load:.2g}",
        d.other_cpu is not None and f"others {d.other_cpu:.2g} CPU",
        d.steal and f"steal {percent(d.steal)}",
        d.throttled_s and f"throttled {seconds(d.throttled_s)}",
        d.swapped_bytes and f"swapped {size(d.swapped_bytes)}",
        d.mhz is not None and f"{d.mhz:.0f} MHz",
    )
    return ", ".join(p for p in parts if p) or UNKNOWN
