"""Kinds of cores: one on a usual machine; P-cores and E-cores, Cortex-X925 and A725, on a mixed one."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import pairwise

from hwdiag.host.arm import part_name
from hwdiag.host.caches import read_l1d
from hwdiag.host.cpuinfo import CpuInfo
from hwdiag.host.model import CoreKind
from hwdiag.host.root import Root
from hwdiag.host.topology import CPU, Topology, core_parts

X86_KINDS = (("cpu_core", "P-core"), ("cpu_atom", "E-core"), ("cpu_lowpower", "LP E-core"))
"""Performance monitoring units of hybrid x86, one per kind of core, and what Intel calls the cores."""

CLASS_GAP = 1.15
"""Least ratio of maximum frequencies, or capacities, between two kinds of cores.

Favoured cores of one kind differ by a few per cent (5.2 and 5.0 GHz on an i7-1370P), kinds by a quarter (3.9 and 5.0).
"""


def max_mhz(root: Root, online: tuple[int, ...]) -> dict[int, float]:
    """Return the highest frequency of each CPU in MHz, where cpufreq tells it (in kHz)."""
    khz = {c: root.integer(f"{CPU}/cpu{c}/cpufreq/cpuinfo_max_freq") for c in online}
    return {c: k / 1000 for c, k in khz.items() if k}


def capacities(root: Root, online: tuple[int, ...]) -> dict[int, int]:
    """Return ``cpu_capacity`` of each CPU, 1024 for the fastest; Arm has it, and newer kernels on x86."""
    found = {c: root.integer(f"{CPU}/cpu{c}/cpu_capacity") for c in online}
    return {c: v for c, v in found.items() if v is not None and v > 0}


def read_kinds(
    root: Root, info: CpuInfo, topology: Topology, mhz: dict[int, float], capacity: dict[int, int], model: str | None
) -> tuple[CoreKind, ...]:
    """Return the kinds of cores, the fastest first.

    Told apart by what names them: the part number on Arm, the kernel's own sorting on hybrid x86. Only where neither
    exists do clearly different capacities or maximum frequencies tell. ``model`` names the only kind of a usual
    machine.
    """
    online = topology.online
    names = _by_part(root, info, online) or _by_pmu(root, online) or _by_class(online, capacity, mhz)
    names = names or _by_l1d(root, info, online)
    groups: dict[str, list[int]] = {}
    for cpu in online:
        groups.setdefault(names.get(cpu, model or "unknown"), []).append(cpu)
    kinds = (
        CoreKind(
            name=name,
            cpus=tuple(cpus),
            cores=len({topology.core[c] for c in cpus}),
            max_mhz=max((mhz[c] for c in cpus if c in mhz), default=None),
            capacity=max((capacity[c] for c in cpus if c in capacity), default=None),
        )
        for name, cpus in groups.items()
    )
    return tuple(sorted(kinds, key=lambda k: (-(k.capacity or 0), -(k.max_mhz or 0), k.name)))


def _by_part(root: Root, info: CpuInfo, online: tuple[int, ...]) -> dict[int, str]:
    return {cpu: part_name(*ids) for cpu, ids in core_parts(root, info, online).items()}


def _by_pmu(root: Root, online: tuple[int, ...]) -> dict[int, str]:
    """Return the kinds by /sys/devices/cpu_core/cpus and the like (perf-intel-hybrid in tools/perf/Documentation of
    Linux)."""
    names = {c: name for pmu, name in X86_KINDS for c in root.cpulist(f"/sys/devices/{pmu}/cpus") or ()}
    return names if set(online) <= set(names) else {}


def _by_class(online: tuple[int, ...], *measures: dict[int, int] | dict[int, float]) -> dict[int, str]:
    """Return the kinds by the first measure that all CPUs have and that splits them into classes more than
    ``CLASS_GAP`` apart."""
    for measure in measures:
        values = sorted({measure[c] for c in online if c in measure})
        if not values or set(online) > set(measure):
            continue
        # Each value belongs to the class of the next lower one, unless it is clearly higher.
        classes = {values[0]: 0}
        for lower, value in pairwise(values):
            classes[value] = classes[lower] + (value >= lower * CLASS_GAP)
        count = classes[values[-1]] + 1
        if count > 1:
            return {c: _class_name(classes[measure[c]], count) for c in online}
    return {}


def _by_l1d(root: Root, info: CpuInfo, online: tuple[int, ...]) -> dict[int, str]:
    """Return the kinds of x86 cores by the size of their first data cache, where it differs and nothing else tells:
    Lakefield has one core of 48 KiB and 3.0 GHz beside four of 32 KiB and 2.8 GHz."""
    if info.first("flags") is None:
        return {}
    sizes = {c: cache.size_bytes for cache in read_l1d(root, online) for c in cache.cpus}
    ranks = {size: rank for rank, size in enumerate(sorted(set(sizes.values())))}
    return (
        {c: _class_name(ranks[sizes[c]], len(ranks)) for c in online}
        if len(ranks) > 1 and len(sizes) == len(online)
        else {}
    )


def _class_name(rank: int, count: int) -> str:
    """Return the name of the class of this rank, 0 for the slowest. Two classes are what the field calls P-cores and
    E-cores; more are only numbered."""
    if count == 2:
        return ("E-core", "P-core")[rank]
    return f"core class {count - rank}"


def family(root: Root, info: CpuInfo, topology: Topology) -> str | None:
    """Return ``family/model/stepping`` of x86, ``implementer/part`` of Arm, joined by commas where CPUs differ."""
    found: dict[Hashable, None] = {}
    parts = core_parts(root, info, topology.online)
    for cpu in topology.online:
        if cpu in parts:
            found[f"{parts[cpu][0]:#04x}/{parts[cpu][1]:#05x}"] = None
        else:
            numbers = [info.number(cpu, key) for key in ("cpu family", "model", "stepping")]
            if None not in numbers:
                found["/".join(str(n) for n in numbers)] = None
    return ",".join(str(f) for f in found) or None
