"""The input pipeline as a person sees it: sections with a verdict each, drawn from a Feed."""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag.core.interval import Interval
from hwdiag.dataloader.alternatives import ONE_THREAD
from hwdiag.dataloader.dataset import Decoder, Decoding, Rate
from hwdiag.dataloader.memory_footprint import OWN_THREADS
from hwdiag.dataloader.model import ChosenSetting, Feed, Footprint
from hwdiag.dataloader.plan import PlanStep
from hwdiag.dataloader.rules import RESIZE_HEAVY, verdict
from hwdiag.dataloader.storage import IN_MEMORY, is_remote
from hwdiag.report.format import disk_size, percent, plural, ratio, seconds, significant, size, speedup
from hwdiag.report.plots import steps_figure
from hwdiag.report.section import Section
from hwdiag.report.table import Table

NOT_REACHED = "Not looked at: {}."
COLD = 0.9
"""Share of the files that must come from the disk for a reading to be called cold."""
FEW_BROKEN = 8


def storage(feed: Feed) -> Section:
    """Return the section on the data's storage, and on how fast it is read."""
    store, reading = feed.storage, feed.storage.reading
    if not store.is_known:
        why = store.why or feed.problem or "which files are read is not known"
        return Section(f"Storage and page cache are not measured: {why}.", (facts_table(feed),))
    where = f"{store.folder} is on {store.kind}"
    if store.disk:
        where += f", disk {store.disk} ({store.disk_kind})"
    if is_remote(store.kind):
        where += ": a network or another program is between, so copy what is read often to a local disk"
    if reading is None:
        why = store.why or feed.problem or "which files are read is not known"
        return Section(f"{where}; it was not read: {why}.", (facts_table(feed),))
    cold = temperature(store.kind, reading.cold)
    return Section(
        f"{where}: one reader gets {disk_size(reading.any_order.bytes_s)}/s in any order, {cold}.",
        (facts_table(feed), reading_table(feed)),
    )


def temperature(kind: str, cold: float | None) -> str:
    """Return whether the files came from the disk, and if not, why."""
    if kind in IN_MEMORY:
        return "from memory, as tmpfs has no disk below it"
    if cold is None:
        return "from the disk or from memory: this file system does not say"
    if cold >= COLD:
        return "not in memory before"
    return f"of which {percent(1 - cold)} was in memory still, though the kernel was asked to drop it"


def facts_table(feed: Feed) -> Table:
    """Return a table of what the data lies on."""
    store = feed.storage
    ahead = "unknown" if store.read_ahead_kb is None else f"{store.read_ahead_kb} kB"
    rows = (
        ("Data", feed.data),
        ("Folder", store.folder or "not known"),
        *((("Files", store.how),) if store.how else ()),
        *((("Size of all files", size(store.data_bytes)),) if store.data_bytes is not None else ()),
        ("File system", f"{store.kind} of {store.source}"),
        ("Disk", f"{store.disk}, {store.disk_kind}" if store.disk else "not one disk, or not known"),
        ("Scheduler, read-ahead", f"{store.scheduler or 'unknown'}, {ahead}"),
        ("/dev/shm, free", size(feed.available.shared_bytes)),
        ("Memory that may be used", size(feed.available.memory_bytes)),
        ("Open files allowed", str(feed.available.files or "unlimited")),
    )
    return Table("Where the data lies, and what may be used", ("Fact", "Value"), rows)


def reading_table(feed: Feed) -> Table:
    """Return a table of how fast the files are read."""
    reading = feed.storage.reading
    assert reading is not None
    ways: tuple[tuple[str, Rate], ...] = (
        ("in the order of names", reading.in_order),
        ("in any order", reading.any_order),
        ("again, from memory", reading.again),
    )
    rows = [(n, f"{disk_size(r.bytes_s)}/s", significant(r.files_s), seconds(r.slow_s)) for n, r in ways]
    rows.append(("found and described (stat)", "-", significant(reading.metadata), "-"))
    caption = (
        "One reader, whole files, or pieces of 1 MiB of large ones, counted as files; "
        "names come from the kernel's cache, which only root can empty"
    )
    return Table(caption, ("How", "Rate", "Files/s", "99 of 100 files within"), rows, frozenset({1, 2, 3}))


