"""Disturbances of a measurement by the rest of the machine: load, steal time, throttling, swapping."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psutil

from hwdiag.host.cgroup import read_throttled_s
from hwdiag.host.root import Root
from hwdiag.process.measuring_lock import another_measures
from hwdiag.process.model import Disturbance


def oom_kills(root: Root) -> int:
    """Return the number of processes that the kernel has killed for want of memory since boot (``oom_kill`` in
    /proc/vmstat, Linux 4.13)."""
    match = re.search(r"^oom_kill (\d+)$", root.text("/proc/vmstat") or "", re.MULTILINE)
    return int(match[1]) if match else 0


T = TypeVar("T")


def told(read: Callable[[], T]) -> T | None:
    """Return what psutil reads, or None where this kernel or container does not have it."""
    try:
        return read()
    except (OSError, NotImplementedError, RuntimeError, ValueError):
        return None


def since(before: float | None, now: float | None) -> float | None:
    """Return the difference of two counters, or None if one is not told."""
    return None if before is None or now is None else now - before


@dataclass(frozen=True)
class Counters:
    """The kernel's counters so far, in seconds and bytes."""

    total: float | None
    """CPU time of all CPUs, idle included."""
    busy: float | None
    steal: float | None
    throttled: float | None
    swapped: float | None
    oom_kills: int


def read_counters(root: Root) -> Counters:
    """Return all counters now."""
    cpu, swap = told(psutil.cpu_times), told(psutil.swap_memory)
    total = None if cpu is None else sum(cpu[:8])  # the guest fields beyond are part of user and nice already
    return Counters(
        total=total,
        busy=None if cpu is None or total is None else total - cpu.idle - getattr(cpu, "iowait", 0.0),
        steal=getattr(cpu, "steal", None),
        throttled=read_throttled_s(root),
        swapped=None if swap is None else swap.sin + swap.sout,
        oom_kills=oom_kills(root),
    )


def slept_s() -> float:
    """Return the seconds since boot for which the machine was suspended: the monotonic clock leaves them out."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


class Watch:
    """Counters at the start of a child's life, compared with those at its end; nothing is polled in between."""

    def __init__(self) -> None:
        self.root = Root.live()
        self.started = time.monotonic()
        self.slept = slept_s()
        self.other_run = another_measures()
        self.load = told(psutil.getloadavg)
        self.before = read_counters(self.root)

    def ooms(self) -> int:
        """Return the number of processes killed for want of memory since the start."""
        return oom_kills(self.root) - self.before.oom_kills

    def stop(self, child_cpu_s: float | None) -> Disturbance:
        """Return what happened since the start, given the CPU seconds that the child used itself."""
        now, before = read_counters(self.root), self.before
        elapsed = time.monotonic() - self.started
        total, busy = since(before.total, now.total), since(before.busy, now.busy)
        steal, swapped = since(before.steal, now.steal), since(before.swapped, now.swapped)
        frequency = told(psutil.cpu_freq)
        return Disturbance(
            load=self.load[0] if self.load else None,
            other_cpu=None if busy is None or child_cpu_s is None else max(0.0, (busy - child_cpu_s) / elapsed),
            steal=steal / total if steal is not None and total else None,
            throttled_s=since(before.throttled, now.throttled),
            swapped_bytes=None if swapped is None else int(swapped),
            mhz=frequency.current if frequency and frequency.current else None,
            other_run=self.other_run or another_measures(),
            suspended_s=max(0.0, round(slept_s() - self.slept, 1)),
        )
