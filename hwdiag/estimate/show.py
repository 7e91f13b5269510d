"""Estimates as a person sees them: sections with a verdict each, drawn from counts, the catalogue and a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwdiag.catalogue.parts import Part, sourced_values
from hwdiag.core.text import listed
from hwdiag.estimate.comparison import PublishedRow, bounds
from hwdiag.estimate.constants import FittedConstants
from hwdiag.estimate.estimate import Cost
from hwdiag.estimate.model import Checked, HoldoutError, NetEstimate
from hwdiag.estimate.points import PublishedPoint
from hwdiag.experiment.net_count import MATRIX, Count
from hwdiag.report.format import UNKNOWN, count, disk_size, percent, plural, seconds, significant
from hwdiag.report.section import Section
from hwdiag.report.table import Table

NO_EVIDENCE = "not held against published figures"
HELD_OUT = "Error, held out"
"""Median error for devices of the class that the constants had not seen."""


def parts(catalogue: Mapping[str, Part]) -> Section:
    """Return the section on the machines of the catalogue."""
    kinds = [sum(p.kind == kind for p in catalogue.values()) for kind in ("cpu", "gpu")]
    open_ = sum(not value.confirmed for p in catalogue.values() for _, value in sourced_values(p))
    verdict = (
        f"{plural(kinds[0], 'CPU')} and {plural(kinds[1], 'GPU')}, every value with its source; "
        f"{open_} values are not yet compared with their source (*)."
    )
    return Section(verdict, (parts_table(catalogue),))


def parts_table(catalogue: Mapping[str, Part]) -> Table:
    """Return a table of the spec sheets, with the peaks that follow from them."""
    rows = []
    for key, part in catalogue.items():
        kind = part.cores[0]
        unit = ", ".join(dict.fromkeys(o.unit for k in part.cores for o in k.operations.values() if o.unit)) or "none"
        clock = kind.base_ghz or kind.max_ghz
        rows.append(
            (
                key,
                part.architecture,
                part.device_class,
                str(part.core_count),
                f"{clock.value:g}{'' if clock.confirmed else ' *'}",
                *(tera(part, dtype) for dtype in ("float32", "bfloat16", "int8")),
                f"{part.memory.bandwidth_gbs.value:g}{'' if part.memory.bandwidth_gbs.confirmed else ' *'}",
                f"{part.tdp_w.value:g}" if part.tdp_w else UNKNOWN,
                unit,
            )
        )
    header = (
        "Part", "Architecture", "Class", "Cores", "GHz", "FP32 TFLOP/s", "BF16 TFLOP/s", "INT8 TOP/s", "GB/s", "TDP W",
        "Units",
    )  # fmt: skip
    caption = (
        "The catalogue: peaks follow from cores x clock x operations a cycle, at the base clock where one is given"
    )
    return Table(caption, header, rows, frozenset(range(3, 10)))


def tera(part: Part, dtype: str) -> str:
    peak = part.peak(dtype)
    if peak is None:
        return "-"
    unsure = any(not k.operations[dtype].confirmed for k in part.cores)  # type: ignore[index]
    return significant(peak / 1e12) + (" *" if unsure else "")


def counted(counts: Sequence[Count]) -> Section:
    """Return the section on the operations of nets."""
    biggest = max(counts, key=lambda c: c.flops)
    missed = sum(len(c.uncounted) for c in counts)
    told = f"{plural(missed, 'kind')} of operation were not counted" if missed else "no operation went uncounted"
    verdict = (
        f"{plural(len(counts), 'net')} counted without memory for their weights; {told}. "
        f"The largest, {biggest.spec.title}, does {count(biggest.flops)}FLOP."
    )
    header = (
        "Net", "Parameters", "FLOP", "of them attention", "Other elements", "Weights read", "Activations", "Cache",
    )  # fmt: skip
    rows = [
        (
            c.spec.title + (f", {c.spec.dtype}" if c.spec.dtype != "float32" else ""),
            count(c.parameters).strip(),
            count(c.flops).strip(),
            percent(share(c, ("attention", "attention-causal"))),
            percent(other_share(c)),
            disk_size(c.touched_bytes),
            f"{disk_size(c.least_bytes - c.touched_bytes - c.kv_bytes)} to {disk_size(activations(c))}",
            disk_size(c.kv_bytes) if c.kv_bytes else "-",
        )
        for c in counts
    ]
    caption = (
        "Counts of one run; other elements: written outside of products, over FLOP; activations: from all fused to none"
    )
    return Section(verdict, (Table(caption, header, rows, frozenset(range(1, 8))),))


def share(of: Count, kinds: Sequence[str]) -> float:
    """Return the share of the FLOP in these classes."""
    return sum(o.flops * o.times for o in of.operations if o.kind in kinds) / of.flops if of.flops else 0.0


def other_share(of: Count) -> float:
    """Return the elements that are written outside of products, over FLOP: one operation each, roughly."""
    width = 4 if of.spec.dtype == "float32" else 2
    elements = sum(o.written_bytes / width * o.times for o in of.operations if o.kind not in MATRIX)
    return elements / of.flops if of.flops else 0.0


def activations(of: Count) -> float:
    """Return the bytes of activations that all operations read and write on their own."""
    return sum((o.read_bytes + o.written_bytes) * o.times for o in of.operations)


def document(rows: Sequence[PublishedRow]) -> Section:
    """Return the section on what the comparison said, and on what follows from the counts."""
    outside = [r for r in rows if not (r.ours.fast or r.ours.floor) <= r.published <= r.ours.pessimistic]
    verdict = (
        f"{len(outside)} of {len(rows)} published latencies lie outside the interval in which nine of ten measured "
        f"ones do; the explanation of each difference follows from the counts."
    )
    shown = [
        (
            r.net,
            r.part,
            seconds(r.published),
            seconds(r.ours.floor),
            seconds(r.ours.likely),
            interval(r.ours),
            r.ours.bound,
            error_elsewhere(r.ours.evidence),
            r.why,
        )
        for r in rows
    ]
    header = ("Net", "Part", "Published", "Floor", "Likely", "Interval", "Bound by", HELD_OUT, "Why")
    return Section(
        verdict, (Table("Batch 1, INT8: published by the source, and ours", header, shown, frozenset(range(2, 6))),)
    )


def unit(estimate: NetEstimate) -> str:
    """Return the unit of a speed: ``runs`` where a net of the person's own brings inputs without a common first
    dimension."""
    if ":" in estimate.spec.net and estimate.samples is None:
        return "runs"
    return "tokens" if estimate.spec.phase == "decode" else "samples"


def interval(estimate: NetEstimate) -> str:
    """Return the times between which nine of ten published ones lie."""
    return f"{seconds(estimate.fast or estimate.floor)} to {seconds(estimate.pessimistic)}"


def error_elsewhere(evidence: HoldoutError | None) -> str:
    """Return the estimator's error on devices of this class that it had not seen."""
    return f"{evidence.median:.0%} ({evidence.title})" if evidence else NO_EVIDENCE


