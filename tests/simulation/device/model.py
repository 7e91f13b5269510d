"""When a simulated GPU has done its work: a virtual clock, queues that run beside it, events, memory, faults.

Nothing waits. Starting a kernel moves the host's clock by what a launch costs and the stream's end by what the kernel
takes; to synchronise is to move the clock to that end.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path

from .profiles import Profile

BLOCK = 512
"""Bytes of the smallest allocation; torch's allocator gets memory from the driver in pieces of ``SEGMENT``."""
SEGMENT = 2 << 20


class Clock:
    """The host's virtual time in seconds, which all devices share."""

    now = 0.0


class SimError(RuntimeError):
    """An error as CUDA's runtime gives it."""


class SimOutOfMemory(SimError):
    """No memory is left on the device."""


@dataclass
class Stream:
    """A queue of a device, in order."""

    end: float = 0.0
    """When it has run empty."""
    waiting: deque[float] = field(default_factory=deque)
    """The ends of kernels that may not have begun."""


class Cache:
    """The L2: which allocations lie in it, the oldest first."""

    def __init__(self, size: int) -> None:
        self.size, self.used, self.held = size, 0, OrderedDict[int, int]()

    def touch(self, key: int, count: int) -> bool:
        """Bring an allocation in, and return whether it was there whole."""
        hit = self.forget(key) >= count
        if count <= self.size:
            self.held[key] = count
            self.used += count
        else:  # what streams through displaces all else
            self.held.clear()
            self.used = 0
        while self.used > self.size:
            self.used -= self.held.popitem(last=False)[1]
        return hit

    def forget(self, key: int) -> int:
        """Drop an allocation, and return how much of it was there."""
        count = self.held.pop(key, 0)
        self.used -= count
        return count


class Device:
    """One simulated GPU."""

    def __init__(self, index: int, profile: Profile, *, state: Path | None = None, limit: int | None = None) -> None:
        self.index, self.profile, self.state = index, profile, state
        self.limit = profile.memory_bytes if limit is None else limit
        self.streams = [Stream()]
        self.stream = self.streams[0]
        self.engines = {"compute": 0.0, "to": 0.0, "from": 0.0}
        self.cache = Cache(profile.l2_bytes)
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self.warm_s, self.cooled_at = 0.0, 0.0
        self.busy_s = self.copied_s = 0.0
        self.launches = self.vanishes_at = 0
        self.error = self.comes = ""
        """What every call raises from now on; what the kernel that is started next leaves."""
        self.near: frozenset[int] | None = None
        """CPUs of its own NUMA node, where there are several nodes."""
        self.spans: list[tuple[str, float, float, float]] | None = None
        """Of a trace: name, launched at, begun, ended."""
        self._told = ""

    def check(self) -> None:
        """Raise the error that an earlier kernel left: it stays for as long as the process lives."""
        if self.error:
            raise SimError(f"CUDA error: {self.error}")

    def launch(self, seconds: float, name: str = "kernel", engine: str = "compute", *, clocked: bool = True) -> float:
        """Start something that takes so long on an engine, and return when it ends. ``clocked``: a lower clock makes it
        longer."""
        self.check()
        self.launches += 1
        if self.vanishes_at and self.launches >= self.vanishes_at:
            self.vanish()
        Clock.now += self.profile.launch_s
        stream, launched = self.stream, Clock.now
        while len(stream.waiting) and stream.waiting[0] <= Clock.now:
            stream.waiting.popleft()
        if len(stream.waiting) >= self.profile.queue:
            Clock.now = stream.waiting.popleft()
        begin = max(Clock.now, stream.end, self.engines[engine])
        if clocked:
            seconds /= self.speed(begin)
        stream.end = self.engines[engine] = begin + seconds
        stream.waiting.append(begin)
        if engine == "compute":
            self.warm_s += seconds
            self.busy_s += seconds
            self.cooled_at = stream.end
        else:
            self.copied_s += seconds
        if self.spans is not None:
            self.spans.append((name, launched, begin, stream.end))
        return stream.end

    def copy_rate(self, *, pinned: bool) -> float:
        """Return the bytes a second between its memory and the host's, for this process where it may run."""
        rate = self.profile.pinned if pinned else self.profile.pageable
        is_near = self.near is None or os.sched_getaffinity(0) <= self.near
        return rate if is_near else rate * self.profile.far

    def vanish(self) -> None:
        """Fall off the bus, for this process and all that come."""
        self.error = "unspecified launch failure"
        if self.state is not None:
            (self.state / "vanished").touch()
        self.check()

    def speed(self, at: float) -> float:
        """Return the share of its boost clock at this time; it cools down as fast as it got warm."""
        if at > self.cooled_at:
            self.warm_s = max(0.0, self.warm_s - (at - self.cooled_at))
            self.cooled_at = at
        is_slow = self.warm_s >= self.profile.boost_s
        self.tell(is_slow)
        return self.profile.sustained if is_slow else 1.0

    def tell(self, is_slow: bool) -> None:
        """Write what NVML would say of it into the file that the stand-in reads."""
        if self.state is None:
            return
        p = self.profile
        share = p.sustained if is_slow else 1.0
        told = json.dumps(
            {"mhz": p.mhz * share, "reasons": p.throttled_by if is_slow else 0, "watts": p.watts * share, "use": 100}
        )
        if told != self._told:
            self._told = told
            file = self.state / f"gpu{self.index}.json"
            scratch = file.with_suffix(f".{os.getpid()}")
            scratch.write_text(told)
            scratch.replace(file)

    def synchronise(self) -> None:
        """Wait for all streams."""
        Clock.now = max([Clock.now, *(s.end for s in self.streams)]) + self.profile.synchronise_s
        self.check()

    def take(self, count: int) -> None:
        """Allocate memory. Raises as CUDA does where there is none."""
        self.check()
        count = -(-count // BLOCK) * BLOCK
        if self.allocated + count > self.limit:
            raise SimOutOfMemory(
                f"CUDA out of memory. Tried to allocate {count / 2**20:.2f} MiB. GPU {self.index} has a total capacity "
                f"of {self.limit / 2**30:.2f} GiB of which {(self.limit - self.allocated) / 2**20:.2f} MiB is free."
            )
        self.allocated += count
        if self.allocated > self.reserved:
            self.reserved = -(-self.allocated // SEGMENT) * SEGMENT
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def give_back(self, count: int) -> None:
        self.allocated -= -(-count // BLOCK) * BLOCK

    def empty_cache(self) -> None:
        self.reserved = -(-self.allocated // SEGMENT) * SEGMENT


class SimEvent:
    """An event of a device's stream."""

    def __init__(self, device: Device, *, enable_timing: bool = False) -> None:
        self.device, self.enable_timing = device, enable_timing
        self.at: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        self.device.check()
        self.at = max(Clock.now, (stream or self.device.stream).end)

    def query(self) -> bool:
        return self.at is None or self.at <= Clock.now

    def synchronize(self) -> None:
        Clock.now = max(Clock.now, self.at or 0.0) + self.device.profile.synchronise_s
        self.device.check()

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream wait for it."""
        target = stream or self.device.stream
        target.end = max(target.end, self.at or 0.0)

    def elapsed_time(self, other: SimEvent) -> float:
        """Return milliseconds."""
        if not (self.enable_timing and other.enable_timing):
            raise ValueError("both events must be created with enable_timing=True")
        if self.at is None or other.at is None or other.at > Clock.now:
            raise SimError("CUDA error: device not ready")
        return 1e3 * (other.at - self.at)
