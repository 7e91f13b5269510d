"""Data on caches of samples: CacheMeasurement, CacheCandidate, Caching. Sizes in bytes."""

from __future__ import annotations

from typing import Literal

from hwdiag.core.interval import Interval
from hwdiag.core.value import Value
from hwdiag.experiment.model import Verdict

CacheKind = Literal["page", "worker", "shared", "lmdb"]


class CacheMeasurement(Value):
    """Samples that were kept for a while: what they hold, and how fast they are made, written and read."""

    samples: int
    """How many it was measured with."""
    sample_bytes: float
    slot_bytes: int
    """Of the largest."""
    make_s: float
    """To read and decode one."""
    is_same: bool
    """Whether each is the same when it is made again; if not, a cache would end its random changes."""
    lmdb: str | None = None
    """Version of LMDB."""
    lmdb_missing: str = ""
    """Why there is none."""
    write_s: float | None = None
    """To write one, by one process."""
    stall_s: float | None = None
    """The longest that a transaction took."""
    stored_bytes: float | None = None
    """Of the file, for each."""
    cold_s: float | None = None
    """To read one back by one process, out of memory where the file system lets it."""
    warm_s: float | None = None
    """The same from memory."""
    free_bytes: int | None = None
    """Of the file system of the cache's folder."""


class CacheCandidate(Value):
    """One place where samples, or the files they are made of, could be kept."""

    kind: CacheKind
    needs_bytes: int
    """For all samples, by all workers together."""
    available_bytes: int
    """What there is for it, beside the loader."""
    keeps: int
    """Samples for which that suffices."""
    hit: float
    """Share of the reads that it answers from the second epoch on, 0..1: what it was measured with."""
    speedup: Interval | None = None
    """Over the same setting without it; of the page cache, over reading each file from the disk."""
    verdict: Verdict = "undecided"
    why: str = ""
    """Why it was not tried, or what the figure leaves out."""


class Caching(Value):
    """The caches for this data set and memory, and the one that pays."""

    kept: CacheMeasurement | None = None
    caches: tuple[CacheCandidate, ...] = ()
    chosen: CacheKind | None = None
    folder: str | None = None
    """Where LMDB's file was, and could be."""
    map_bytes: int | None = None
    """LMDB's map size for what it would keep."""
    readers: int | None = None
    """Processes that read it at the same time."""
    queue: int | None = None
    """Samples that wait at most where workers make them and one process writes; None where it is too slow for that."""
    why: str = ""
    """Why there is nothing to keep."""

    def of(self, kind: CacheKind) -> CacheCandidate | None:
        """Return the cache of this kind."""
        return next((c for c in self.caches if c.kind == kind), None)
