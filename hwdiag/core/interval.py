"""An interval around a median, as every comparison gives it."""

from __future__ import annotations

from hwdiag.core.value import Value


class Interval(Value):
    """An estimate with its 95 % interval over processes.

    Of times a median with its bootstrap interval; of ratios the Hodges-Lehmann estimate with that of the signed-rank
    test.
    """

    median: float
    low: float
    high: float
    processes: int
    samples: int = 0
