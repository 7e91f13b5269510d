"""The facts of a Host as a table, and as the words that other places show of them."""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag.host.cpulist import format_cpulist
from hwdiag.host.model import Build, Cache, Disk, Gpu, Hidden, Host, NumaNode
from hwdiag.report.format import UNKNOWN, cache_size, disk_size, plural, size
from hwdiag.report.section import Section
from hwdiag.report.table import Fact, join_few, known
from hwdiag.report.table import Table as Table

AGREE = 0.1
"""By which all nodes' memory and that of /proc/meminfo may differ, as a share: what the kernel keeps is in one."""


def host_table(host: Host) -> Table:
    """Return a table with every fact of a host, the unknown ones with their reason."""
    rows = [*_system(host), *_cpu(host), *_memory(host), *_devices(host), *_limits(host)]
    rows += [("Not readable", f"{gap.what}: {gap.why}") for gap in host.gaps]
    return Table(f"Facts of {host.label}", ("Fact", "Value"), tuple(rows))


def host_section(host: Host) -> Section:
    """Return the section on what this machine is."""
    has, may = len(host.cpu.online), len(host.usable_cpus)
    isa = host.cpu.isa.level if host.cpu.isa else "unknown instruction set"
    use = "all of its CPUs" if has == may else f"{may} of its {plural(has, 'CPU')}"
    quota = host.limits.cpu_quota
    paid = "" if quota is None else f", for {plural(quota, 'CPU')} worth of time"
    who = "This process" if host.is_here else "The process that read it there"
    verdict = (
        f"{host.cpu.model or 'A CPU of unknown model'}: {core_text(host)}, {isa}, "
        f"{size(host.memory.total_bytes)} of memory. {who} may use {use}{paid}."
    )
    return Section(verdict, (host_table(host),))


def _system(host: Host) -> list[Fact]:
    system = host.system
    kernel = " ".join(p for p in (system.kernel or UNKNOWN, system.arch) if p)
    return known((
        ("Host", system.hostname if system.hostname != UNKNOWN else None),
        ("Product", system.product),
        ("System", system.distribution),
        ("Kernel", kernel),
        ("Hypervisor", hypervisor_text(host)),
        ("Container", system.container),
    ))  # fmt: skip


def hypervisor_text(host: Host) -> str | None:
    """Return the hypervisor's name, also of one that only a CPU flag gives away, or None."""
    name = host.system.hypervisor
    return "a hypervisor of unknown make" if name == UNKNOWN else name


def _cpu(host: Host) -> list[Fact]:
    cpu = host.cpu
    isa = cpu.isa
    return known((
        ("Processor", cpu.model or UNKNOWN),
        ("Cores", core_text(host)),
        ("Kinds of cores", join_few([f"{k.cores} {k.name} (CPUs {format_cpulist(k.cpus)})" for k in cpu.kinds])
         if len(cpu.kinds) > 1 else None),
        ("Offline CPUs", format_cpulist(cpu.offline)),
        ("Instruction set", isa and isa.level),
        ("It has", isa and ", ".join(isa.features)),
        ("It lacks", isa and ", ".join(isa.missing)),
        ("Hidden from programs", isa and join_few([hidden_text(h) for h in isa.hidden])),
        ("SVE vectors", isa and isa.sve_bits and f"{isa.sve_bits} bits"),
        ("Compile for it with", isa and isa.build and _build(isa.build)),
        ("Caches", _caches(cpu.caches)),
        ("CPU clock", join_few([p for p in (cpu.governor and f"governor {cpu.governor}",
                                            cpu.driver and f"driver {cpu.driver}",
                                            None if cpu.boost is None else f"boost {'on' if cpu.boost else 'off'}")
                                if p])),
    ))  # fmt: skip


def hidden_text(hidden: Hidden) -> str:
    """Return hidden features as text: ``AVX2, FMA by the kernel (clearcpuid=avx2 on its command line)``."""
    return f"{', '.join(hidden.features) or 'some features'} by the {hidden.by} ({hidden.why})"


def _build(build: Build) -> str:
    target = f" calls it {build.target}" if build.target else ""
    return f"{build.flags} ({build.by}{target})"


