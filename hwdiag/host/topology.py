"""Topology of the CPUs: their cores and packages."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from hwdiag.host.arm import from_midr
from hwdiag.host.cpuinfo import CpuInfo
from hwdiag.host.root import Root, parse_integer

CPU = "/sys/devices/system/cpu"


@dataclass(frozen=True)
class Topology:
    """Online CPUs with their core and socket, both numbered 0.. in the order of their first CPU.

    ``known`` is False where neither sysfs nor cpuinfo tells cores and sockets: each CPU then counts as a core of its
    own in one socket, so that the rest of the program has something to work with.
    """

    online: tuple[int, ...]
    offline: tuple[int, ...]
    core: dict[int, int]
    socket: dict[int, int]
    known: bool


def read_topology(root: Root, info: CpuInfo) -> Topology:
    """Return online and offline CPUs, cores and sockets, from sysfs and else from cpuinfo.

    Sources: Documentation/admin-guide/cputopology.rst of Linux; ``core_cpus_list`` is the newer name of
    ``thread_siblings_list``, ``package_cpus_list`` of ``core_siblings_list``.
    """
    online = _online(root, info)
    present = root.cpulist(f"{CPU}/present") or root.ids(CPU, "cpu")
    offline = tuple(c for c in present if c not in set(online)) if online else ()
    packages = _packages(root, info, online)
    cores = _cores(root, info, online, packages)
    return Topology(
        online=online,
        offline=offline,
        core=_number(cores or {c: c for c in online}),
        socket=_number(packages or dict.fromkeys(online, 0)),
        known=bool(cores and packages),
    )


def core_parts(root: Root, info: CpuInfo, online: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """Return the implementer and part number of each Arm CPU; empty unless all are known."""
    parts: dict[int, tuple[int, int]] = {}
    for cpu in online:
        implementer, part = info.number(cpu, "CPU implementer"), info.number(cpu, "CPU part")
        if implementer is None or part is None:
            midr = root.word(f"{CPU}/cpu{cpu}/regs/identification/midr_el1")
            try:
                implementer, part = from_midr(parse_integer(midr or "", 16))
            except ValueError:
                return {}
        parts[cpu] = implementer, part
    return parts


def _online(root: Root, info: CpuInfo) -> tuple[int, ...]:
    online = root.cpulist(f"{CPU}/online")
    ids = root.ids(CPU, "cpu")
    known = tuple(sorted({*(online or ())} & {*ids}))
    if online and ids and known != online:
        root.note(f"{CPU}/online", f"names {len(online)} CPUs, of which {len(known)} have a folder")
        online = known
    if online:
        if info.cpus and set(info.cpus) != set(online):
            root.note("/proc/cpuinfo", f"lists {len(info.cpus)} CPUs, {CPU}/online {len(online)}")
        return online
    if online is not None:
        root.note(f"{CPU}/online", "empty")
    described = tuple(c for c in ids if root.exists(f"{CPU}/cpu{c}/topology"))  # an offline CPU loses this folder
    off = set(root.cpulist(f"{CPU}/offline") or ())
    return tuple(c for c in described or ids if c not in off) or tuple(sorted(info.cpus))


def _packages(root: Root, info: CpuInfo, online: tuple[int, ...]) -> dict[int, Hashable]:
    """Return a key per CPU that is the same for all CPUs of a package; empty if unknown.

    The id goes before the sibling list, which old kernels (3.10) split in Cluster-on-Die mode; the list stands in
    where firmware gives no id (-1, POWER). s390 numbers its packages within a book and a drawer.
    """
    keys: dict[int, Hashable] = {}
    outer = [n for n in ("drawer_id", "book_id") if online and root.exists(f"{CPU}/cpu{online[0]}/topology/{n}")]
    for cpu in online:
        folder = f"{CPU}/cpu{cpu}/topology"
        package = root.integer(f"{folder}/physical_package_id")
        if package is not None and package >= 0:
            keys[cpu] = (*(root.integer(f"{folder}/{n}") for n in outer), package)
        elif (siblings := _siblings(root, cpu, "package_cpus_list", "core_siblings_list")) is not None:
            keys[cpu] = ("siblings", siblings[0])
        elif (physical := info.number(cpu, "physical id")) is not None:
            keys[cpu] = (physical,)
        else:
            return {}
    if _one_chip(root, info, online, keys):
        return dict.fromkeys(online, 0)
    return keys


def _one_chip(root: Root, info: CpuInfo, online: tuple[int, ...], keys: dict[int, Hashable]) -> bool:
    """Return whether the packages are really clusters of one chip: older Arm kernels call a cluster a package.

    Packages with different cores in them are: nobody builds a board of several sockets that way.
    """
    if len(set(keys.values())) < 2:
        return False
    parts = core_parts(root, info, online)
    mixes: dict[Hashable, set[tuple[int, int]]] = {}
    for cpu in parts:
        mixes.setdefault(keys[cpu], set()).add(parts[cpu])
    return len({frozenset(mix) for mix in mixes.values()}) > 1


def _cores(root: Root, info: CpuInfo, online: tuple[int, ...], packages: dict[int, Hashable]) -> dict[int, Hashable]:
    """Return a key per CPU that is the same for all CPUs of a core; empty if unknown."""
    keys: dict[int, Hashable] = {}
    for cpu in online:
        siblings = _siblings(root, cpu, "core_cpus_list", "thread_siblings_list")
        core = root.integer(f"{CPU}/cpu{cpu}/topology/core_id") if siblings is None else None
        if core is None and siblings is None:
            core = info.number(cpu, "core id")
        if siblings is not None:
            keys[cpu] = ("siblings", siblings[0])
        elif core is not None and core >= 0:
            keys[cpu] = (packages.get(cpu), core)
        else:
            return {}
    return keys


def _siblings(root: Root, cpu: int, *names: str) -> tuple[int, ...] | None:
    """Return the first of these lists of CPUs that is there. A list without the CPU itself is wrong."""
    for name in names:
        path = f"{CPU}/cpu{cpu}/topology/{name}"
        siblings = root.cpulist(path)
        if siblings is None:
            continue
        if cpu in siblings:
            return siblings
        root.note(path, f"does not name CPU {cpu} itself")
    return None


def _number(keys: dict[int, Hashable]) -> dict[int, int]:
    """Return a number for the key of each CPU: 0.. in the order in which the keys appear."""
    numbers: dict[Hashable, int] = {}
    return {cpu: numbers.setdefault(key, len(numbers)) for cpu, key in sorted(keys.items(), key=lambda item: item[0])}
