"""What else the machine did while a child measured: load, steal time, throttling, swapping."""

from __future__ import annotations

import re
import time

import psutil

from hwdiag.host.cgroup import read_throttled_s
from hwdiag.host.root import Root
from hwdiag.measure.model import Disturbance


def oom_kills(root: Root) -> int:
    """Processes that the kernel has killed for want of memory since boot (``oom_kill`` in /proc/vmstat, Linux 4.13)."""
    match = re.search(r"^oom_kill (\d+)$", root.text("/proc/vmstat") or "", re.MULTILINE)
    return int(match[1]) if match else 0


def swapped_bytes() -> int:
    """Bytes swapped in and out since boot."""
    swap = psutil.swap_memory()
    return int(swap.sin + swap.sout)


class Watch:
    """Counters at the start of a child's life, compared with those at its end; nothing is polled in between."""

    def __init__(self) -> None:
        self.root = Root.live()
        self.started = time.monotonic()
        self.cpu = psutil.cpu_times()
        self.load = psutil.getloadavg()[0]
        self.throttled = read_throttled_s(self.root)
        self.swapped = swapped_bytes()
        self.oom_kills = oom_kills(self.root)

    def ooms(self) -> int:
        """Processes killed for want of memory since the start."""
        return oom_kills(self.root) - self.oom_kills

    def stop(self, child_cpu_s: float | None) -> Disturbance:
        """What happened since the start, given the CPU seconds that the child used itself."""
        elapsed = time.monotonic() - self.started
        now = psutil.cpu_times()
        steal = getattr(now, "steal", 0.0) - getattr(self.cpu, "steal", 0.0)
        total = sum(now[:8]) - sum(self.cpu[:8])  # the guest fields beyond are part of user and nice already
        busy = total - (now.idle - self.cpu.idle) - (getattr(now, "iowait", 0.0) - getattr(self.cpu, "iowait", 0.0))
        throttled = read_throttled_s(self.root)
        frequency = psutil.cpu_freq()
        return Disturbance(
            load=self.load,
            other_cpu=max(0.0, (busy - child_cpu_s) / elapsed) if child_cpu_s is not None and elapsed > 0 else None,
            steal=steal / total if total > 0 else None,
            throttled_s=throttled - self.throttled if throttled is not None and self.throttled is not None else None,
            swapped_bytes=swapped_bytes() - self.swapped,
            mhz=frequency.current if frequency and frequency.current else None,
        )
