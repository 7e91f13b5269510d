"""Techniques, batch sizes, targets and promises of a study, as a person sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hwdiag.core.interval import Interval
from hwdiag.core.text import listed
from hwdiag.devices.claims import ClaimOutcome, GuideClaim
from hwdiag.devices.model import BatchPoint, BatchSearch, Gain, Study
from hwdiag.devices.recommend import Choice
from hwdiag.devices.show import NOT_MEASURED, absent, table_of
from hwdiag.experiment.techniques import BY_NAME
from hwdiag.report.format import UNKNOWN, plural, seconds, significant, size, speedup
from hwdiag.report.section import Section
from hwdiag.report.table import Table

DOESNT = "doesn't"
GUIDE = "a tuning guide for a Xeon E5 v2 with an RTX 3060"


def techniques(study: Study) -> Section:
    """Return the section on the gain of each technique."""
    if not study.gains:
        return Section("No technique was measured.", (absent(study, "techniques"),))
    won = [g for g in study.gains if g.comparison and g.comparison.verdict == "better"]
    told = [f"{BY_NAME[g.technique].title} on {g.workload} {speedup(cast('Interval', interval(g)))}" for g in won]
    lost = [g for g in study.gains if g.comparison and g.comparison.verdict == "worse"]
    verdict = f"Clearly faster: {'; '.join(told)}." if told else none_faster(study.gains)
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
            error_text(g),
            first_call(g),
            reason(g),
        )
        for g in study.gains
    ]
    caption = "Each technique against the same without it, in processes that take turns; median and 95 % interval"
    return Section(
        verdict,
        (table_of(study, caption, header, rows, frozenset({3, 6})), absent(study, "techniques"), meanings(study)),
    )


def no_settings(study: Study) -> str:
    """Return why settings.py changes nothing, by how much was compared."""
    if not any(g.comparison for g in study.gains):
        return "no technique was compared" if not study.gains else "no technique could be compared"
    won = any(g.comparison and g.comparison.verdict == "better" for g in study.gains)
    return "what gained on one net cost speed or accuracy on it or another" if won else "none was clearly faster"


def none_faster(gains: Sequence[Gain]) -> str:
    """Return why no technique is said to be faster, by how much was compared."""
    compared = [g for g in gains if g.comparison]
    if not compared:
        return "No technique could be compared; the table says why."
    left = sum(not g.is_unpromising and g.comparison.verdict == "undecided" for g in compared if g.comparison)
    unable = len(gains) - len(compared)
    more = [f"{left} of {len(gains)} comparisons are undecided"] if left else []
    more += [f"{unable} of {len(gains)} could not be made"] if unable else []
    return f"Of {plural(len(compared), 'comparison')} none was clearly faster{'; '.join(['', *more])}."


def interval(g: Gain) -> Interval | None:
    return g.comparison.speedup if g.comparison else None


def standing(g: Gain) -> str:
    """Return the verdict as text, or that the screening gave no hope of a gain."""
    if g.comparison is None:
        return "cannot"
    return "no sign of a gain" if g.is_unpromising else g.comparison.verdict


def reason(g: Gain) -> str:
    if g.comparison is None or not g.outcome.ok:
        return g.outcome.detail or "never measured beside the default"
    if not g.planned:
        more = "" if g.is_unpromising else "; more minutes would decide"
        return f"{plural(g.comparison.speedup.processes, 'pair')} in the screening{more}"
    return f"{plural(g.comparison.speedup.processes, 'pair')}: {g.comparison.why}"


def memory(g: Gain) -> str:
    if g.peak_bytes is None or g.default_peak_bytes is None:
        return UNKNOWN
    return f"{size(g.peak_bytes)} ({g.peak_bytes / g.default_peak_bytes - 1:+.0%})"


def error_text(g: Gain) -> str:
    if g.max_error is None:
        return UNKNOWN
    return f"{g.max_error:.1e}" + ("" if g.default_error is None else f" ({g.default_error:.1e})")


def first_call(g: Gain) -> str:
    """Return the time of the first call, cold and warm."""
    if g.cold_s is None:
        return NOT_MEASURED
    return f"{seconds(g.cold_s)} cold" + ("" if g.warm_s is None else f", {seconds(g.warm_s)} warm")


def meanings(study: Study) -> Table:
    """Return a table of what each technique does, and of what to mind."""
    rows = [
        (t.title, t.sentence, t.caution or NOT_MEASURED, t.source)
        for name in dict.fromkeys(g.technique for g in study.gains)
        if (t := BY_NAME[name])
    ]
    return Table("What they do", ("Technique", "What it does", "Mind", "Source"), rows)


def batches(study: Study) -> Section:
    """Return the section on the batch sizes that fit, and on the fastest."""
    if not study.batches:
        return Section("No batch sizes were tried.", (absent(study, "batches"),))
    told = [f"{b.net} {b.mode} on {b.device}: {batch_text(b)}" for b in study.batches]
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
        (
            table_of(study, "Each batch size in a process of its own", header, rows, frozenset({2, 3, 4})),
            absent(study, "batches"),
        ),
    )


def batch_text(b: BatchSearch) -> str:
    if b.largest is None or b.best is None:
        return f"not even one fits ({b.points[0].outcome.detail})"
    largest = f"at least {b.largest.batch} fit ({b.stopped})" if b.stopped else f"{b.largest.batch} fit"
    return f"{largest}, best with {b.best.batch}"


def batch_note(b: BatchSearch, p: BatchPoint) -> str:
    if not p.outcome.ok:
        return f"{p.outcome.kind}: {p.outcome.detail}"
    return "best" if p is b.best or p == b.best else ""


def targets(study: Study) -> Section:
    """Return the section on the guide's targets."""
    passed = {True: "pass", False: "FAIL", None: "not decided"}
    rows = [(t.name, t.device, t.wanted, t.measured, passed[t.passed], t.reason) for t in study.targets]
    decided = [t for t in study.targets if t.passed is not None]
    reached = listed(f"{t.name} on {t.device}" for t in decided if t.passed)
    missed = listed(f"{t.name} on {t.device}" for t in decided if not t.passed)
    said = [f"Reached: {reached}." if reached else "", f"Missed: {missed}." if missed else ""]
    verdict = " ".join(filter(None, said)) or "No target could be decided."
    header = ("Target", "Device", "Wanted", "Measured", "Verdict", "Why")
    return Section(
        verdict,
        (
            table_of(study, f"The targets of {GUIDE}", header, rows, frozenset()),
            absent(study, "targets"),
        ),
    )


