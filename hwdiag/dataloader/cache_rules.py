"""Rules on caches: the one that pays, in a sentence, and as a step of the plan."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.core.text import capitalised, gib
from hwdiag.dataloader.cache_model import CacheCandidate, Caching
from hwdiag.dataloader.model import Feed
from hwdiag.dataloader.plan import RATE, PlanStep

NAMES = {
    "page": "the page cache alone",
    "worker": "a cache in each worker",
    "shared": "a shared cache in /dev/shm",
    "lmdb": "LMDB on a local disk",
}
CLASSES = {"worker": "WorkerCache", "shared": "SharedCache", "lmdb": "LmdbCache"}
"""In ``sample_cache.py``, which was measured with and is handed out."""


def chosen(feed: Feed) -> CacheCandidate | None:
    """Return the cache that pays."""
    return feed.caching.of(feed.caching.chosen) if feed.caching and feed.caching.chosen else None


def verdict(caching: Caching | None) -> str:
    """Return one sentence on which cache pays, how large it is, and what it gives."""
    if caching is None or caching.kept is None:
        return f"No cache was measured: {caching.why if caching else 'the run did not get there'}."
    best = caching.of(caching.chosen) if caching.chosen else None
    if best is not None and best.speedup is not None:
        s, name = best.speedup, NAMES[best.kind]
        return (
            f"{capitalised(name)} pays: {best.keeps} samples in {gib(taken(best))}, which answer "
            f"{best.hit:.0%} of the reads, {s.median:.2f}x ({s.low:.2f} to {s.high:.2f})."
        )
    tried = [c for c in caching.caches if c.kind != "page" and c.speedup is not None]
    if not tried:
        whys = {c.why for c in caching.caches if c.kind != "page" and c.why} or {"there was no time to try one"}
        return f"No cache of samples was tried: {'; '.join(sorted(whys))}."
    nearest = max(tried, key=lambda c: c.speedup.median if c.speedup else 0.0)
    assert nearest.speedup is not None
    if nearest.verdict == "undecided":
        pairs = nearest.speedup.processes
        return (
            f"Undecided: {NAMES[nearest.kind]} gave {nearest.speedup.median:.2f}x in {pairs} "
            f"{'pair' if pairs == 1 else 'pairs'}, which is no proof."
        )
    return f"No cache of samples pays here: the nearest, {NAMES[nearest.kind]}, gave {nearest.speedup.median:.2f}x."


def taken(cache: CacheCandidate) -> float:
    """Return the bytes of the samples that a cache keeps."""
    return cache.needs_bytes * cache.hit


def step(feed: Feed) -> Iterator[PlanStep]:
    """Yield the step for the cache that pays, with its size and its way back."""
    best, caching = chosen(feed), feed.caching
    if best is None or best.speedup is None or caching is None:
        return
    s = best.speedup
    where = {
        "worker": f"{gib(taken(best))} in all workers together; they must be kept between epochs",
        "shared": f"{gib(taken(best))} of /dev/shm, filled during the first epoch",
        "lmdb": f"{gib(taken(best))} in {caching.folder}, a map of {gib(caching.map_bytes or 0)}, filled once",
    }[best.kind]
    undo = "take the line out again" + ("; remove the file" if best.kind == "lmdb" else "")
    yield PlanStep(
        title=f"Cache: {NAMES[best.kind]} for {best.keeps} decoded samples",
        gain=s.median,
        gain_text=f"{s.median:.2f}x ({s.low:.2f} to {s.high:.2f}), in {s.processes} pairs with the setting above, "
        f"once it is filled; it answers {best.hit:.0%} of the reads",
        do=f"put {CLASSES[best.kind]} of sample_cache.py around the Dataset as in dataloader.py ({where}); what is "
        "random, such as cropping and flipping, goes into its argument after",
        check=f"{RATE}: fewer workers may do with it. The accuracy stays as it was",
        undo=undo,
    )
