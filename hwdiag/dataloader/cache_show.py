"""Caches as a person sees them: what each would keep and give, by its size and by the number of workers."""

from __future__ import annotations

from hwdiag.dataloader.cache_model import CacheMeasurement, Caching
from hwdiag.dataloader.cache_rules import NAMES, verdict
from hwdiag.dataloader.caches import LMDB_READERS, lru_hit
from hwdiag.dataloader.model import Feed
from hwdiag.dataloader.show import gained
from hwdiag.report.format import percent, plural, seconds, significant, size
from hwdiag.report.section import Section
from hwdiag.report.table import Table

SIZES = (0.25, 0.5, 1.0)
"""Shares of the memory that may be used beside the loader."""
WORKERS = (1, 2, 4, 8, 16, 32, 64)


def caches(feed: Feed) -> Section:
    """Return the section on the caches, and on the one that pays."""
    found = feed.caching
    if found is None or found.kept is None:
        return Section(verdict(found), ())
    return Section(
        verdict(found),
        (kinds_table(found), hits_table(found, feed), workers_table(found, feed), lmdb_table(found, feed)),
    )


def kinds_table(found: Caching) -> Table:
    """Return a table with one row a kind: the memory that it needs, the memory that there is, and its gain."""
    rows = []
    for cache in found.caches:
        gain = "-" if cache.speedup is None else gained(cache.speedup)
        name = NAMES[cache.kind]
        note = cache.why or ("compared with reading each file from the disk" if cache.kind == "page" else "")
        verdict_word = cache.verdict if cache.speedup else "not measured"
        rows.append(
            (name, size(cache.needs_bytes), size(cache.available_bytes), percent(cache.hit), gain, verdict_word, note)
        )
    kept = found.kept
    assert kept is not None
    caption = (
        f"Filled, in turns with the setting that was found, {plural(kept.samples, 'sample')} of "
        f"{size(kept.sample_bytes)} each"
    )
    header = ("Cache", "Needs for all", "Room", "Answers", "Gain", "Verdict", "Note")
    return Table(caption, header, rows, frozenset({1, 2, 3}))


def hits_table(found: Caching, feed: Feed) -> Table | None:
    """Return a table of the share of reads that each cache would answer, with all the free memory and with less."""
    files, worker, shared = (found.of(kind) for kind in ("page", "worker", "shared"))
    free = worker.available_bytes if worker else 0
    if worker is None or shared is None or free <= 0:
        return None
    rows = []
    for share in SIZES:
        room = share * free
        page = "-" if files is None else f"{percent(lru_hit(room / files.needs_bytes))}"
        keeps = [percent(min(1.0, room / c.needs_bytes)) for c in (worker, shared)]
        rows.append((f"{percent(share)} of what is free, {size(room)}", page, *keeps))
    workers = (feed.best.setting.workers if feed.best else None) or 1
    caption = (
        "Reads that are answered from the second epoch on, by the memory for it. The page cache holds the files as "
        "they are, and is taken to drop what was used the longest ago"
    )
    header = ("Memory", "Page cache", f"A cache in each of {plural(workers, 'worker')}", "Shared, or LMDB in memory")
    return Table(caption, header, rows, frozenset({1, 2, 3}))


def workers_table(found: Caching, feed: Feed) -> Table | None:
    """Return a table of the memory that a cache in each worker takes by the number of workers, beside a shared one."""
    worker, shared = found.of("worker"), found.of("shared")
    if worker is None or shared is None:
        return None
    used = (feed.best.setting.workers if feed.best else None) or 1
    each, free = worker.needs_bytes / used, worker.available_bytes
    counts = sorted({n for n in WORKERS if n <= 2 * feed.cpus} | {used})
    rows = [(str(n), size(n * each), percent(min(1.0, free / (n * each))), size(shared.needs_bytes)) for n in counts]
    header = ("Workers", "Each its own, all samples", "of which fits", "One for all")
    return Table("Memory of a cache of all samples, by the number of workers", header, rows, frozenset(range(4)))


def lmdb_table(found: Caching, feed: Feed) -> Table | None:
    """Return a table of the settings for LMDB's file, and of the figures behind them."""
    kept, lmdb = found.kept, found.of("lmdb")
    if kept is None or kept.lmdb is None or lmdb is None:
        return None
    rows = (
        ("File", f"{found.folder}/samples.lmdb, {size(kept.free_bytes)} free"),
        ("Map size", f"{size(found.map_bytes)} for {plural(lmdb.keeps, 'sample')}"),
        ("Readers", readers_text(found.readers or 0)),
        ("Writes, by one process", f"{significant(1 / (kept.write_s or 1))} samples/s"),
        ("Write queue", queue_text(kept, found.queue, feed)),
        ("Reads, by one process", f"{significant(1 / (kept.warm_s or 1))} samples/s from memory"),
        ("after the kernel was asked to drop it", f"{significant(1 / (kept.cold_s or 1))} samples/s"),
        ("Makes, by one process", f"{significant(1 / kept.make_s)} samples/s without a cache"),
    )
    return Table(f"LMDB {kept.lmdb}", ("What", "Value"), rows)


def readers_text(readers: int) -> str:
    """Return whether LMDB's own number of readers suffices. The process that opens the file first decides it for
    all."""
    if readers <= LMDB_READERS:
        return f"{readers} at the same time: LMDB's own {LMDB_READERS} suffice"
    return f"{readers}: whoever opens the file first must say so"


def queue_text(kept: CacheMeasurement, queue: int | None, feed: Feed) -> str:
    """Return the number of samples that would wait if they were written while the training runs."""
    rate = significant(feed.best.samples_s) if feed.best else "unknown"
    if queue is None:
        return f"none is long enough: the loader makes {rate} samples/s. Fill it before the training"
    stall = seconds(kept.stall_s or 0)
    return f"one of {plural(queue, 'sample')} suffices: the longest transaction took {stall}, at {rate} samples/s"
