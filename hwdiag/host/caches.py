"""Caches, each instance once, from /sys/devices/system/cpu/cpuN/cache."""

from __future__ import annotations

import re
from typing import Literal

from hwdiag.host.model import Cache
from hwdiag.host.root import Root
from hwdiag.host.topology import CPU

TYPES: dict[str, Literal["data", "instruction", "unified"]] = {
    "Data": "data",
    "Instruction": "instruction",
    "Unified": "unified",
}

_SIZE = re.compile(r"(\d{1,12})([KMG]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def read_caches(root: Root, online: tuple[int, ...]) -> tuple[Cache, ...]:
    """Return all cache instances of the online CPUs, by level, type and first CPU; empty where sysfs tells none.

    An instance is a level, a type and the CPUs that share it. A size that is not told (phones) is 0.
    Source: Documentation/ABI/testing/sysfs-devices-system-cpu of Linux.
    """
    found: dict[tuple[int, str, tuple[int, ...]], Cache] = {}
    seen: dict[str, set[int]] = {}
    members = set(online)
    for cpu in online:
        folder = f"{CPU}/cpu{cpu}/cache"
        for index in (n for n in root.names(folder) if n.startswith("index")):
            # The sharers of an instance read under the same index need not be read again: half of all files.
            if cpu in seen.setdefault(index, set()):
                continue
            cache = _read_one(root, f"{folder}/{index}", cpu, members)
            if cache is not None:
                found.setdefault((cache.level, cache.type, cache.cpus), cache)
                seen[index].update(cache.cpus)
    return tuple(sorted(found.values(), key=lambda c: (c.level, c.type, c.cpus)))


def read_l1d(root: Root, online: tuple[int, ...]) -> tuple[Cache, ...]:
    """Return the first data cache of each online CPU whose size is told."""
    members = set(online)
    found = (_read_one(root, f"{CPU}/cpu{cpu}/cache/index0", cpu, members) for cpu in online)
    return tuple(c for c in found if c is not None and (c.level, c.type) == (1, "data") and c.size_bytes)


def _read_one(root: Root, folder: str, cpu: int, members: set[int]) -> Cache | None:
    level, kind = root.integer(f"{folder}/level"), root.word(f"{folder}/type")
    if level is None or kind is None:
        return None
    if kind not in TYPES or not 0 < level < 10:
        root.note(folder, f"not a cache: level {level}, type {kind[:20]!r}")
        return None
    sharers = root.cpumask(f"{folder}/shared_cpu_map")  # goes before the list, as for lscpu and hwloc
    if sharers is None:
        sharers = root.cpulist(f"{folder}/shared_cpu_list")
    if sharers is None or cpu not in sharers:
        root.note(folder, "does not say which CPUs share it")
        return None
    return Cache(
        level=level,
        type=TYPES[kind],
        size_bytes=_size(root, f"{folder}/size"),
        cpus=tuple(c for c in sharers if c in members),
    )


def _size(root: Root, path: str) -> int:
    """Return ``512K`` in bytes (the kernel's K is 1024), or 0 if unknown."""
    word = root.word(path)
    match = _SIZE.fullmatch(word) if word is not None else None
    if match is None:
        if word is not None:
            root.note(path, f"not a size: {word[:20]!r}")
        return 0
    return int(match[1]) * _UNITS[match[2]]
