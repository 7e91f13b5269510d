"""Main memory, from /proc/meminfo."""

from __future__ import annotations

import re

from hwdiag.host.model import Memory, NumaNode
from hwdiag.host.root import Root
from hwdiag.host.settings import HUGE_PAGES, read_file

_LINE = re.compile(r"^(\w+):\s+(\d{1,15}) kB$", re.MULTILINE)


def read_memory(root: Root, nodes: tuple[NumaNode, ...] = ()) -> Memory:
    """Return the memory, sizes in bytes. Without /proc/meminfo the total is the sum of the nodes' memory, where all
    tell theirs."""
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
        transparent_hugepages=_huge_pages(root),
    )


def _huge_pages(root: Root) -> str | None:
    """Return for which programs there are transparent huge pages."""
    now = read_file(root, HUGE_PAGES)
    if now is None or " " not in now:
        return now
    root.note(HUGE_PAGES, f"nothing chosen in {now[:40]!r}")
    return None