def amx(counts: Mapping[str, Count], with_unit: Part, others: Sequence[Part]) -> Section:
    """Return the section on whether a matrix unit helps Transformers."""
    rows = []
    for title, c in counts.items():
        compute, memory = bounds(c, with_unit)
        without, _ = bounds(c, with_unit, matrix=False)
        for part, arithmetic in ((with_unit, compute), (with_unit, without)):
            unit = "AMX" if arithmetic == compute else "VNNI"
            rows.append(
                (title, f"{part.name}, {unit}", seconds(arithmetic), seconds(memory), bound(arithmetic, memory))
            )
        for part in others:
            arithmetic, reading = bounds(c, part)
            rows.append((title, part.name, seconds(arithmetic), seconds(reading), bound(arithmetic, reading)))
    last = list(counts.values())[-1]
    gain = bounds(last, with_unit, matrix=False)[0] / max(bounds(last, with_unit))
    verdict = (
        f"It helps them as it helps convolutions: outside of products {last.spec.net} has one element for "
        f"{1 / other_share(last):,.0f} FLOP, and its lower bound is {gain:.1f} times lower with AMX."
    )
    caption = "Least time at batch 1, INT8: arithmetic at the base clock's peak, and weights read once"
    header = ("Net", "Part", "Arithmetic", "Memory", "Bound by")
    return Section(verdict, (Table(caption, header, rows, frozenset({2, 3})),))


def bound(arithmetic: float, memory: float) -> str:
    return "compute" if arithmetic > memory else "memory"


def evidence(found: FittedConstants) -> Section:
    """Return the section on the estimator's error where somebody measured."""
    whole = next(e for e in found.evidence if e.device_class == "all devices" and e.work is None)
    verdict = (
        f"{found.points} published speeds of {found.devices} devices, each device left out in turn: median error "
        f"{whole.median:.0%}, nine of ten within {whole.ninetieth:.0%}; {found.ranked:.0%} of the pairs that differ by "
        f"more than 25 % on the same work come in their order."
    )
    rows = [
        (
            e.device_class,
            e.work or "all",
            str(e.points),
            str(e.devices),
            f"{e.median:.0%}",
            f"{e.ninetieth:.0%}",
            f"{1 / e.factor:.2f} to {e.factor:.2f}",
        )
        for e in found.evidence
    ]
    header = ("Devices", "Work", "Points", "Devices", "Median error", "Nine of ten within", "Interval, times likely")
    return Section(
        verdict,
        (Table("Errors on devices that the constants had not seen", header, rows, frozenset(range(2, 7))),),
    )


