"""A study of devices as a person sees it: sections with a verdict each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hwdiag.devices.kernels import ON_GPU_ONLY, PRECISIONS
from hwdiag.devices.model import CPU, BatchPoint, BatchSearch, Gain, Study
from hwdiag.devices.promises import Kept, Promise
from hwdiag.devices.recommend import Choice
from hwdiag.devices.techniques import BY_NAME
from hwdiag.measure.model import Interval, Workload
from hwdiag.show.figure import Figure
from hwdiag.show.format import UNKNOWN, percent, plural, seconds, significant, size, speedup
from hwdiag.show.plots import roofline
from hwdiag.show.roof import roof_of
from hwdiag.show.sections import Section, listed
from hwdiag.show.table import Cell, Share, Table

NOT_MEASURED = "-"
DOESNT = "doesn't"


def devices(study: Study) -> Section:
    """What is there to compare?"""
    others = [d for d in study.devices if not d.is_cpu]
    names = listed(d.title for d in others) or "no GPU"
    why = f" ({'; '.join(a.why for a in study.absent)})" if study.absent and not others else ""
    rows = [
        (d.name, d.title, size(d.memory_bytes), "the host's" if d.unified_memory or d.is_cpu else "its own",
         d.capability or NOT_MEASURED)
        for d in study.devices
    ]  # fmt: skip
    table = Table("Devices that torch can use", ("Device", "Name", "Memory", "Whose", "Compute capability"), rows)
    return Section(f"torch {study.software} can use the CPU, {study.cpu}, and {names}{why}.", (table, absent(study)))


def absent(study: Study) -> Table | None:
    """What was not measured."""
    rows = [(a.what, a.why) for a in study.absent]
    return Table("Not measured, and why", ("What", "Why"), rows) if rows else None


def profile(study: Study) -> Section:
    """How fast is each kernel, of what the device reached?"""
    rows: list[tuple[Cell, ...]] = []
    shares: dict[str, float] = {}
    for device in study.devices:
        roof = roof_of(study, device.name)
        failed = study.failures(device.name)
        for w in study.workloads:
            if w.family not in ("compute", "memory", "transfer", "latency") or w.kind == "precision":
                continue
            t = study.estimate(w.name, device.name)
            if t is None and w.name not in failed:
                continue
            share = roof.share(w, t.median) if t and w.family in ("compute", "memory") else None
            if share is not None:
                shares[f"{w.name} on {device.name}"] = share
            rows.append((w.title, device.name, value(w, t), NOT_MEASURED if share is None else Share(share),
                         failed[w.name].detail if w.name in failed else ""))  # fmt: skip
    if not shares:
        return Section("Nothing was measured.", (failures(rows),))
    low = min(shares, key=shares.__getitem__)
    verdict = (
        f"{plural(len(rows), 'kernel')} measured; farthest from what its device reached is {low}, "
        f"with {percent(shares[low])} of its roof."
    )
    header = ("Kernel", "Device", "Median, 95 % interval over processes", "Of the roof", "Note")
    table = Table("Kernels, beside the ceilings of the same device in the same run", header, rows, frozenset({2}))
    return Section(verdict, (table, *(rooflines(study))))


def failures(rows: Sequence[tuple[Cell, ...]]) -> Table | None:
    return Table("What failed", ("Kernel", "Device", "Value", "Share", "Why"), rows) if rows else None


def rooflines(study: Study) -> tuple[Figure | None, ...]:
    """Of each device, its kernels of at least some size."""
    drawn = [w for w in study.workloads if w.family in ("compute", "memory") and w.kind != "precision"]
    return tuple(roofline(study.model_copy(update={"workloads": tuple(drawn)}), d.name) for d in study.devices)


def value(workload: Workload, t: Interval | None) -> str:
    """In the workload's unit, with its interval."""
    if t is None:
        return NOT_MEASURED
    low, high = sorted((workload.value(t.low), workload.value(t.high)))
    return f"{significant(workload.value(t.median))} {workload.unit} ({significant(low)} to {significant(high)})"


def speedups(study: Study) -> Section:
    """How many times faster than the CPU is each other device?"""
    others = [d for d in study.devices if not d.is_cpu]
    if not others:
        why = study.absent[0].why if study.absent else "there is none here"
        return Section(f"No GPU to compare the CPU with: {why}.", ())
    rows = []
    for device in others:
        for w in study.workloads:
            pair = study.ratio(w.name, CPU, device.name)
            if pair is not None:
                rows.append((w.title, device.title, speedup(pair)))
    unified = " GPU and CPU read the same memory, so no copy between them counts." if others[0].unified_memory else ""
    verdict = f"{plural(len(rows), 'kernel')} on {listed(d.title for d in others)} against the CPU.{unified}"
    header = ("Kernel", "Device", "The CPU's time over its own")
    return Section(verdict, (Table("Speed-up over the CPU, processes paired", header, rows, frozenset({2})),))