def decoding(feed: Feed) -> Section:
    """Return the section on the decoders and their speed."""
    found = feed.decoding
    if found is None:
        return Section(NOT_REACHED.format(feed.problem or "the Dataset is a file's own"), ())
    whole = [d for d in found.decoders if d.seconds and not d.reduced]
    if not whole:
        return Section("No decoder that is installed reads these pictures.", (decoder_table(found),))
    best = min(whole, key=lambda d: d.seconds or 0.0)
    said = f"{best.name} decodes {significant(1 / (best.seconds or 1))} pictures/s on one core. {judged(whole[0])}"
    if found.broken:
        said += f" {plural(len(found.broken), 'picture')} of {found.looked_at} looked at cannot be decoded."
    return Section(said, (decoder_table(found), broken_table(feed) if found.broken else None))


def judged(first: Decoder) -> str:
    """Return a sentence on the resize's share of the time, and whether Pillow-SIMD could help: it speeds up the resize,
    not the decoding."""
    if first.seconds is None or first.resize_seconds is None:
        return ""
    share = first.resize_seconds / (first.seconds + first.resize_seconds)
    text = f"Of decode and resize with {first.name}, the resize takes {percent(share)}"
    if first.resize_seconds > RESIZE_HEAVY * first.seconds:
        return f"{text}: Pillow-SIMD, which speeds up the resize only, may be worth its build from source."
    turbo = " (libjpeg-turbo is in Pillow already)" if "turbo" in first.library and first.name == "Pillow" else ""
    return f"{text}: Pillow-SIMD, which speeds up the resize only, could gain no more than that{turbo}."


def decoder_table(found: Decoding) -> Table:
    """Return a table with one row a decoder and size, then what is not installed."""
    rows = []
    for d in found.decoders:
        how = "reduced" if d.reduced else "whole"
        name = f"{d.name} {d.version}"
        if d.seconds is None:
            rows.append((name, how, "-", "-", "-", d.why))
            continue
        pixels = "-" if d.reduced else f"{significant(found.mean_pixels / d.seconds / 1e6)}"
        off = "-" if d.difference is None else f"{d.difference:.2f}"
        rows.append((name, how, significant(1 / d.seconds), pixels, off, d.library))
    rows += [(key, "-", "-", "-", "-", f"not there: {why}") for key, why in found.missing.items()]
    caption = (
        f"One core, in turns; {found.kind.upper()} of {significant(found.mean_pixels / 1e6)} megapixels and "
        f"{disk_size(found.mean_bytes)} in the mean. Difference: of the values 0 to 255, from the first row"
    )
    return Table(
        caption,
        ("Decoder", "Size", "Pictures/s", "Megapixels/s", "Difference", "Library"),
        rows,
        frozenset({2, 3, 4}),
    )


def broken_table(feed: Feed) -> Table:
    """Return a table of pictures that cannot be decoded. They are skipped, and others take their places."""
    broken = feed.broken or (feed.decoding.broken if feed.decoding else ())
    rows = [(b.path, b.why) for b in broken[:FEW_BROKEN]]
    more = f", the first {FEW_BROKEN}" if len(broken) > FEW_BROKEN else ""
    return Table(f"{plural(len(broken), 'picture')} skipped{more}", ("File", "Why"), rows)


def memory(feed: Feed) -> Section:
    """Return the section on the memory that a loader will hold, and on what fits."""
    held, found = feed.footprint, feed.dataset
    if held is None or found is None:
        return Section(NOT_REACHED.format(feed.problem or "the run did not get there"), ())
    each = held.worker_bytes[""]
    said = (
        f"A worker holds {size(each)} and a batch of {held.batch_size} {size(held.batch_bytes)}. "
        f"{plural(len(feed.refused), 'setting')} left out, too large or without sense here."
    )
    if held.growth_bytes:
        said += f" A worker grows by {size(held.growth_bytes)} with each batch: the Dataset leaks, or keeps a cache."
    rows = [
        ("Training process with torch and the Dataset, no batch", size(held.main_bytes)),
        *((f"One worker more, {m or 'started as usual'}", worker_text(held, m)) for m in held.worker_bytes),
        ("One batch", f"{size(held.batch_bytes)} in {plural(held.tensors, 'tensor')}"),
        ("Length of the Dataset", "unknown: an IterableDataset" if found.length is None else str(found.length)),
        ("Threads of a worker", f"{held.worker_threads or 'unknown'}: {threads_text(feed)}"),
        ("Python, torch", f"{found.python}, {found.torch}"),
        ("GPU", found.cuda or "none seen: pinned memory would change nothing here"),
        *((f"Not tried: {name}", why) for name, why in list(feed.refused.items())[:FEW_BROKEN]),
    ]
    table = Table("Memory held with one worker, by /proc/*/smaps", ("Part", "Size"), rows)
    return Section(said, (table,))


