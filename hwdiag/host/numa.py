"""NUMA nodes, from /sys/devices/system/node."""

from __future__ import annotations

import re

from hwdiag.host.model import NumaNode
from hwdiag.host.root import Root

NODE = "/sys/devices/system/node"

_MEMINFO = re.compile(r"Node\s+\d+\s+(\w+):\s+(\d{1,15}) kB")


def read_numa(root: Root, online: tuple[int, ...]) -> tuple[NumaNode, ...]:
    """Return the nodes by id, which may have gaps. Those without CPUs (Optane, CXL, GPU memory) have an empty list.

    Empty where the kernel knows no NUMA.
    """
    ids = root.ids(NODE, "node")
    members = set(online)
    nodes = []
    for node in ids:
        folder = f"{NODE}/node{node}"
        cpus = root.cpulist(f"{folder}/cpulist")
        if cpus is None:
            cpus = root.cpumask(f"{folder}/cpumap")
        if cpus is None:
            root.note(folder, "does not name its CPUs")
        memory = _meminfo(root, f"{folder}/meminfo")
        nodes.append(
            NumaNode(
                id=node,
                cpus=tuple(c for c in cpus or () if c in members),
                memory_bytes=memory.get("MemTotal"),
                free_bytes=memory.get("MemFree"),
                distances=_distances(root, f"{folder}/distance", len(ids)),
            )
        )
    return tuple(nodes)


def nodes_of_cpus(nodes: tuple[NumaNode, ...]) -> dict[int, int]:
    """Return the node of each CPU, the first one where the kernel lists a CPU in several."""
    found: dict[int, int] = {}
    for node in nodes:
        for cpu in node.cpus:
            found.setdefault(cpu, node.id)
    return found


def _meminfo(root: Root, path: str) -> dict[str, int]:
    """Return the fields in bytes; the kernel's kB is 1024."""
    text = root.text(path)
    found = {key: int(kib) << 10 for key, kib in _MEMINFO.findall(text or "")}
    if text is not None and "MemTotal" not in found:
        root.note(path, "no MemTotal in it")
    return found


def _distances(root: Root, path: str, count: int) -> tuple[int, ...]:
    """Return one distance per node in the order of the ids (ACPI SLIT); empty if unknown."""
    text = root.text(path)
    if text is None:
        return ()
    words = text.split()
    if len(words) != count or not all(w.isascii() and w.isdecimal() and len(w) < 7 for w in words):
        root.note(path, f"not {count} distances: {text.strip()[:40]!r}")
        return ()
    return tuple(int(w) for w in words)