def precision(study: Study) -> Section:
    """Which precision pays, and what does it cost in accuracy?"""
    rows: list[tuple[Cell, ...]] = []
    told = []
    for device in study.devices:
        errors, failed = study.errors(device.name), study.failures(device.name)
        tried = {m.workload for m in study.measurements if m.device == device.name}
        by_name = {w.what: w for w in study.workloads if w.kind == "precision" and w.name in tried}
        against: dict[str, Interval] = {}
        for name in PRECISIONS:
            w = by_name.get(name)
            if w is None or (device.is_cpu and name in ON_GPU_ONLY):
                rows.append((name, device.name, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, ON_GPU_ONLY.get(name, "")))
                continue
            t = study.estimate(w.name, device.name)
            ratio = study.rate_ratio(w, by_name["fp32"], device.name) if "fp32" in by_name else None
            if ratio is not None:
                against[name] = ratio
            error = errors.get(w.name)
            rows.append((name, device.name, value(w, t), speedup(ratio) if ratio else NOT_MEASURED,
                         NOT_MEASURED if error is None else f"{error:.1e}" if error else "0",
                         failed[w.name].detail if w.name in failed else ""))  # fmt: skip
        told += [f"on {device.name} {precision_words(against)}"] if against else []
    header = ("Precision", "Device", "Rate", "Of fp32", "Largest error", "Note")
    caption = "The same matrix product in each precision; errors against float64, relative to the largest value"
    verdict = "; ".join(told)
    return Section(
        f"{verdict[:1].upper()}{verdict[1:]}." if told else "Nothing was measured.",
        (Table(caption, header, rows, frozenset({2, 3, 4})),),
    )


def precision_words(against: dict[str, Interval]) -> str:
    """``bf16 is 4.3 times as fast as fp32, fp16 200 times slower``."""
    parts = []
    for name in ("bf16", "fp16", "int8", "tf32", "fp8"):
        r = against.get(name)
        if r is None:
            continue
        if r.low > 1:
            parts.append(f"{name} is {significant(r.median, 2)} times as fast as fp32")
        elif r.high < 1:
            parts.append(f"{name} is {significant(1 / r.median, 2)} times slower than fp32")
        else:
            parts.append(f"{name} is undecided ({significant(r.low, 2)} to {significant(r.high, 2)} times fp32)")
    return listed(parts)


def techniques(study: Study) -> Section:
    """What is each technique worth?"""
    if not study.gains:
        return Section("No technique was measured.", ())
    won = [g for g in study.gains if g.comparison and g.comparison.verdict == "better"]
    told = [f"{BY_NAME[g.technique].title} on {g.workload} {speedup(cast('Interval', interval(g)))}" for g in won]
    lost = [g for g in study.gains if g.comparison and g.comparison.verdict == "worse"]
    verdict = f"Faster beyond doubt: {'; '.join(told)}." if told else "None is faster beyond doubt."
    verdict += f" Slower: {listed(dict.fromkeys(BY_NAME[g.technique].title for g in lost))}." if lost else ""
    header = (
        "Technique",
        "Net",
        "Device",
        "Speed-up",
        "Verdict",
        "Peak memory",
        "Error (without it)",
        "First call",
        "Why",
    )
    rows = [
        (
            BY_NAME[g.technique].title,
            g.workload,
            g.device,
            speedup(g.comparison.speedup) if g.comparison else NOT_MEASURED,
            standing(g),
            memory(g),
            error_words(g),
            first_call(g),
            reason(g),
        )
        for g in study.gains
    ]
    caption = "Each technique against the same without it, in processes that take turns; median and 95 % interval"
    return Section(verdict, (Table(caption, header, rows, frozenset({3, 6})), meanings(study)))


def interval(g: Gain) -> Interval | None:
    return g.comparison.speedup if g.comparison else None


def standing(g: Gain) -> str:
    """The verdict; of what the screening gave no hope for, that."""
    if g.comparison is None:
        return "cannot"
    return "no sign of a gain" if g.is_hopeless else g.comparison.verdict


def reason(g: Gain) -> str:
    if not g.outcome.ok:
        return g.outcome.detail
    assert g.comparison is not None
    if not g.planned:
        more = "" if g.is_hopeless else "; more minutes would decide it"
        return f"{plural(g.comparison.speedup.processes, 'pair')} in the screening{more}"
    return f"{plural(g.comparison.speedup.processes, 'pair')}: {g.comparison.why}"


