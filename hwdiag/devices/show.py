"""A study of devices as a person sees it: sections with a verdict each."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from hwdiag.core.interval import Interval
from hwdiag.core.text import capitalised, listed
from hwdiag.devices.kernels import ON_GPU_ONLY, PRECISIONS
from hwdiag.devices.model import CPU, FALL, Step, Study
from hwdiag.devices.nearness import NEAR
from hwdiag.experiment.model import Workload
from hwdiag.experiment.statistics import median_interval
from hwdiag.report.figure import Figure
from hwdiag.report.format import percent, plural, significant, size, speedup
from hwdiag.report.plots import roofline
from hwdiag.report.roof import roof_of
from hwdiag.report.section import Section
from hwdiag.report.table import Cell, Share, Table

NOT_MEASURED = "-"
DOESNT = "doesn't"


def devices(study: Study) -> Section:
    """Return the section on the devices that there are to compare."""
    others = [d for d in study.devices if not d.is_cpu]
    names = listed(d.title for d in others) or "no GPU"
    why = f" ({'; '.join(a.why for a in study.absent if a.step == 'devices')})" if study.absent and not others else ""
    rows = [
        (d.name, d.title, size(d.memory_bytes), "the host's" if d.unified_memory or d.is_cpu else "its own",
         d.capability or NOT_MEASURED)
        for d in study.devices
    ]  # fmt: skip
    table = Table("Devices that torch can use", ("Device", "Name", "Memory", "Whose", "Compute capability"), rows)
    return Section(f"torch {study.software} can use the CPU, {study.cpu}, and {names}{why}.", (table, absent(study)))


def table_of(
    study: Study, caption: str, header: tuple[str, ...], rows: Sequence[tuple[Cell, ...]], right: frozenset[int]
) -> Table:
    """Return a table of figures by device, without that column where there is but one."""
    at = header.index("Device")
    if len(study.devices) > 1 or len({row[at] for row in rows} - {NOT_MEASURED}) > 1:
        return Table(caption, header, rows, right)

    def cut(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        return (*cells[:at], *cells[at + 1 :])

    return Table(caption, tuple(map(str, cut(header))), [*map(cut, rows)], frozenset(i - (i > at) for i in right))


def absent(study: Study, step: Step = "devices") -> Table | None:
    """Return a table of what was not measured at this step."""
    rows = [(a.what, a.why) for a in study.absent if a.step == step]
    return Table("Not measured, and why", ("What", "Why"), rows) if rows else None


def profile(study: Study) -> Section:
    """Return the section on the speed of each kernel, and on its share of what the device reached."""
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
        return Section("Nothing was measured.", (failures(rows), absent(study, "profile")))
    low = min(shares, key=shares.__getitem__)
    verdict = (
        f"{plural(len(rows), 'kernel')} measured; farthest from what its device reached is {low}, "
        f"with {percent(shares[low])} of its roof."
    )
    header = ("Kernel", "Device", "Median, 95 % interval over processes", "Of the roof", "Note")
    caption = "Kernels, beside the ceilings of the same device in the same run"
    table = table_of(study, caption, header, rows, frozenset({2}))
    more = (on_device(study), sustained(study), nearness(study))
    return Section(verdict, (table, *more, absent(study, "profile"), *rooflines(study)))


def on_device(study: Study) -> Table | None:
    """Return a table of the device's own times, without what starting kernels costs, in a warm and in a cold cache."""
    rows: list[tuple[Cell, ...]] = []
    for device in study.devices:
        for w in study.workloads:
            mine = [m.on_device for m in study.of(w.name, device.name) if m.on_device and m.on_device.warm_s]
            t = study.estimate(w.name, device.name)
            if not mine or t is None:
                continue
            warm = median_interval([median(x.warm_s) for x in mine])
            cold = [median(x.cold_s) for x in mine if x.cold_s]
            rows.append(
                (w.title, device.name, value(w, t), value(w, warm), value(w, median_interval(cold) if cold else None))
            )
    caption = "By the wall clock, and by events on a queue that is held until all is started"
    header = ("Kernel", "Device", "Wall clock", "On the device", "The same, L2 cache cold")
    return Table(caption, header, rows, frozenset({2, 3, 4})) if rows else None


def sustained(study: Study) -> Table | None:
    """Return a table of what a short look measures, and what a job gets after seconds."""
    by_name = {w.name: w for w in study.workloads}
    rows: list[tuple[Cell, ...]] = []
    for s in study.sustained:
        w, gpu = by_name.get(s.workload), s.gpu
        if w is None or not s.points:
            rows.append((s.device, s.workload, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, s.outcome.detail))
            continue
        fell = s.falls_after_s
        kept = f"within {FALL:.0%} of it for {s.points[-1][0]:.0f} s"
        change = kept if fell is None else f"{s.burst_s / s.sustained_s:.0%} of it after {fell:.1f} s"
        told = [] if gpu is None else [
            *([f"{gpu.mhz:.0f} of {gpu.max_mhz:.0f} MHz, {gpu.least_mhz:.0f} at least"]
              if gpu.mhz is not None and gpu.max_mhz is not None and gpu.least_mhz is not None else []),
            *([f"{gpu.watts:.0f} W"] if gpu.watts is not None else []),
            *gpu.reasons,
        ]  # fmt: skip
        meanwhile = "; ".join(told) or "no driver reports clocks or reasons"
        rates = (f"{significant(w.value(t))} {w.unit}" for t in (s.burst_s, s.sustained_s))
        rows.append((s.device, w.title, *rates, change, meanwhile))
    caption = "A product that goes on without a rest: the rate at the start, and in the last third of the time"
    header = ("Device", "Kernel", "At the start", "Sustained", "Change", "Meanwhile")
    return Table(caption, header, rows, frozenset({2, 3})) if rows else None


