"""Memory of this process over time: resident, and what torch has allocated on GPUs. At most some hundred points."""

import os
import time

MOST_POINTS = 400
EVERY_S = 0.2


class MemoryOverTime:
    """Points of memory; of two that are joined the higher one is kept."""

    def __init__(self, torch):
        self.torch = torch
        self.began = self.latest = time.monotonic()
        self.every = EVERY_S
        self.points = []

    def watch(self, now):
        """Called every now and then by the witness's thread."""
        if now - self.latest < self.every:
            return
        self.latest = now
        sizes = {"process": resident()}
        cuda = self.torch.cuda
        if cuda.is_initialized():
            for i in range(min(cuda.device_count(), 16)):
                sizes["GPU %d" % i] = cuda.memory_allocated(i)
        self.points.append([round(now - self.began, 3), sizes])
        if len(self.points) > MOST_POINTS:
            self.every *= 2
            joined = zip(self.points[::2], self.points[1::2])
            self.points = [[a[0], {k: max(a[1].get(k, 0), b[1].get(k, 0)) for k in b[1]}] for a, b in joined]

    def found(self):
        """Return the points, for the report."""
        return list(self.points)


def resident():
    """Return the bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
