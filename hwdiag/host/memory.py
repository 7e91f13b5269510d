"""Main memory, from /proc/meminfo."""

from __future__ import annotations

import re

from hwdiag.host.model import Memory, NumaNode
from hwdiag.host.root import Root

_LINE = re.compile(r"^(\w+):\s+(\d{1,15}) kB$", re.MULTILINE)
_CHOSEN = re.compile(r"\[(\w+)\]")


def read_memory(root: Root, nodes: tuple[NumaNode, ...] = ()) -> Memory:
    """Sizes in bytes. Without /proc/meminfo the total is the sum of the nodes' memory, where all tell theirs."""
    text = root.text("/proc/meminfo")
    sizes = {key: int(kib) << 10 for key, kib in _LINE.findall(text or "")}
    if text is not None and "MemTotal" not in sizes:
        root.note("/proc/meminfo", "no MemTotal in it")
    total = sizes.get("MemTotal")
    if total is None and nodes:
        known = [n.memory_bytes for n in nodes if n.memory_bytes is not None]
        total = sum(known) if len(known) == len(nodes) else None
    return Memory(
        total_bytes=total,
        available_bytes=sizes.get("MemAvailable"),
        swap_total_bytes=sizes.get("SwapTotal"),
        swap_free_bytes=sizes.get("SwapFree"),
        page_bytes=root.page_bytes,
        transparent_hugepages=chosen(root, "/sys/kernel/mm/transparent_hugepage/enabled"),
    )


def chosen(root: Root, path: str) -> str | None:
    """The word in brackets of a kernel setting such as ``always [madvise] never``."""
    text = root.text(path)
    match = _CHOSEN.search(text) if text is not None else None
    if text and match is None:
        root.note(path, f"nothing chosen in {text.strip()[:40]!r}")
    return match[1] if match else None
