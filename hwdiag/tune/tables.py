"""Tables of everything in a Host and a Record, the same for terminal, notebook and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwdiag.core.choices import ENGINES, Accuracy
from hwdiag.experiment.lever import Plan
from hwdiag.experiment.model import OVERALL, Estimate, Measurement, Workload
from hwdiag.process.environment.registry import IMAGINED_CAPS, caps_of
from hwdiag.process.model import Disturbance, Software, ThreadPool
from hwdiag.record.model import Record
from hwdiag.record.tuning import Tuning, tuning
from hwdiag.report.format import (
    UNKNOWN,
    count,
    disk_size,
    measured,
    outcome_text,
    percent,
    plural,
    seconds,
    significant,
    size,
    speedup,
)
from hwdiag.report.roof import Roof, default_estimates, roof_of
from hwdiag.report.table import Cell, Ids, Share, known
from hwdiag.report.table import Table as Table
from hwdiag.tune.below_ceiling import below_ceiling

SEVERITIES = ("problem", "warning", "note")
ACCURACY_WORDS: dict[Accuracy, str] = {
    "same": "unchanged but for rounding",
    "reduced": "at lower precision (bf16, fp16, TF32)",
    "quantised": "quantised to integers",
}


# Software, plan


def software_table(software: Software) -> Table:
    """Return a table of the target interpreter and its PyTorch, or of how it died."""
    yes = {True: "yes", False: "no", None: None}
    rows = known((
        ("Interpreter", software.python),
        ("Outcome", None if software.outcome.ok else outcome_text(software.outcome.kind, software.outcome.detail)),
        ("Python", software.python_version),
        ("torch", software.torch_version),
        ("CUDA of torch", software.cuda or ("none: a CPU build" if software.torch_version else None)),
        ("CUDA devices", ", ".join(software.cuda_devices) or software.cuda_note),
        ("CPU kernels", software.cpu_capability),
        ("Can be capped by", "; ".join(caps_of(software)) if software.outcome.ok else None),
        ("Caps nothing", ", ".join(IMAGINED_CAPS) if software.outcome.ok else None),
        ("MKL", yes[software.mkl]),
        ("oneDNN", yes[software.onednn]),
        ("Threads", software.threads and f"{software.threads} intra-op, {software.interop_threads or '?'} inter-op"),
        *((f"Library {p.name}", _pool(p)) for p in software.pools),
        ("numpy", software.numpy_version),
        *((f"${name}", value or "(empty)") for name, value in sorted(software.environment.items())),
    ))  # fmt: skip
    return Table("The PyTorch that you run", ("Fact", "Value"), tuple(rows))


def _pool(pool: ThreadPool) -> str:
    facts = (
        pool.api,
        pool.version and f"version {pool.version}",
        pool.threads and plural(pool.threads, "thread"),
        pool.path,
    )
    return ", ".join(f for f in facts if f)


def plan_table(plans: Sequence[Plan], workloads: Sequence[Workload]) -> Table:
    """Return a table of what is going to be measured: every Plan, and every workload with its work per iteration."""
    rows = [("plan", plan.title, plan.describe(), "") for plan in plans]
    rows += [("workload", w.name, w.title + (f" ({w.note})" if w.note else ""), _work(w)) for w in workloads]
    return Table("What is measured", ("Part", "Name", "What it is", "Work per iteration"), tuple(rows), frozenset({3}))


def _work(workload: Workload) -> str:
    """Return a workload's operations, and its bytes read plus written: ``17.2 GFLOP, 50.3 MB``."""
    if workload.family == "own":
        return UNKNOWN
    return f"{count(workload.flops)}FLOP, {disk_size(workload.bytes)}"


# Results


def results_table(record: Record) -> Table:
    """Return a table of each workload as it runs today: speed or time with its interval, and its share of the
    ceiling."""
    study = tuning(record)
    roofs = {e.device: roof_of(study, e.device) for _, e in default_estimates(study)}
    rows = tuple(_result(w, e, roofs[e.device]) for w, e in default_estimates(study))
    header = ("Workload", "Device", "Today (95 % interval)", "Of the ceiling", "Processes / samples", "Evidence")
    return Table("As it runs today", header, rows, frozenset({2, 3, 4}))


