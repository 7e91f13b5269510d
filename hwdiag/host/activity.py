"""Present activity of the machine: counters over a short while, and the GPUs at their busiest in it."""

from __future__ import annotations

import re
import time

from hwdiag.core.value import Value
from hwdiag.host.gpu import open_gpus
from hwdiag.host.model import Gpu
from hwdiag.host.root import Root

STEP_S = 0.25
"""Seconds between two looks at the GPUs."""


class Activity(Value):
    """Counters of the kernel over a while. None where it does not tell, or where nobody was there to watch."""

    seconds: float = 0
    """How long was watched; 0 for a dump or a snapshot."""
    swapped_in_pages: int | None = None
    """Pages read back from swap meanwhile (pswpin of /proc/vmstat)."""
    memory_stall: float | None = None
    """Share of the time in which some process waited for memory, 0..1 (pressure stall information)."""
    io_stall: float | None = None
    """The same for reading and writing."""
    dropped_packets: int | None = None
    """Packets that did not fit a CPU's backlog queue, since boot (second column of /proc/net/softnet_stat)."""
    gpus: tuple[Gpu, ...] = ()
    """Each GPU at the moment of its highest utilisation."""


def watch(root: Root, seconds: float) -> Activity:
    """Watch the live machine for a while; of any other, only what its counters tell."""
    if root.source != "live":
        return Activity(dropped_packets=_dropped(root))
    before, began = _counters(root), time.monotonic()
    busiest: dict[int, Gpu] = {}
    with open_gpus(root) as gpus:
        while True:
            for gpu in gpus.read()[0]:
                if (gpu.utilization or 0) >= (busiest[gpu.index].utilization or 0 if gpu.index in busiest else 0):
                    busiest[gpu.index] = gpu
            left = began + seconds - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(STEP_S, left))
    after, took = _counters(root), time.monotonic() - began
    pages, memory, io = (None if a is None or b is None else a - b for a, b in zip(after, before, strict=True))
    return Activity(
        seconds=round(took, 3),
        swapped_in_pages=pages,
        memory_stall=None if memory is None else min(memory / 1e6 / took, 1.0),
        io_stall=None if io is None else min(io / 1e6 / took, 1.0),
        dropped_packets=_dropped(root),
        gpus=tuple(busiest.values()),
    )


def _counters(root: Root) -> tuple[int | None, int | None, int | None]:
    """Return the pages swapped in, and the microseconds stalled on memory and on I/O, since boot."""
    return (
        _number(root, "/proc/vmstat", r"^pswpin (\d+)$"),
        _number(root, "/proc/pressure/memory", r"^some .*total=(\d+)$"),
        _number(root, "/proc/pressure/io", r"^some .*total=(\d+)$"),
    )


def _number(root: Root, path: str, pattern: str) -> int | None:
    match = re.search(pattern, root.text(path) or "", re.MULTILINE)
    return int(match[1]) if match else None


def _dropped(root: Root) -> int | None:
    """Return the dropped packets, summed over CPUs; the columns are hexadecimal."""
    text = root.text("/proc/net/softnet_stat")
    columns = [line.split() for line in (text or "").splitlines()]
    try:
        return sum(int(c[1], 16) for c in columns) if columns else None
    except (ValueError, IndexError):
        return None
