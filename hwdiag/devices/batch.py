"""Search for the batch sizes that fit, and for the one of best throughput. Each size runs in a process of its own,
which may die of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from hwdiag.devices.model import BatchPoint, BatchSearch, Device
from hwdiag.devices.nets import NETS
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, Turn
from hwdiag.experiment.statistics import median_interval
from hwdiag.experiment.techniques import Mode
from hwdiag.process.launch import Launch

SHARE = 0.8
"""Of the usable memory that a process may take on a CPU: beyond it, a host swaps or kills in place of failing."""
RESOLUTION = 1 / 8
"""Of the largest size that fits, by which it is known."""
TIME_IS_UP = "the time was up"
TURN = Turn(warmup_s=0.0, window_s=0.2, windows=1, min_samples=3)


def search_batches(
    python: str,
    net: str,
    mode: Mode,
    device: Device,
    *,
    limit_bytes: int | None,
    slowest_s: float,
    most_s: float = math.inf,
    most: int = 4096,
    timeout_s: float = 120.0,
    seed: int = 1,
) -> BatchSearch:
    """Double the batch until it fails, then bisect, or stop where one takes longer than ``slowest_s``; return the sizes
    tried. After ``most_s`` no other size begins."""
    end = time.monotonic() + most_s
    env = {"HWDIAG_MEMORY_LIMIT": str(limit_bytes)} if limit_bytes is not None and device.is_cpu else {}
    block = InterleavedBlock(python, TURN, timeout_s=timeout_s)

    def measure(batch: int) -> BatchPoint:
        workload = NETS[net].workload(mode)
        workload = workload.model_copy(update={"size": {**workload.size, "batch": batch}})
        candidate = Candidate(Launch(env=env), [workload], check=False)
        block.run([candidate], device=device.name, seed=seed)
        result = candidate.results[workload.name]
        return BatchPoint(
            batch=batch,
            seconds=median_interval(result.seconds).median if result.outcome.ok else None,
            peak_bytes=result.peak_device_bytes or result.peak_rss_bytes,
            outcome=result.outcome,
        )

    points, stopped = double_and_bisect(measure, slowest_s, most, lambda: time.monotonic() >= end)
    return BatchSearch(net=net, mode=mode, device=device.name, points=points, limit_bytes=limit_bytes, stopped=stopped)


def double_and_bisect(
    measure: Callable[[int], BatchPoint], slowest_s: float, most: int, is_over: Callable[[], bool] = lambda: False
) -> tuple[tuple[BatchPoint, ...], str]:
    """Return the points in order of their size, and why no larger one was tried where the largest fitted."""
    points: list[BatchPoint] = []
    batch = 1
    while True:
        points.append(measure(batch))
        last = points[-1]
        if not last.outcome.ok or last.seconds is None:
            break
        if last.seconds > slowest_s:
            return tuple(points), f"a batch of {batch} takes {last.seconds:.1f} s"
        if batch >= most:
            return tuple(points), f"no more than {most} were to be tried"
        if is_over():
            return tuple(points), TIME_IS_UP
        batch *= 2
    low, high = batch // 2, batch
    while points[-1].outcome.kind == "out-of-memory" or len(points) > 1:
        middle = (low + high) // 2
        if middle <= low or high - low <= RESOLUTION * low:
            break
        if is_over():
            return by_size(points), f"and fewer than {high}; {TIME_IS_UP}"
        points.append(measure(middle))
        if points[-1].outcome.ok:
            low = middle
        else:
            high = middle
    return by_size(points), ""


def by_size(points: Iterable[BatchPoint]) -> tuple[BatchPoint, ...]:
    """Return the points in order of their size."""
    return tuple(sorted(points, key=lambda p: p.batch))