def memory(g: Gain) -> str:
    if g.peak_bytes is None or g.default_peak_bytes is None:
        return UNKNOWN
    return f"{size(g.peak_bytes)} ({g.peak_bytes / g.default_peak_bytes - 1:+.0%})"


def error_words(g: Gain) -> str:
    if g.max_error is None:
        return UNKNOWN
    return f"{g.max_error:.1e}" + ("" if g.default_error is None else f" ({g.default_error:.1e})")


def first_call(g: Gain) -> str:
    """Cold and warm."""
    if g.cold_s is None:
        return NOT_MEASURED
    return f"{seconds(g.cold_s)} cold" + ("" if g.warm_s is None else f", {seconds(g.warm_s)} warm")


def meanings(study: Study) -> Table:
    """What each technique does, and what to mind."""
    rows = [
        (t.title, t.sentence, t.caution or NOT_MEASURED, t.source)
        for name in dict.fromkeys(g.technique for g in study.gains)
        if (t := BY_NAME[name])
    ]
    return Table("What they do", ("Technique", "What it does", "Mind", "Source"), rows)


def batches(study: Study) -> Section:
    """How large a batch fits, and which is fastest?"""
    if not study.batches:
        return Section("No batch sizes were tried.", ())
    told = [f"{b.net} {b.mode} on {b.device}: {batch_words(b)}" for b in study.batches]
    rows = [
        (
            f"{b.net} {b.mode}",
            b.device,
            str(p.batch),
            significant(p.rate) if p.rate else NOT_MEASURED,
            size(p.peak_bytes) if p.outcome.ok else NOT_MEASURED,
            batch_note(b, p),
        )
        for b in study.batches
        for p in b.points
    ]
    header = ("Net", "Device", "Batch", "Samples a second", "Peak memory", "Note")
    return Section(
        "; ".join(told) + ".",
        (Table("Each batch size in a process of its own", header, rows, frozenset({2, 3, 4})),),
    )


def batch_words(b: BatchSearch) -> str:
    if b.largest is None or b.best is None:
        return f"not even one fits ({b.points[0].outcome.detail})"
    largest = f"at least {b.largest.batch} fit ({b.stopped})" if b.stopped else f"{b.largest.batch} fit"
    return f"{largest}, best with {b.best.batch}"


def batch_note(b: BatchSearch, p: BatchPoint) -> str:
    if not p.outcome.ok:
        return f"{p.outcome.kind}: {p.outcome.detail}"
    return "best" if p is b.best or p == b.best else ""


def targets(study: Study) -> Section:
    """Does it reach what the guide wants?"""
    passed = {True: "pass", False: "FAIL", None: "not decided"}
    rows = [(t.name, t.device, t.wanted, t.measured, passed[t.passed], t.reason) for t in study.targets]
    decided = [t for t in study.targets if t.passed is not None]
    reached = listed(f"{t.name} on {t.device}" for t in decided if t.passed)
    missed = listed(f"{t.name} on {t.device}" for t in decided if not t.passed)
    said = [f"Reached: {reached}." if reached else "", f"Missed: {missed}." if missed else ""]
    verdict = " ".join(filter(None, said)) or "No target could be decided."
    header = ("Target", "Device", "Wanted", "Measured", "Verdict", "Why")
    return Section(verdict, (Table("The guide's targets", header, rows),))


def promises(rows: Sequence[tuple[Promise, Kept]]) -> Section:
    """What was promised, and what of it holds here?"""
    tally = {s: sum(k.standing == s for _, k in rows) for s in ("holds here", DOESNT, "needs a GPU")}
    open_ = len(rows) - sum(tally.values())
    verdict = (
        f"Of {len(rows)} promises {tally['holds here']} hold here, {tally[DOESNT]} don't, "
        f"{tally['needs a GPU']} need a GPU, and {open_} were not decided."
    )
    shown = [(p.claim, p.section, k.standing, k.why) for p, k in rows]
    header = ("The guide says", "Section", "Here", "Measured")
    return Section(verdict, (Table("A guide for a Xeon E5 v2 with an RTX 3060, point by point", header, shown),))


def settings(choices: Sequence[Choice]) -> Section:
    """What is worth having in a script?"""
    if not choices:
        return Section("Nothing was shown to gain: settings.py changes nothing.", ())
    rows = [(c.entry.title, c.mode, c.device, c.evidence, c.entry.caution or NOT_MEASURED) for c in choices]
    verdict = f"settings.py takes {listed(dict.fromkeys(c.entry.title for c in choices))}, as they were measured."
    header = ("Technique", "For", "Device", "Gain", "Mind")
    return Section(verdict, (Table("What settings.py sets", header, rows),))
