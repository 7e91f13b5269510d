"""Main memory, from /proc/meminfo."""

from __future__ import annotations

import re

from hwdiag.core.text import gib
from hwdiag.host.model import Memory, NumaNode
from hwdiag.host.root import Root
from hwdiag.host.settings import HUGE_PAGES, read_file

MOST_APART = 0.1
"""Share by which the nodes' memory may differ from the whole: some per cent on old kernels."""

_LINE = re.compile(r"^(\w+):\s+(\d{1,15}) kB$", re.MULTILINE)


def read_memory(root: Root, nodes: tuple[NumaNode, ...] = ()) -> Memory:
    """Return the memory, sizes in bytes. Without /proc/meminfo the total is the sum of the nodes' memory, where all
    tell theirs."""
    text = root.text("/proc/meminfo")
    sizes = {key: int(kib) << 10 for key, kib in _LINE.findall(text or "")}
    if text is not None and "MemTotal" not in sizes:
        root.note("/proc/meminfo", "no MemTotal in it")
    total = sizes.get("MemTotal")
    _compare(root, total, [n.memory_bytes for n in nodes])
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


def _compare(root: Root, total: int | None, nodes: list[int | None]) -> None:
    """Note where the nodes' memory is not the machine's: a hypervisor gives memory, or takes it, while it runs."""
    together = sum(size or 0 for size in nodes)
    if total and nodes and None not in nodes and abs(together - total) > MOST_APART * total:
        why = f"the nodes have {gib(together)} together, /proc/meminfo {gib(total)}: it grows or shrinks as the VM runs"
        root.note("memory of the NUMA nodes", why)


def _huge_pages(root: Root) -> str | None:
    """Return for which programs there are transparent huge pages."""
    now = read_file(root, HUGE_PAGES)
    if now is None or " " not in now:
        return now
    root.note(HUGE_PAGES, f"nothing chosen in {now[:40]!r}")
    return None
