"""Search for the cache that pays: the size of each is computed, its gain is measured.

A cache that never throws out what it has answers the share of the reads for which it has room. One that throws out what
was used the longest ago, as the page cache about does, answers less when each epoch has its own order (``lru_hit``).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hwdiag.core.errors import HwdiagError
from hwdiag.dataloader.alternatives import Alternative
from hwdiag.dataloader.cache_model import CacheCandidate, CacheKind, CacheMeasurement, Caching
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import Storage
from hwdiag.dataloader.memory import SPARE
from hwdiag.dataloader.model import ChosenSetting
from hwdiag.dataloader.setting import LoaderSetting
from hwdiag.dataloader.storage import IN_MEMORY, is_remote
from hwdiag.dataloader.trials import Trials
from hwdiag.experiment.model import Comparison

MOST_KEPT = 256
"""Samples that it is measured with, at most."""
MOST_KEPT_BYTES = 256 << 20
KEEP_SHARE = 0.03
"""Share of the time for making them."""
LEAST_HIT = 0.05
"""Share of the reads that a cache must answer to be worth a try."""
LMDB_READERS = 126
"""What LMDB takes by itself (lmdb.h, mdb_env_set_maxreaders)."""
OTHER_READERS = 2
"""The training process, and the one that fills it."""
MAP_SPARE = 1.1
KINDS: tuple[tuple[CacheKind, str], ...] = (
    ("worker", "keep decoded samples in each worker (WorkerCache)"),
    ("shared", "keep decoded samples in memory that all workers share (SharedCache)"),
    ("lmdb", "keep decoded samples in LMDB on a local disk (LmdbCache)"),
)
SIMPLEST = ("shared", "lmdb", "worker")
"""Which is taken of several that are as fast: the first needs no file, the second no memory of its own."""


def lru_hit(share: float) -> float:
    """Return the share of reads that a least-recently-used cache answers, if it holds this share of what is read.

    Each epoch reads all in an order of its own: what came after the share ``p`` of one epoch and ``q`` of the next has
    ``1 - p + p * q`` of all between its two reads, and is there still where that is no more than ``share``.
    """
    if share >= 1:
        return 1.0
    return max(0.0, share + (1 - share) * math.log1p(-share))


@contextmanager
def folder(given: str | None, below: Storage) -> Iterator[str]:
    """Yield a folder for the samples that are kept meanwhile: in the given one, unless that may hang, or in /tmp.

    Raises ``HwdiagError`` where neither can be written to.
    """
    place = None if given is None or is_remote(below.kind) else given
    try:
        if place is not None:
            Path(place).mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix="hwdiag-kept-", dir=place)
    except OSError as error:
        raise HwdiagError(f"no samples can be kept for a while: {error}") from None
    with made as path:
        yield path


def keep(trials: Trials, feeder: Feeder, folder: str) -> CacheMeasurement | str:
    """Make some samples and keep them in this folder, and what that took; or why that cannot be.

    The indices of those samples are left in ``trials.few``.
    """
    dataset = trials.dataset
    assert dataset is not None
    if dataset.stream or not dataset.length:
        return "an IterableDataset has no indices by which a sample could be found again"
    trials.say("making samples to keep")
    step = max(1, dataset.length // MOST_KEPT)
    outcome, said = trials.ask(
        feeder,
        "keep",
        indices=list(range(0, dataset.length, step))[:MOST_KEPT],
        folder=folder,
        seconds=KEEP_SHARE * trials.budget.total_s,
        most_bytes=MOST_KEPT_BYTES,
    )
    if not outcome.ok:
        return outcome.detail
    trials.few = said.pop("indices")
    said.pop("memory")
    return CacheMeasurement(samples=len(trials.few), **said)


def plan(
    trials: Trials, kept: CacheMeasurement, best: ChosenSetting, store: Storage, below: Storage
) -> list[CacheCandidate]:
    """Return a candidate of each kind with its size beside the chosen loader, and the reason where it is not to be
    tried."""
    length = trials.dataset.length if trials.dataset and trials.dataset.length else 0
    workers = best.setting.workers or 1
    available = trials.available
    free = int((1 - SPARE) * (available.memory_bytes or 0)) - best.prediction.total_bytes
    shm = int((1 - SPARE) * (available.shared_bytes or 0)) - best.prediction.shared_bytes
    disk = int((1 - SPARE) * (kept.free_bytes or 0))
    found = []
    if trials.found is not None and trials.found.bytes:
        found.append(page_cache(trials.found.bytes, free, length, store, is_own=trials.data.file is not None))
    for kind, size, rooms, times in (
        ("worker", kept.sample_bytes, (free,), workers),
        ("shared", kept.slot_bytes, (free, shm), 1),
        ("lmdb", kept.stored_bytes or kept.sample_bytes, (disk,), 1),
    ):
        has = max(0, min(rooms))
        keeps = min(length, int(has / times / size))
        why = why_not(kept, keeps / length)
        if kind == "lmdb":
            why = why or no_lmdb(kept, below)
        found.append(
            CacheCandidate.model_validate(
                {
                    "kind": kind,
                    "needs_bytes": int(length * size * times),
                    "available_bytes": has,
                    "keeps": keeps,
                    "hit": keeps / length,
                    "why": why,
                }
            )
        )
    return found


def page_cache(needs: int, free: int, length: int, store: Storage, *, is_own: bool = False) -> CacheCandidate:
    """Return the kernel's own cache of the files, in memory that nobody uses, as a candidate.

    ``is_own``: a person's own Dataset opens them, which cannot be told to forget them after each sample.
    """
    share = max(0.0, free / needs)
    cold = store.reading.cold if store.reading else None
    why = "" if cold else "this host does not report whether a file came from the disk"
    if is_own:
        why = "what it gives was not measured: the Dataset opens its files by itself"
    if store.kind in IN_MEMORY:
        why = "the files are in memory anyway"
    return CacheCandidate(
        kind="page",
        needs_bytes=needs,
        available_bytes=max(0, free),
        keeps=min(length, int(share * length)),
        hit=lru_hit(share),
        why=why,
    )


def why_not(kept: CacheMeasurement, hit: float) -> str:
    """Return why no cache of samples is tried; empty where one is."""
    if not kept.is_same:
        return "a sample is another each time it is made: keep what comes before its random part, in the Dataset"
    if hit < LEAST_HIT:
        return f"there is space for {hit:.0%} of the samples"
    return ""


def no_lmdb(kept: CacheMeasurement, below: Storage) -> str:
    """Return why LMDB is not tried; empty where it is."""
    if is_remote(below.kind):
        return f"{below.folder} is on {below.kind}: LMDB must not be used on remote file systems (lmdb.h)"
    if below.kind in IN_MEMORY:
        return f"{below.folder} is in memory ({below.kind}): it would keep nothing on a disk"
    return kept.lmdb_missing


def alternatives(
    caches: Sequence[CacheCandidate], kept: CacheMeasurement, setting: LoaderSetting, folder: str
) -> Iterator[Alternative]:
    """Yield the caches to measure, with the share of hits that each would have."""
    words = dict(KINDS)
    for cache in caches:
        if cache.why:
            continue
        if cache.kind == "page":
            yield Alternative("page", "read each file from the disk", "nothing", {"forget": True}, "disk", loses=True)
            continue
        told: dict[str, Any] = {
            "kind": cache.kind,
            "most": round(cache.hit * kept.samples),
            "folder": folder,
            "slot_bytes": kept.slot_bytes,
            "start_method": setting.start_method,
        }
        changes = "nothing; what is random must come after it"
        yield Alternative(cache.kind, words[cache.kind], changes, {"cache": told}, group="cache")


def caching_of(
    trials: Trials,
    kept: CacheMeasurement,
    caches: Sequence[CacheCandidate],
    compared: Mapping[str, Comparison],
    best: ChosenSetting,
    *,
    folder: str,
    workers: int,
    min_effect: float,
) -> Caching:
    """Return the caches with their gains and the kind that pays. ``workers``: of the training and the validation
    together."""
    known = []
    for cache in caches:
        about: dict[str, Any] = {"why": beyond(cache, kept, trials)}
        if cache.kind in compared:
            about |= {"speedup": compared[cache.kind].speedup, "verdict": compared[cache.kind].verdict}
        known.append(cache.model_copy(update=about))
    lmdb = next((c for c in known if c.kind == "lmdb"), None)
    size = kept.stored_bytes or kept.sample_bytes
    return Caching(
        kept=kept,
        caches=tuple(known),
        chosen=choose(known, min_effect),
        folder=folder,
        map_bytes=math.ceil(MAP_SPARE * size * lmdb.keeps / 2**20) << 20 if lmdb and lmdb.keeps else None,
        readers=workers + OTHER_READERS,
        queue=queue(kept, best.samples_s),
    )


def beyond(cache: CacheCandidate, kept: CacheMeasurement, trials: Trials) -> str:
    """Return what the figure leaves out: LMDB was read from memory, which may not suffice for all of it."""
    memory = (1 - SPARE) * (trials.available.memory_bytes or 0)
    if cache.why or cache.kind != "lmdb" or cache.needs_bytes <= memory or not kept.cold_s:
        return cache.why
    return (
        f"measured from memory, which suffices for {memory / cache.needs_bytes:.0%} of it; from the disk one reader "
        f"gets {1 / kept.cold_s:.0f} samples/s"
    )


def choose(caches: Sequence[CacheCandidate], min_effect: float) -> CacheKind | None:
    """Return the cache with the largest gain that was shown; of several that are as good the simplest."""
    able = [c for c in caches if c.kind != "page" and c.verdict == "better" and c.speedup is not None]
    if not able:
        return None
    most = max(c.speedup.median for c in able if c.speedup)
    near = [c for c in able if c.speedup and c.speedup.median * (1 + min_effect) >= most]
    return min(near, key=lambda c: SIMPLEST.index(c.kind)).kind


def queue(kept: CacheMeasurement, samples_s: float) -> int | None:
    """Return the samples that a loader of this rate makes while the writer is held up the longest; None if it never
    catches up."""
    if not kept.write_s or not kept.stall_s or kept.write_s * samples_s >= 1:
        return None
    return max(1, math.ceil(kept.stall_s * samples_s))
