"""A time limit that a process does not exceed only because others have the CPUs. Standard library only, Python 3.8."""

from __future__ import annotations

import os
import time
from typing import Callable, Dict, Optional, Tuple

from . import tree

Waits = Dict[Tuple[int, str], float]

LOOK_S = 1.0
"""How long it is looked at each time, beyond its limit."""
HELD_UP = 0.2
"""Share of a look in which one of its threads could run and had no CPU, from which on it is given another one."""


def waits_of(top: int) -> Waits:
    """Return for each thread of a process and of what it started the seconds in which it could run and had no CPU;
    none where the kernel does not count them (/proc/*/schedstat)."""
    found: Waits = {}
    for pid in tree.below(top) | {top}:
        try:
            for thread in os.listdir("/proc/%d/task" % pid):
                with open("/proc/%d/task/%s/schedstat" % (pid, thread)) as lines:
                    found[pid, thread] = int(lines.read().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            continue
    return found


class Patience:
    """The time limit of one answer. ``most``: how many times as long it may become."""

    def __init__(
        self,
        top: Optional[int],
        limit_s: float,
        most: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        waits: Callable[[int], Waits] = waits_of,
    ) -> None:
        self.top, self.limit_s, self.most, self.clock, self.waits = top, limit_s, most, clock, waits
        self.began = clock()
        self.until = self.began + limit_s
        self.seen: Optional[Tuple[float, Waits]] = None
        self.given_s = 0.0
        """Seconds beyond its limit in which it was seen to be held up."""

    def left(self) -> float:
        """Return the seconds until ``is_over`` should be asked."""
        return max(0.0, self.until - self.clock())

    def is_over(self) -> bool:
        """Return whether the time is up: it is, and the process was not held up since it was last looked at."""
        now = self.clock()
        if now < self.until:
            return False
        if self.most <= 1 or self.top is None:
            return True
        before, self.seen = self.seen, (now, self.waits(self.top))
        if before is not None:
            then, waits = before
            held = max((wait - waits.get(thread, 0.0) for thread, wait in self.seen[1].items()), default=0.0)
            if held < HELD_UP * (now - then):
                return True
            self.given_s += now - then
        elif not self.seen[1]:
            return True
        self.until = now + LOOK_S
        return now - self.began >= self.most * self.limit_s


def more(given_s: float) -> str:
    """Return how much longer it was given, as the end of a sentence; empty where it was not."""
    return ", %.0f s of them since others had the CPUs" % given_s if given_s >= 1 else ""
