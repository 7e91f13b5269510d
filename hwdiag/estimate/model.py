"""What estimating works with: ceilings of a device."""

from __future__ import annotations

from typing import Literal

from hwdiag.model import Value


class Ceiling(Value):
    """The most that this device reached of something in this run."""

    device: str
    kind: Literal["compute", "memory"]
    dtype: str
    """``float32``, ``bfloat16``; for memory the type of the arrays."""
    value: float
    """FLOP/s, or bytes/s (read plus written)."""
    workload: str
    measurement: str
    """The process whose median it is: the fastest one."""