def _result(workload: Workload, estimate: Estimate, roof: Roof) -> tuple[Cell, ...]:
    share = roof.share(workload, estimate.seconds.median)
    return (
        workload.title,
        estimate.device,
        value_text(workload, estimate),
        UNKNOWN if share is None else Share(share),
        f"{estimate.seconds.processes} / {estimate.seconds.samples}",
        Ids(estimate.measurements),
    )


def value_text(workload: Workload, estimate: Estimate) -> str:
    """Return a workload's speed or time in its unit, with its interval."""
    interval = estimate.seconds
    if interval.processes < 2:
        return f"{significant(workload.value(interval.median))} {workload.unit} (one process)"
    low, high = sorted((workload.value(interval.low), workload.value(interval.high)))
    return measured(workload.value(interval.median), low, high, workload.unit)


def below_ceiling_table(study: Tuning) -> Table:
    """Return a table of what runs far below its ceiling, with the cause by evidence, or what would tell it."""
    rows = []
    for b in below_ceiling(study):
        where = b.workload.title if b.device == "cpu" else f"{b.workload.title} on {b.device}"
        cause = "; ".join(c.what for c in b.causes) or f"not known: {b.why_unknown}"
        evidence = "; ".join(c.evidence for c in b.causes) or f"'{b.command}' would show it"
        rows.append((where, Share(b.share), cause, evidence))
    header = ("Workload", "Of the ceiling", "Cause", "Evidence")
    return Table("Far below its ceiling, and why", header, tuple(rows), frozenset({1}))


def accuracies_table(record: Record) -> Table:
    """Return a table of the best confirmed plan of each accuracy on all workloads together, with its measured error.

    An accuracy of which no plan was confirmed says how far it was looked at; there is no row where no plan has it.
    """
    study = tuning(record)
    plans = {plan.id: plan for plan in study.plans}
    rows = []
    for accuracy, words in ACCURACY_WORDS.items():
        mine = [c for c in study.comparisons if c.workload == OVERALL and plans[c.candidate].accuracy == accuracy]
        if not mine:
            continue
        best = max(mine, key=lambda c: (c.phase == "confirm", c.verdict == "better", c.speedup.low))
        judged = best.verdict if best.phase == "confirm" else "seen in the screening only, not confirmed"
        errors = [m.max_error for m in study.measurements if m.plan == best.candidate and m.max_error is not None]
        error = f"{100 * max(errors):.2g} %" if errors else "not measured"
        plan = plans[best.candidate]
        title = f"{plan.title} (unsupported)" if plan.risk else plan.title
        rows.append((words, title, speedup(best.speedup), judged, error))
    header = ("Results", "Best plan", "Speed-up (95 % interval)", "Verdict", "Largest error against float64")
    return Table("The best plan of each accuracy", header, tuple(rows), frozenset({2, 4}))


def ceilings_table(record: Record) -> Table:
    """Return a table of the highest rates that each device reached in this run."""
    study = tuning(record)
    rows = []
    for c in study.ceilings:
        unit = "FLOP/s" if c.kind == "compute" else "B/s, read plus written"
        rows.append((c.device, f"{c.kind}, {c.dtype}", f"{count(c.value)}{unit}", c.workload, Ids((c.measurement,))))
    header = ("Device", "Ceiling", "Most reached", "Workload", "Evidence")
    return Table("Ceilings: the most that was reached here", header, tuple(rows), frozenset({2}))


def engines_table(record: Record) -> Table:
    """Return a table of the same matrix product by each library, under each Plan that it was measured under."""
    study = tuning(record)
    by_name = {w.name: w for w in study.workloads}
    found = [e for e in study.estimates if e.workload in ENGINES and e.device == "cpu" and e.workload in by_name]
    best = max((by_name[e.workload].value(e.seconds.median) for e in found), default=0.0)
    titles = titles_of(record)
    rows = tuple(
        (
            ENGINES[e.workload],
            titles[e.plan],
            f"{by_name[e.workload].value(e.seconds.median):.0f} GFLOP/s",
            percent(by_name[e.workload].value(e.seconds.median) / best),
            Ids(e.measurements),
        )
        for e in sorted(found, key=lambda e: e.seconds.median)
    )
    header = ("Library", "Plan", "Speed", "Of the fastest here", "Evidence")
    return Table("The same product by each library", header, rows, frozenset({2, 3}))


