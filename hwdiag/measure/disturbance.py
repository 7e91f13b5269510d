"""What else the machine did while a child measured: load, steal time, throttling, swapping."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

from hwdiag.measure.model import Disturbance

CPU_STAT = (Path("/sys/fs/cgroup/cpu.stat"), Path("/sys/fs/cgroup/cpu/cpu.stat"))
"""Inside a container's cgroup namespace these are its own; on a bare host the root has no throttling to tell."""


def throttled_s() -> float | None:
    """Seconds for which the cgroup's CPU quota has stopped its tasks so far (cgroup v2 and v1), None if not told."""
    for path in CPU_STAT:
        with contextlib.suppress(OSError, ValueError):
            stat = dict(line.split() for line in path.read_text().splitlines())
            if "throttled_usec" in stat:
                return int(stat["throttled_usec"]) / 1e6
            if "throttled_time" in stat:
                return int(stat["throttled_time"]) / 1e9
    return None


def oom_kills() -> int:
    """Processes that the kernel has killed for want of memory since boot (``oom_kill`` in /proc/vmstat)."""
    with contextlib.suppress(OSError, ValueError):
        return int(dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines()).get("oom_kill", "0"))
    return 0


def swapped_bytes() -> int:
    """Bytes swapped in and out since boot."""
    swap = psutil.swap_memory()
    return int(swap.sin + swap.sout)


class Watch:
    """Counters at the start of a child's life, compared with those at its end; nothing is polled in between."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.cpu = psutil.cpu_times()
        self.load = psutil.getloadavg()[0]
        self.throttled = throttled_s()
        self.swapped = swapped_bytes()
        self.oom_kills = oom_kills()

    def ooms(self) -> int:
        """Processes killed for want of memory since the start."""
        return oom_kills() - self.oom_kills

    def stop(self, child_cpu_s: float | None) -> Disturbance:
        """What happened since the start, given the CPU seconds that the child used itself."""
        elapsed = time.monotonic() - self.started
        now = psutil.cpu_times()
        steal = getattr(now, "steal", 0.0) - getattr(self.cpu, "steal", 0.0)
        total = sum(now[:8]) - sum(self.cpu[:8])  # the guest fields beyond are part of user and nice already
        busy = total - (now.idle - self.cpu.idle) - (getattr(now, "iowait", 0.0) - getattr(self.cpu, "iowait", 0.0))
        throttled = throttled_s()
        frequency = psutil.cpu_freq()
        return Disturbance(
            load=self.load,
            other_cpu=max(0.0, (busy - child_cpu_s) / elapsed) if child_cpu_s is not None and elapsed > 0 else None,
            steal=steal / total if total > 0 else None,
            throttled_s=throttled - self.throttled if throttled is not None and self.throttled is not None else None,
            swapped_bytes=swapped_bytes() - self.swapped,
            mhz=frequency.current if frequency and frequency.current else None,
        )