def core_text(host: Host) -> str:
    """Return the cores as text: ``24 cores on 2 sockets, 48 CPUs, of which this process may use 44``."""
    cpu = host.cpu
    cores = plural(cpu.cores, "core") if cpu.cores else "cores unknown"
    sockets = f" on {plural(cpu.sockets, 'socket')}" if cpu.sockets else ""
    usable = len(host.usable_cpus)
    limit = f", of which this process may use {usable}" if usable < len(cpu.online) else ""
    return f"{cores}{sockets}, {plural(len(cpu.online), 'CPU')}{limit}"


def _caches(caches: Sequence[Cache]) -> str:
    """Return the caches as text: ``L1d 32 KiB x 24, L2 256 KiB x 24, L3 30 MiB x 2``."""
    tally: dict[str, int] = {}
    for cache in sorted(caches, key=lambda c: (c.level, c.type)):
        suffix = {"data": "d", "instruction": "i", "unified": ""}[cache.type]
        name = f"L{cache.level}{suffix} {cache_size(cache.size_bytes)}"
        tally[name] = tally.get(name, 0) + 1
    return join_few([f"{name} x {n}" for name, n in tally.items()])


def _memory(host: Host) -> list[Fact]:
    memory = host.memory
    swap = None if memory.swap_total_bytes is None else size(memory.swap_total_bytes)
    return known((
        ("Memory", f"{size(memory.total_bytes)}, {size(memory.available_bytes)} available"),
        ("Swap", "none" if memory.swap_total_bytes == 0 else swap),
        ("Pages", memory.page_bytes and size(memory.page_bytes)),
        ("Transparent huge pages", memory.transparent_hugepages),
        *((f"NUMA node {n.id}", _node(host, n)) for n in host.numa),
        ("Memory of the NUMA nodes", contradiction(host)),
    ))  # fmt: skip


def _node(host: Host, node: NumaNode) -> str:
    cpus = f"CPUs {format_cpulist(node.cpus)}" if node.cpus else "no CPUs"
    distances = f", distances {' '.join(map(str, node.distances))}" if len(node.distances) > 1 else ""
    return f"{cpus}, {node_memory(host, node)}{distances}"


def node_memory(host: Host, node: NumaNode) -> str:
    """Return a node's memory as text: unknown where the kernel's figures contradict each other."""
    known = node.memory_bytes is not None and contradiction(host) is None
    return size(node.memory_bytes) if known else "memory unknown"


def contradiction(host: Host) -> str | None:
    """Return that the nodes' memory is not that of the host, in words; None where they agree or one is not known.

    A virtual machine whose memory was grown or taken back, and a container with a /proc/meminfo of its own, have such.
    """
    sizes = [n.memory_bytes for n in host.numa if n.memory_bytes is not None]
    total = host.memory.total_bytes
    if total is None or not sizes or len(sizes) < len(host.numa) or abs(sum(sizes) / total - 1) <= AGREE:
        return None
    return f"left out: the kernel reports {size(sum(sizes))} for all nodes, and {size(total)} in /proc/meminfo"


def _devices(host: Host) -> list[Fact]:
    gpus = [(f"GPU {g.index}", _gpu(g)) for g in host.gpus] or [("GPU", f"none: {host.gpu_note or UNKNOWN}")]
    return gpus + [(f"Disk {d.name}", _disk(d)) for d in host.disks]


def _gpu(gpu: Gpu) -> str:
    throttled = f"throttled: {', '.join(gpu.throttle_reasons)}" if gpu.throttle_reasons else None
    facts = (
        gpu.name,
        gpu.integrated and "a part of the processor",
        gpu.vendor != "nvidia" and gpu.architecture,
        "unified memory" if gpu.unified_memory else f"{size(gpu.memory_bytes)} memory",
        gpu.compute_capability and f"compute capability {gpu.compute_capability}",
        gpu.sm_mhz is not None
        and f"{_clock(gpu.sm_mhz, gpu.sm_max_mhz)} ({'SM' if gpu.vendor == 'nvidia' else 'cores'})",
        gpu.memory_mhz is not None and f"{_clock(gpu.memory_mhz, gpu.memory_max_mhz)} (memory)",
        pcie_text(gpu),
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


def pcie_text(gpu: Gpu) -> str | None:
    """Return the PCIe link as text: ``PCIe 1 x16 now, up to 4 x16``; of an integrated GPU, that its link carries
    nothing.

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
    return known((
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
