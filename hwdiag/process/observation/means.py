"""What the machine did meanwhile: means over the time of all that is sampled of it."""

from __future__ import annotations

import math
import time

from hwdiag.host.sampling import Sampler


class Means:
    """Samples the machine when it is told to, and keeps the means."""

    def __init__(self, sampler: Sampler | None) -> None:
        self.sampler = sampler
        self._last = time.monotonic()
        self._sums: list[float] = []
        self._times: list[float] = []
        self._values: list[float] = []
        if sampler is not None:
            sampler.read(math.nan)  # what counters count from
            self._sums, self._times = [0.0] * len(sampler.columns), [0.0] * len(sampler.columns)

    def take(self) -> None:
        """Sample, and weigh it with the time since the last sample."""
        if self.sampler is None:
            return
        moment = time.monotonic()
        elapsed, self._last = moment - self._last, moment
        self._values = self.sampler.read(elapsed)
        for n, value in enumerate(self._values):
            if not math.isnan(value):
                self._sums[n] += value * elapsed
                self._times[n] += elapsed

    def gpus(self) -> list[float]:
        """Return the use of each GPU at the last sample, 0..1."""
        if self.sampler is None:
            return []
        pairs = zip(self.sampler.columns, self._values, strict=False)
        return [v / 100 for c, v in pairs if c.name.startswith("gpu") and c.name.endswith(".use") and not math.isnan(v)]

    def found(self) -> dict[str, float]:
        """Return the mean of each column that told something."""
        if self.sampler is None:
            return {}
        columns = zip(self.sampler.columns, self._sums, self._times, strict=True)
        return {column.name: total / took for column, total, took in columns if took > 0}