def published(points: Mapping[str, PublishedPoint], found: FittedConstants, part: Part, key: str) -> Section:
    """Return the section on what was published of one part, and on the error of the estimate that never saw it."""
    own = {name: p for name, p in points.items() if p.part == key}
    if not own:
        return Section(f"Nothing published of {part.name} is in the folder.", ())
    off = sorted(abs(found.held_out[name]) for name in own)
    middle = percent(off[len(off) // 2])
    them = "it" if len(own) == 1 else "them"
    speeds = plural(len(own), "published speed")
    verdict = f"{speeds} of {part.name}. An estimate without {them} is off by {middle} in the median."
    rows = [
        (
            p.spec.title,
            p.dtype,
            p.software,
            f"{significant(p.figure)} {p.unit}",
            f"{found.held_out[name]:+.0%}",
            p.stack,
            p.source,
        )
        for name, p in own.items()
    ]
    header = ("Net", "Type", "Software", "Published", HELD_OUT, "Measured with", "Source")
    return Section(verdict, (Table(f"Published of {part.name}", header, rows, frozenset({3, 4})),))


def check(checked: Checked | None) -> Section:
    """Return the section on the estimator's error here."""
    if checked is None:
        return Section("The estimator was not checked on this host.", ())
    rows: list[tuple[str, ...]] = [
        (
            r.spec.title,
            r.spec.dtype,
            str(r.threads),
            seconds(r.floor),
            seconds(r.likely),
            seconds(r.pessimistic),
            seconds(r.measured.median),
            f"{r.error:+.1%}",
            r.bound,
            percent(r.utilisation),
            "" if r.decided else "disturbed",
        )
        for r in checked.rows
    ]
    header: tuple[str, ...] = (
        "Net", "Type", "Threads", "Floor", "Likely", "Pessimistic", "Measured", "Error", "Bound by", "Utilisation",
        "Note",
    )  # fmt: skip
    if all(r.decided for r in checked.rows):  # nothing to note
        header, rows = header[:-1], [row[:-1] for row in rows]
    caption = f"Predicted from single operations alone, and measured between them, on {checked.cpu}"
    return Section(checked.verdict, (Table(caption, header, rows, frozenset((2, 3, 4, 5, 6, 7, 9))),))


def fastest(best: Sequence[tuple[NetEstimate, Part, Cost | None]]) -> str:
    """Return which part runs which nets fastest, from the best estimate of each net."""
    nets: dict[str, list[str]] = {}
    for e, part, _ in best:
        nets.setdefault(part.name, []).append(e.spec.title)
    said = {name: titles[0] if len(titles) == 1 else plural(len(titles), "net") for name, titles in nets.items()}
    return listed(f"{name} for {what}" for name, what in said.items())


def elsewhere(rows: Sequence[tuple[NetEstimate, Part, Cost | None]]) -> Section:
    """Return the section on speed, energy and cost of nets on other machines."""
    if not rows:
        return Section("There is nothing to estimate.", ())
    nets = list(dict.fromkeys(e.spec.title for e, _, _ in rows))
    best = [
        max((r for r in rows if r[0].spec.title == net), key=lambda r: (r[0].fits is not False, r[0].per_second))
        for net in nets
    ]
    rows = sorted(rows, key=lambda r: (nets.index(r[0].spec.title), r[0].fits is False, -r[0].per_second))
    shown = [
        (
            e.spec.title,
            p.name if e.fits is not False else f"{p.name}: does not fit",
            e.dtype,
            e.software or "-",
            f"{significant(e.per_second)} {unit(e)}/s",
            seconds(e.likely),
            interval(e),
            seconds(e.floor),
            e.bound,
            percent(e.utilisation),
            significant(c.joules) if c else UNKNOWN,
            significant(c.total) if c and c.total is not None else UNKNOWN,
            error_elsewhere(e.evidence),
        )
        for e, p, c in rows
    ]
    header = (
        "Net", "Part", "Type", "Software", "Likely", "One run", "Interval", "Floor", "Bound by", "Utilisation",
        "J each", "USD a million", HELD_OUT,
    )  # fmt: skip
    caption = (
        "Speed, energy at the TDP, and cost of the processor over four years, half of them busy, with its energy; the "
        "interval holds nine of ten published speeds of devices that the constants had not seen"
    )
    return Section(
        f"Fastest by the likely figure: {fastest(best)}.",
        (Table(caption, header, shown, frozenset({4, 5, 6, 7, 9, 10, 11})),),
    )


def breakdown(estimate: NetEstimate) -> Table:
    """Return a table of the time of each class of operations."""
    rows = [
        (
            p.kind,
            count(p.flops).strip() if p.flops else "-",
            disk_size(p.bytes) if p.bytes else "-",
            seconds(p.likely),
            percent(p.likely / estimate.likely),
            p.bound,
            percent(p.utilisation) if p.utilisation is not None else "-",
        )
        for p in estimate.parts
    ]
    header = ("Operations", "FLOP", "Bytes, unfused", "Likely", "Share", "Bound by", "Utilisation")
    caption = f"{estimate.spec.title} on {estimate.part}, {estimate.dtype}, {estimate.software}"
    return Table(caption, header, rows, frozenset({1, 2, 3, 4, 6}))