def comparisons_table(record: Record) -> Table:
    """Return a table of every Plan against today's default."""
    study = tuning(record)
    plans = {plan.id: plan for plan in study.plans}
    rows = tuple(
        (
            c.workload,
            c.device,
            plans[c.candidate].title,
            plans[c.candidate].describe(),
            c.phase,
            speedup(c.speedup),
            c.verdict if c.phase == "confirm" else "not judged",
            str(c.speedup.processes),
            Ids(c.measurements),
        )
        for c in study.comparisons
    )
    header = (
        "Workload",
        "Device",
        "Plan",
        "It sets",
        "Phase",
        "Speed-up (95 % interval)",
        "Verdict",
        "Pairs",
        "Evidence",
    )
    return Table("Plans against today's default", header, rows, frozenset({5, 7}))


def findings_table(record: Record) -> Table:
    """Return a table of the findings, the worst first."""
    found = sorted(record.findings, key=lambda f: SEVERITIES.index(f.severity))
    rows = tuple((f.severity, f.title, f.detail, Ids(f.evidence)) for f in found)
    return Table("Findings", ("Severity", "Finding", "Why it matters, what to do", "Evidence"), rows)


def recommendations_table(record: Record) -> Table:
    """Return a table of what to change, in the order of the measured gain, and of what to keep."""
    rows = tuple(
        (r.title, speedup(r.speedup) if r.speedup else "none shown", r.why, r.risk or "none known",
         r.undo or ("nothing to undo" if r.plan is None else UNKNOWN), Ids(r.evidence))
        for r in record.recommendations
    )  # fmt: skip
    header = ("Recommendation", "Speed-up (95 % interval)", "Why", "Risk", "How to undo it", "Evidence")
    return Table("Recommendations", header, rows, frozenset({1}))


def checks_table(record: Record) -> Table:
    """Return a table of what was checked and is fine, and of what could not be checked."""
    words = {"fine": "fine", "unchecked": "not checked"}
    rows = tuple((words[c.state], c.title, c.detail) for c in record.checks)
    return Table("Checks", ("State", "Check", "Detail"), rows)


def files_table(record: Record) -> Table:
    """Return a table of the files beside the record."""
    return Table("Files", ("File", "What it is"), tuple((f.path, f.what) for f in record.files))


# Measurements


def titles_of(record: Record) -> dict[str, str]:
    """Return what people call each Plan, by its id."""
    return {plan.id: plan.title for plan in tuning(record).plans}


def measurements_table(
    measurements: Sequence[Measurement], titles: Mapping[str, str], caption: str = "All measurements"
) -> Table:
    """Return a table with one row per process and workload, with an anchor of its id."""
    rows = tuple(_measurement(m, titles[m.plan]) for m in measurements)
    header = ("Id", "Workload", "Plan", "Device", "Phase", "Process", "Samples", "Median", "Outcome", "Meanwhile")
    return Table(caption, header, rows, frozenset({5, 6, 7}), tuple(m.id for m in measurements))


def _measurement(m: Measurement, title: str) -> tuple[Cell, ...]:
    return (
        m.id, m.workload, title, m.device, m.phase, str(m.process), str(len(m.seconds)),
        seconds(m.median_s) if m.seconds else "none",
        outcome_text(m.outcome.kind, m.outcome.detail),
        disturbance_text(m.disturbance),
    )  # fmt: skip


def failures_table(record: Record) -> Table:
    """Return a table of the measurements that did not end well."""
    study, titles = tuning(record), titles_of(record)
    failed = [m for m in study.measurements if not m.outcome.ok]
    rows = tuple(
        (m.workload, titles[m.plan], m.device, outcome_text(m.outcome.kind, m.outcome.detail), Ids((m.id,)))
        for m in failed
    )
    return Table("Measurements that failed", ("Workload", "Plan", "Device", "What happened", "Evidence"), rows)


def disturbance_text(d: Disturbance) -> str:
    """Return what the machine did meanwhile. A disturbance is named only where there was some."""
    parts = (
        d.load is not None and f"load {d.load:.2g}",
        d.other_cpu is not None and f"others {d.other_cpu:.2g} CPU",
        d.steal and f"steal {percent(d.steal)}",
        d.throttled_s and f"throttled {seconds(d.throttled_s)}",
        d.swapped_bytes and f"swapped {size(d.swapped_bytes)}",
        d.mhz is not None and f"{d.mhz:.0f} MHz",
        d.other_run and "another hwdiag",
        d.stopped_windows and f"stopped {d.stopped_windows} times",
        d.suspended_s and f"suspended {seconds(d.suspended_s)}",
    )
    return ", ".join(p for p in parts if p) or UNKNOWN