def claims(rows: Sequence[tuple[GuideClaim, ClaimOutcome]]) -> Section:
    """Return the section on the guide's claims, and on how they hold here."""
    tally = {s: sum(outcome.standing == s for _, outcome in rows) for s in ("holds here", DOESNT, "needs a GPU")}
    open_ = len(rows) - sum(tally.values())
    verdict = (
        f"Of {len(rows)} promises {tally['holds here']} hold here, {tally[DOESNT]} don't, "
        f"{tally['needs a GPU']} need a GPU, and {open_} were not decided."
    )
    shown = [(p.claim, p.section, outcome.standing, outcome.why) for p, outcome in rows]
    header = ("The guide says", "Section", "Here", "Measured")
    return Section(verdict, (Table(f"The claims of {GUIDE}, one by one", header, shown),))


def settings(study: Study, choices: Sequence[Choice]) -> Section:
    """Return the section on what is worth having in a script."""
    if not choices:
        return Section(f"settings.py changes nothing: {no_settings(study)}.", ())
    rows = [(c.entry.title, c.mode, c.device, c.evidence, c.entry.caution or NOT_MEASURED) for c in choices]
    verdict = f"settings.py sets what was clearly faster: {listed(dict.fromkeys(c.entry.title for c in choices))}."
    header = ("Technique", "For", "Device", "Gain", "Mind")
    return Section(verdict, (Table("What settings.py sets", header, rows),))
