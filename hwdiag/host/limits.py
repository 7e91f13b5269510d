"""Limits of this process, beside what the machine has."""

from __future__ import annotations

import re

from hwdiag.host.cgroup import read_cgroup
from hwdiag.host.cpulist import parse_cpulist
from hwdiag.host.model import Limits
from hwdiag.host.root import Root
from hwdiag.host.settings import LOCKED_MEMORY, OPEN_FILES, resource_limit


def read_limits(root: Root, online: tuple[int, ...], nodes: tuple[int, ...] = ()) -> Limits:
    """Return the affinity, cgroup and resource limits of this process; of a dump, those of the process that made it.

    ``online`` are the machine's online CPUs and ``nodes`` its NUMA nodes: a list that names all of them restricts
    nothing.
    """
    cgroup, shared = read_cgroup(root), root.shared_memory
    affinity = root.affinity
    if affinity is None:
        affinity = _status_list(root, "Cpus_allowed_list")
    cpuset = cgroup.cpus
    if cpuset is not None and set(online) <= set(cpuset):
        cpuset = None
    mems = _status_list(root, "Mems_allowed_list")
    if mems is None:
        mems = cgroup.mems
    if mems is not None and nodes:
        mems = tuple(n for n in mems if n in nodes)  # the kernel lists all nodes that could ever be
    return Limits(
        allowed=_both(affinity, cpuset, online),
        cpuset=cpuset,
        cpu_quota=cgroup.cpu_quota,
        memory_limit_bytes=cgroup.memory_bytes,
        mems=mems,
        cgroup_version=cgroup.version,
        nofile=resource_limit(root, OPEN_FILES),
        memlock_bytes=resource_limit(root, LOCKED_MEMORY),
        processes=resource_limit(root, "Max processes"),
        address_space_bytes=resource_limit(root, "Max address space"),
        pids=cgroup.pids,
        pids_now=cgroup.pids_now,
        shared_memory_bytes=None if shared is None else shared[0],
        shared_memory_free_bytes=None if shared is None else shared[1],
    )


def _both(affinity: tuple[int, ...] | None, cpuset: tuple[int, ...] | None, online: tuple[int, ...]) -> tuple[int, ...]:
    """Return the CPUs in all lists that are known; empty if none is."""
    known = [set(ids) for ids in (affinity, cpuset) if ids is not None]
    if not known:
        return ()
    if online:
        known.append(set(online))
    return tuple(sorted(set.intersection(*known)))


def _status_list(root: Root, key: str) -> tuple[int, ...] | None:
    """Return a list of /proc/self/status (proc(5))."""
    match = re.search(rf"^{key}:\s*(\S*)$", root.text("/proc/self/status") or "", re.MULTILINE)
    try:
        return parse_cpulist(match[1]) if match else None
    except ValueError as error:
        root.note("/proc/self/status", str(error))
        return None
