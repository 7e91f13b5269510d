"""Measuring budgets of the input pipeline, and the data that it measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hwdiag.core.value import Value


class FeedBudget(Value):
    """The times and counts of one budget."""

    total_s: float
    window_s: float
    warmup_s: float
    rounds: int
    most_pairs: int
    start_methods: bool = False
    """Whether a worker is started in each way, to see what it holds and how long that takes."""
    race_starts: bool = False
    """Whether the ways to start are raced too, though they change the start of an epoch more than its batches."""


BUDGETS: dict[Literal["quick", "standard", "thorough"], FeedBudget] = {
    "quick": FeedBudget(total_s=50, window_s=0.4, warmup_s=0.1, rounds=1, most_pairs=8),
    "standard": FeedBudget(total_s=300, window_s=0.7, warmup_s=0.2, rounds=3, most_pairs=12, start_methods=True),
    "thorough": FeedBudget(
        total_s=900, window_s=2.0, warmup_s=0.5, rounds=6, most_pairs=30, start_methods=True, race_starts=True
    ),
}


@dataclass(frozen=True)
class Data:
    """The data to read: pictures of a folder, or a Python file with ``build_dataset()``."""

    words: str
    folder: str
    """Where the data lies; of a file, the file's own folder, which need not be that of its data."""
    file: str | None = None
    size: int = 224
    broken: str | None = None
    """File that workers write the names of broken pictures to."""
    cache_folder: str | None = None
    """Folder on a local disk in which a cache of samples could be; None where none is to be tried."""
