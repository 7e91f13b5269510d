"""Limits that the control groups of a process set, version 1, version 2 and both at once.

Functions that take a ``process`` are about this one (``self``) where they are not given another's process id.

Sources: cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of Linux.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hwdiag.host.cpulist import parse_cpulist
from hwdiag.host.root import Root

V1_NO_LIMIT = 1 << 62
"""Version 1 says "no limit" as the largest page-aligned 64-bit number; no machine has this much memory."""

KINDS = ("cgroup", "cgroup2", "cpuset")
"""File systems of control groups. Kernels before 2.6.24 have cpusets alone, as a file system of their own (cpuset(7));
later ones mount one as version 1 with the one controller."""

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Hierarchy:
    """One mounted cgroup hierarchy and where a process is in it."""

    version: int
    controllers: frozenset[str]
    """Of version 1; version 2 names them in files."""
    folders: tuple[str, ...]
    """The process's own group and its ancestors up to the mount point, nearest first."""


@dataclass(frozen=True)
class CgroupLimits:
    """Limits over all hierarchies; None where nothing limits."""

    version: int | None = None
    cpu_quota: float | None = None
    """CPUs' worth of time per period."""
    memory_bytes: int | None = None
    cpus: tuple[int, ...] | None = None
    mems: tuple[int, ...] | None = None
    pids: int | None = None
    pids_now: int | None = None


def read_cgroup(root: Root, process: str = "self") -> CgroupLimits:
    """Return the tightest limits over the process's groups and all their ancestors.

    ``version`` is 1 where the ``cpu`` controller is mounted as version 1, else 2 where version 2 is mounted.
    """
    hierarchies = read_hierarchies(root, process)
    quotas: list[float | None] = []
    memories: list[int | None] = []
    tasks: list[tuple[int, int | None]] = []
    cpus = mems = None
    for hierarchy in hierarchies:
        for folder in hierarchy.folders:
            tasks += _pids(root, hierarchy, folder)
            quotas.append(_quota(root, hierarchy, folder))
            memories.append(_memory(root, hierarchy, folder))
        cpus = cpus or _cpuset(root, hierarchy, "cpus")
        mems = mems or _cpuset(root, hierarchy, "mems")
    pids, pids_now = min(tasks, key=lambda t: t[0] - (t[1] or 0), default=(None, None))
    version = 2 if any(h.version == 2 for h in hierarchies) else None
    if any(h.version == 1 and "cpu" in h.controllers for h in hierarchies):
        version = 1
    return CgroupLimits(
        version=version,
        cpu_quota=min((q for q in quotas if q is not None), default=None),
        memory_bytes=min((m for m in memories if m is not None), default=None),
        cpus=cpus,
        mems=mems,
        pids=pids,
        pids_now=pids_now,
    )


def throttled_file(root: Root) -> str | None:
    """Return the nearest ``cpu.stat`` that counts how long a CPU quota has stopped this process's group."""
    files = (f"{folder}/cpu.stat" for hierarchy in read_hierarchies(root) for folder in hierarchy.folders)
    return next((f for f in files if parse_throttled(root.text(f) or "") is not None), None)


def parse_throttled(text: str) -> float | None:
    """Return the seconds of throttling in the text of a ``cpu.stat``."""
    match = re.search(r"^throttled_(usec|time) (\d+)$", text, re.MULTILINE)
    return int(match[2]) / (1e6 if match[1] == "usec" else 1e9) if match else None  # version 2, version 1


def read_throttled_s(root: Root) -> float | None:
    """Return the seconds for which a CPU quota has stopped this process's group so far; None where no group counts
    that."""
    file = throttled_file(root)
    return parse_throttled(root.text(file) or "") if file else None


# Where the process is


def read_hierarchies(root: Root, process: str = "self") -> tuple[Hierarchy, ...]:
    """Return each mounted hierarchy, and where in it the process is."""
    paths = _paths(root, process)
    found = []
    for version, place, top, options in _mounts(root):
        # A named hierarchy (name=systemd) has no controllers, and so no limits.
        controllers = frozenset() if version == 2 else options - {"rw", "ro"}
        path = next((p for keys, p in paths if keys & controllers or (version == 2 and not keys)), None)
        if path is None:
            # Dumps often keep the cpuset path only; it is the same for all where there is one hierarchy.
            path = root.word(f"/proc/{process}/cpuset") if version == 2 or "cpuset" in controllers else "/"
        found.append(Hierarchy(version, controllers, _ancestors(place, top, path or "/")))
    return tuple(found)


