"""Columns of numbers that are sampled, and sources that read some of them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hwdiag.core.value import Value


class Column(Value):
    """One number that is sampled."""

    name: str
    """``cpu3.use``: what it is about, then what is told of it."""
    unit: str
    """``%``, ``MHz``, ``B``, ``B/s``, ``1/s``, ``W``, ``°C``; ``bits`` are NVML's reasons for a low clock."""
    title: str


@dataclass
class Source:
    """Columns that are read together. NaN stands for what is not told at that moment."""

    columns: tuple[Column, ...]
    read: Callable[[float], Sequence[float]]
    """Called with the seconds since the last call; values in the order of the columns."""
    close: Callable[[], None] = lambda: None