def worker_text(held: Footprint, method: str) -> str:
    """Return the memory of a worker with this start method, and the time to its first batch."""
    first_s = held.first_s.get(method)
    return size(held.worker_bytes[method]) + ("" if first_s is None else f", first batch after {seconds(first_s)}")


def threads_text(feed: Feed) -> str:
    """Return whether libraries start threads in a worker, and what one thread for each of them would give."""
    tried = next((e for e in feed.extras if e.name == ONE_THREAD), None)
    if tried is not None:
        return f"one for each library gives {gained(tried.speedup)}, {tried.verdict}"
    if feed.footprint and feed.footprint.worker_threads > OWN_THREADS:
        return "libraries start some; one for each of them was not measured"
    return "its own alone; no library starts any, so limiting their number (OMP_NUM_THREADS) would change nothing"


def search(feed: Feed) -> Section:
    """Return the section on the fastest setting."""
    if feed.best is None:
        return Section(verdict(feed), ())
    failed = {t.name: t.outcome.detail for t in feed.trials if not t.outcome.ok}
    rows = list(failed.items())
    table = Table("Settings that failed", ("Setting", "Why"), rows) if rows else None
    tried = len({t.name for t in feed.trials})
    said = f"{plural(tried, 'setting')} in {plural(len(feed.trials), 'process', 'processes')}. {verdict(feed)}"
    return Section(said, (steps_figure(feed.steps, feed.plans), table))


def chosen(feed: Feed) -> Section:
    """Return the section on the speed and the memory of the chosen setting."""
    if feed.best is None or feed.default is None:
        return Section(verdict(feed), ())
    rows = [row("Training", feed.best)]
    if feed.best.plan.id != feed.default.plan.id:
        rows.insert(0, row("torch's default", feed.default))
    if feed.validation:
        rows.append(row("Validation", feed.validation))
    header = ("Loader", "Setting", "Samples/s", "First batch", "Next epoch", "Memory", "of it /dev/shm")
    table = Table("Measured rates and times; memory is predicted", header, rows, frozenset(range(2, 7)))
    kept, afresh = feed.restarts.get("kept"), feed.restarts.get("afresh")
    said = (
        f"{significant(feed.best.samples_s)} samples/s; the first batch comes after {seconds(feed.best.first_s or 0)}."
    )
    if kept is not None and afresh is not None:
        said += f" A new epoch starts in {seconds(kept)} with workers kept, in {seconds(afresh)} without."
    return Section(said, (table, extras_table(feed) if feed.extras else None))


def row(name: str, chosen: ChosenSetting) -> tuple[str, ...]:
    """Return the row of one loader."""
    return (
        name,
        chosen.setting.describe(),
        significant(chosen.samples_s),
        "-" if chosen.first_s is None else seconds(chosen.first_s),
        "-" if chosen.restart_s is None else seconds(chosen.restart_s),
        size(chosen.prediction.total_bytes),
        size(chosen.prediction.shared_bytes),
    )


def extras_table(feed: Feed) -> Table:
    """Return a table of what was measured beside the setting."""
    rows = [(e.what, gained(e.speedup), e.verdict, e.changes) for e in feed.extras]
    caption = "Other ways to make numbers of a picture, each in turns with the setting above"
    return Table(caption, ("Change", "Gain", "Verdict", "What it changes"), rows)


def gained(interval: Interval) -> str:
    return speedup(interval) if interval.processes > 1 else f"{ratio(interval.median)} (one pair)"


def plan(feed: Feed, steps: Sequence[PlanStep]) -> Section:
    """Return the section on what to do, in order."""
    if not steps:
        return Section(verdict(feed), ())
    rows = [(f"{n}. {s.title}", s.gain_text, s.do, s.check, s.undo) for n, s in enumerate(steps, 1)]
    first = steps[0]
    said = f"{plural(len(steps), 'step')}; begin with: {first.title}."
    return Section(said, (Table("Rollout plan", ("Step", "Gain", "Do", "Check", "Way back"), rows),))