def _paths(root: Root, process: str) -> list[tuple[frozenset[str], str]]:
    """Return the controllers and the path of each line of /proc/PID/cgroup; version 2 names no controllers."""
    lines = (root.text(f"/proc/{process}/cgroup") or "").splitlines()
    parts = (line.split(":", 2) for line in lines)
    return [(frozenset(p[1].split(",")) - {""}, p[2]) for p in parts if len(p) == 3]


def _mounts(root: Root) -> list[tuple[int, str, str, frozenset[str]]]:
    """Return the version, the mount point, the group that is mounted there, and the options of each cgroup mount.

    In a container the mounted group is not the top of the hierarchy; only mountinfo tells it.
    """
    found = []
    for line in (root.text("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) >= 5 and len(kind) >= 3 and kind[0] in KINDS:
            found.append((_version(kind[0]), _plain(fields[4]), _plain(fields[3]), _options(kind[0], kind[2])))
    if found:
        return found
    mounts = root.text("/proc/self/mounts") or root.text("/proc/mounts") or ""
    for fields in (line.split() for line in mounts.splitlines()):
        if len(fields) >= 4 and fields[2] in KINDS:
            found.append((_version(fields[2]), _plain(fields[1]), "/", _options(fields[2], fields[3])))
    return found


def _options(kind: str, text: str) -> frozenset[str]:
    return frozenset(text.split(",")) | ({"cpuset"} if kind == "cpuset" else set())


def _version(kind: str) -> int:
    return 2 if kind == "cgroup2" else 1


def _plain(path: str) -> str:
    r"""Return a path of a mount table without its octal escapes (``\040`` for a blank, proc(5))."""
    return _OCTAL.sub(lambda m: chr(int(m[1], 8)), path)


def _ancestors(place: str, top: str, path: str) -> tuple[str, ...]:
    """Return the folders of the group ``path`` and its ancestors, where the group ``top`` is mounted at ``place``.

    A group outside of what is mounted cannot be seen (another namespace shows it as ``/../..``): the mount point itself
    is then the nearest.
    """
    top = top.rstrip("/")
    if top and path != top and not path.startswith(top + "/"):
        path = top
    names = [n for n in path[len(top) :].split("/") if n not in ("", ".")]
    names = [] if ".." in names else names
    place = place.rstrip("/")
    return tuple("/".join([place, *names[:count]]) for count in range(len(names), -1, -1))


# What a group allows


def _quota(root: Root, hierarchy: Hierarchy, folder: str) -> float | None:
    if hierarchy.version == 2:
        words = (root.word(f"{folder}/cpu.max") or "max").split()
        quota, period = words[0], words[1] if len(words) > 1 else "100000"
    elif "cpu" in hierarchy.controllers:
        quota = root.word(f"{folder}/cpu.cfs_quota_us") or "-1"
        period = root.word(f"{folder}/cpu.cfs_period_us") or "100000"
    else:
        return None
    if quota in ("max", "-1"):
        return None
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError, OverflowError):
        share = 0
    if share <= 0:
        root.note(folder, f"not a CPU quota: {quota[:20]!r} of {period[:20]!r}")
        return None
    return share


def _memory(root: Root, hierarchy: Hierarchy, folder: str) -> int | None:
    if hierarchy.version == 2:
        path = f"{folder}/memory.max"
        if (root.word(path) or "max") == "max":
            return None
    elif "memory" in hierarchy.controllers:
        path = f"{folder}/memory.limit_in_bytes"
    else:
        return None
    limit = root.integer(path)
    return limit if limit is not None and 0 <= limit < V1_NO_LIMIT else None


def _pids(root: Root, hierarchy: Hierarchy, folder: str) -> list[tuple[int, int | None]]:
    """Return the most tasks that a group may have and the tasks that it has; nothing where it is not limited."""
    if hierarchy.version != 2 and "pids" not in hierarchy.controllers:
        return []
    limit = root.word(f"{folder}/pids.max")
    if limit is None or not limit.isdecimal() or len(limit) > 9:
        return []
    return [(int(limit), root.integer(f"{folder}/pids.current"))]


def _cpuset(root: Root, hierarchy: Hierarchy, what: str) -> tuple[int, ...] | None:
    """Return the CPUs or memory nodes of the nearest group that tells them; each is within its ancestors' already."""
    if hierarchy.version == 2:
        names: tuple[str, ...] = (f"cpuset.{what}.effective",)
    elif "cpuset" in hierarchy.controllers:
        names = (f"cpuset.effective_{what}", f"cpuset.{what}", what)  # the last one without the prefix, mount -t cpuset
    else:
        return None
    for folder in hierarchy.folders:
        for name in names:
            if (word := root.word(f"{folder}/{name}")) is not None:
                try:
                    return parse_cpulist(word)
                except ValueError as error:
                    root.note(f"{folder}/{name}", str(error))
    return None
