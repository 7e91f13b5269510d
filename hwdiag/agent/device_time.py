"""Times of a workload on its accelerator, by events on a held queue beside the wall clock.

The wall clock has what starting kernels costs the host in it. Here the queue is held by other work until all that is
timed has been queued, so that kernels follow each other without a gap. Cold: each call meets an L2 cache that the work
before it has filled with something else; warm: what the call before it left, as in the loop that the wall clock times.
"""

import time

WARM_SAMPLES, COLD_SAMPLES = 5, 10
MOST_LOOPS = 100
"""Of one sample: a queue takes some thousand kernels, and a net's call starts some hundred."""
HOLD = 2.0
"""Times as long as queueing takes is the queue held."""
HOLD_MORE_S = 5e-5
CACHES = 4
"""The work that holds the queue writes so many times the L2 cache."""
FLUSH_BYTES = 256 * 2**20
"""Where the size of the cache is not told."""


class Holder:
    """Work that keeps a queue busy, and fills the L2 cache with something else."""

    def __init__(self, torch, used):
        get = getattr(used.module, "get_device_properties", None)
        cache = getattr(get(used.index) if get else None, "L2_cache_size", None)
        self.room = torch.empty(CACHES * cache if cache else FLUSH_BYTES, dtype=torch.uint8, device=used.name)
        self.used = used
        self.room.zero_()
        used.synchronize()
        start = time.perf_counter()
        for _ in range(WARM_SAMPLES):
            self.room.zero_()
        used.synchronize()
        self.each_s = (time.perf_counter() - start) / WARM_SAMPLES

    def hold(self, seconds):
        """Queue work for so long at least."""
        for _ in range(1 + int(seconds / self.each_s)):
            self.room.zero_()


def timed(torch, used, step, loops):
    """Return ``warm_s`` and ``cold_s``: the seconds of an iteration, one for each sample.

    None of a step that waits for the device by itself, which no queue can hold, and where events or memory are missing.
    """
    nothing = {"warm_s": None, "cold_s": None}
    if used is None or getattr(used, "event", None) is None or used.event() is None:
        return nothing
    holder = Holder(torch, used)
    start = time.perf_counter()
    step()
    queueing_s = time.perf_counter() - start
    used.synchronize()
    loops = max(1, min(loops, MOST_LOOPS))
    warm = [sample(used, holder, step, loops, queueing_s, before=1) for _ in range(WARM_SAMPLES)]
    if None in warm:
        return nothing
    cold = [sample(used, holder, step, 1, queueing_s, before=0) for _ in range(COLD_SAMPLES)]
    return {"warm_s": warm, "cold_s": None if None in cold else cold}


def sample(used, holder, step, loops, queueing_s, before):
    """Return the seconds per iteration of so many; None where the queue ran empty meanwhile. ``before``: iterations
    that are not counted."""
    first, last = used.event(), used.event()
    holder.hold(HOLD * queueing_s * (loops + before) + HOLD_MORE_S)
    for _ in range(before):
        step()
    first.record()
    for _ in range(loops):
        step()
    last.record()
    if first.query():
        return None
    used.synchronize()
    return first.elapsed_time(last) / 1e3 / loops
