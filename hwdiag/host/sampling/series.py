"""Samples of the machine that are taken one after the other, each over the time since the one before."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from hwdiag.host.sampling import Sampler


class SampleSeries:
    """Takes samples when it is told to, and counts what they cost."""

    def __init__(self, sampler: Sampler, now: Callable[[], float] = time.monotonic) -> None:
        """``now``: the clock, in seconds."""
        self.sampler, self.now = sampler, now
        sampler.read(math.nan)  # what counters count from
        self.began = self.last = now()
        self.count = 0
        self.cpu_s = 0.0
        self._sums = [0.0] * len(sampler.columns)
        self._times = [0.0] * len(sampler.columns)

    @property
    def seconds(self) -> float:
        """Return the seconds from the beginning to the last sample."""
        return self.last - self.began

    def take(self) -> Sequence[float]:
        """Read everything once."""
        before = time.thread_time()
        moment = self.now()
        elapsed, self.last = moment - self.last, moment
        values = self.sampler.read(elapsed)
        self.count += 1
        for n, value in enumerate(values):
            if not math.isnan(value):
                self._sums[n] += value * elapsed
                self._times[n] += elapsed
        self.cpu_s += time.thread_time() - before
        return values

    def means(self) -> dict[str, float]:
        """Return the mean over the time of each column that told something."""
        columns = zip(self.sampler.columns, self._sums, self._times, strict=True)
        return {column.name: total / took for column, total, took in columns if took > 0}
