"""The processors: everything about them put together."""

from __future__ import annotations

from hwdiag.host.arm import vendor_name
from hwdiag.host.caches import read_caches
from hwdiag.host.compilers import read_build, server_build
from hwdiag.host.cpuinfo import CpuInfo
from hwdiag.host.hiding import hidden_features
from hwdiag.host.isa import isa_of, riscv_isa, sve_bits
from hwdiag.host.kinds import capacities, family, max_mhz, read_kinds
from hwdiag.host.model import CoreKind, Cpu, Isa, LogicalCpu, NumaNode
from hwdiag.host.numa import nodes_of_cpus
from hwdiag.host.root import Root
from hwdiag.host.settings import BOOST, GOVERNOR, NO_TURBO, POLICY_BOOST, read_file, read_files
from hwdiag.host.system import kernel_options
from hwdiag.host.topology import CPU, Topology, core_parts


def read_cpu(root: Root, info: CpuInfo, topology: Topology, nodes: tuple[NumaNode, ...], arch: str) -> Cpu:
    """Return names, topology, kinds, caches, flags and frequency settings of all online CPUs."""
    online = topology.online
    mhz, capacity = max_mhz(root, online), capacities(root, online)
    name = _model_name(info)
    kinds = read_kinds(root, info, topology, mhz, capacity, name)
    flags = info.flags()
    vendor = _vendor(info, online)
    return Cpu(
        vendor=vendor,
        model=name or _joined(kinds),
        family=family(root, info, topology),
        microcode=",".join(sorted(info.all("microcode"))) or None,
        sockets=len(set(topology.socket.values())) if topology.known else None,
        cores=len(set(topology.core.values())) if topology.known else None,
        online=online,
        offline=topology.offline,
        smt=len(set(topology.core.values())) < len(online) if topology.known else None,
        logical=_logical(topology, nodes, kinds, mhz, capacity),
        kinds=kinds,
        caches=read_caches(root, online),
        flags=flags,
        isa=_isa(root, info, topology, arch, vendor, name, len(kinds) > 1),
        governor=_governor(root),
        driver=_driver(root, online),
        boost=_boost(root),
    )


def _isa(
    root: Root, info: CpuInfo, topology: Topology, arch: str, vendor: str | None, model: str | None, mixed: bool
) -> Isa | None:
    """Return the level and the features, what hides some, and how to compile for what is left."""
    flags = info.flags()
    isa = isa_of(arch, flags) if arch != "riscv64" else riscv_isa(info.all("isa"))
    if isa is None:
        return None
    hidden = hidden_features(
        kernel_options(root.word("/proc/cmdline")),
        hypervisor="hypervisor" in flags,
        vendor=vendor,
        model=model,
        family=family(root, info, topology),
        have=isa.features,
    )
    parts = (part for _, part in core_parts(root, info, topology.online).values())
    built = read_build(root, arch, isa.level, flags, vendor, parts, mixed=mixed)
    build = built and server_build(built, family(root, info, topology), model, flags)
    return isa.model_copy(update={"sve_bits": sve_bits(root), "hidden": hidden, "build": build})


def _model_name(info: CpuInfo) -> str | None:
    """Return the marketing name. Arm kernels only print a placeholder ("ARMv8 Processor rev 1"): the part number is
    better."""
    name = info.first("model name", "Model Name", "cpu", "cpu model", "uarch")
    if name is None or info.first("CPU implementer"):
        return None
    return " ".join(name.split()) or None


def _joined(kinds: tuple[CoreKind, ...]) -> str | None:
    return " + ".join(k.name for k in kinds if k.name != "unknown") or None


def _vendor(info: CpuInfo, online: tuple[int, ...]) -> str | None:
    implementer = next((n for c in online if (n := info.number(c, "CPU implementer")) is not None), None)
    return vendor_name(implementer) if implementer is not None else info.first("vendor_id", "mvendorid")


def _logical(
    topology: Topology,
    nodes: tuple[NumaNode, ...],
    kinds: tuple[CoreKind, ...],
    mhz: dict[int, float],
    capacity: dict[int, int],
) -> tuple[LogicalCpu, ...]:
    node_of = nodes_of_cpus(nodes)
    kind_of = {cpu: index for index, kind in enumerate(kinds) for cpu in kind.cpus}
    return tuple(
        LogicalCpu(
            id=cpu,
            core=topology.core[cpu],
            socket=topology.socket[cpu],
            node=node_of.get(cpu),
            max_mhz=mhz.get(cpu),
            capacity=capacity.get(cpu),
            kind=kind_of[cpu],
        )
        for cpu in topology.online
    )


def _governor(root: Root) -> str | None:
    """Return the cpufreq governor; the values joined by commas where CPUs differ."""
    return ",".join(sorted({s.now for s in read_files(root, *GOVERNOR) if s.now})) or None


def _driver(root: Root, online: tuple[int, ...]) -> str | None:
    """Return the cpufreq driver: the kernel has one for all."""
    return root.word(f"{CPU}/cpu{online[0]}/cpufreq/scaling_driver") if online else None


def _boost(root: Root) -> bool | None:
    """Return whether frequencies above the base one are allowed, by the switch of intel_pstate, of cpufreq, or of each
    policy.

    Source: Documentation/admin-guide/pm/intel_pstate.rst and cpufreq.rst of Linux.
    """
    if (off := read_file(root, NO_TURBO)) in ("0", "1"):
        return off == "0"
    if (on := read_file(root, BOOST)) in ("0", "1"):
        return on == "1"
    each = [s.now for s in read_files(root, *POLICY_BOOST) if s.now in ("0", "1")]
    return "1" in each if each else None