def nearness(study: Study) -> Table | None:
    """Return a table of copies from the GPU's own NUMA node beside those of a process that runs anywhere."""
    rows: list[tuple[Cell, ...]] = []
    for e in study.estimates:
        w = next((w for w in study.workloads if w.name == e.workload), None)
        anywhere = study.estimate(e.workload, e.device)
        if e.plan == NEAR and w is not None and anywhere is not None:
            rows.append((w.title, e.device, value(w, anywhere), value(w, e.seconds)))
    header = ("Copy", "Device", "From anywhere", "From the GPU's own node")
    caption = "Copies of a process that is bound to the GPU's own NUMA node, CPUs and memory"
    return Table(caption, header, rows, frozenset({2, 3})) if rows else None


def failures(rows: Sequence[tuple[Cell, ...]]) -> Table | None:
    return Table("What failed", ("Kernel", "Device", "Value", "Share", "Why"), rows) if rows else None


def rooflines(study: Study) -> tuple[Figure | None, ...]:
    """Return the roofline of each device, with its kernels as torch runs them by itself, and without a roof for fp8
    where that is emulated."""
    drawn = [w for w in study.workloads if w.family in ("compute", "memory") and w.what is None]
    roofs = [c for c in study.ceilings if c.device != CPU or c.dtype != PRECISIONS["fp8"][0]]
    seen = study.model_copy(update={"workloads": tuple(drawn), "ceilings": tuple(roofs)})
    return tuple(roofline(seen, d.name) for d in study.devices)


def value(workload: Workload, t: Interval | None) -> str:
    """Return a time in the workload's unit, with its interval."""
    if t is None:
        return NOT_MEASURED
    low, high = sorted((workload.value(t.low), workload.value(t.high)))
    return f"{significant(workload.value(t.median))} {workload.unit} ({significant(low)} to {significant(high)})"


def speedups(study: Study) -> Section:
    """Return the section on the speed of each other device over the CPU's."""
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
    unified = any(d.unified_memory for d in others)
    told = " GPU and CPU have the same memory: what counts is what each reads of it, not copies." if unified else ""
    verdict = f"{plural(len(rows), 'kernel')} on {listed(d.title for d in others)} against the CPU.{told}"
    header = ("Kernel", "Device", "The CPU's time over its own")
    table = Table("Speed-up over the CPU, processes paired", header, rows, frozenset({2}))
    return Section(verdict, (table, reach(study)))


def reach(study: Study) -> Table | None:
    """Return a table of each device's speed in its own memory, in the host's, and with a copy of it first."""
    named = (("reduction", "it reads its own memory"), ("read-in-place", "it reads the host's memory in place"),
             ("copy-to-pinned-64MiB", "the host's memory is copied to its own"))  # fmt: skip
    by_name = {w.name: w for w in study.workloads}
    rows = [
        (d.title, title, value(by_name[name], t))
        for d in study.devices
        if not d.is_cpu
        for name, title in named
        if (t := study.estimate(name, d.name)) is not None
    ]
    caption = "Where data lies: where it is read in place as fast as from its own memory, a copy gains nothing"
    return Table(caption, ("Device", "How", "Rate"), rows, frozenset({2})) if rows else None


def precision(study: Study) -> Section:
    """Return the section on the speed and the error of each precision."""
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
        told += [f"on {device.name} {precision_text(against)}"] if against else []
    header = ("Precision", "Device", "Rate", "Of fp32", "Largest error", "Note")
    caption = "The same matrix product in each precision; errors against float64, relative to the largest value"
    verdict = "; ".join(told)
    return Section(
        f"{capitalised(verdict)}." if told else "Nothing was measured.",
        (table_of(study, caption, header, rows, frozenset({2, 3, 4})),),
    )


def precision_text(against: dict[str, Interval]) -> str:
    """Return the precisions' speeds as text: ``bf16 is 4.3x as fast as fp32``."""
    parts = []
    for name in ("bf16", "fp16", "int8", "tf32", "fp8"):
        r = against.get(name)
        if r is None:
            continue
        if r.low > 1:
            parts.append(f"{name} is {significant(r.median, 2)}x as fast as fp32")
        elif r.high < 1:
            parts.append(f"{name} takes {significant(1 / r.median, 3)}x as long as fp32")
        else:
            parts.append(f"{name} is undecided ({significant(r.low, 2)}x to {significant(r.high, 2)}x as fast as fp32)")
    return listed(parts)
