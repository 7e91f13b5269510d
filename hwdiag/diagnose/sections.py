"""The sections of the workbook: each a verdict drawn from the data, with the tables and figures behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hwdiag.core.choices import ENGINES
from hwdiag.core.text import capitalised, listed
from hwdiag.diagnose.first_screen import asked
from hwdiag.experiment.lever import BASELINE, plan_by_id
from hwdiag.experiment.model import OVERALL, Comparison, SearchStep
from hwdiag.experiment.screening import ALL
from hwdiag.experiment.statistics import pairs_needed
from hwdiag.process.software import ELSEWHERE
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning
from hwdiag.report.figure import Figure
from hwdiag.report.format import count, percent, plural, speedup
from hwdiag.report.host_table import host_section
from hwdiag.report.plots import gains, noise_strips, roofline, search_steps, thread_scaling
from hwdiag.report.plots._gains import min_effect
from hwdiag.report.plots._scaling import curves_of
from hwdiag.report.plots._search import distinct
from hwdiag.report.roof import default_estimates, roof_of
from hwdiag.report.section import Section
from hwdiag.report.table import Table
from hwdiag.report.topology import draw_topology
from hwdiag.tune import tables

NOTHING = "Nothing was measured."
DRIFT_P = 0.01
"""Chance below which a trend over the run is called one."""


def machine(record: Record) -> Section:
    """Return the section on what this machine is."""
    return host_section(record.host)


def topology(record: Record) -> Figure:
    """Return the drawing of sockets, nodes, caches, cores and GPUs."""
    return draw_topology(record.host)


def software(record: Record) -> Section:
    """Return the section on the PyTorch that runs here."""
    found = record.software
    if not record.host.is_here:
        return Section(f"Which PyTorch runs there is not known: {ELSEWHERE}.", ())
    if not found.outcome.ok:
        return Section(f"PyTorch does not run: {found.outcome.detail}.", (tables.software_table(found),))
    gpus = ", ".join(found.cuda_devices) or "no GPU"
    verdict = (
        f"PyTorch {found.torch_version} runs with {found.cpu_capability} kernels, "
        f"{plural(found.threads or 0, 'thread')} and {gpus}."
    )
    return Section(verdict, (tables.software_table(found),))


def plan(record: Record) -> Section:
    """Return the section on what will be measured."""
    study = tuning(record)
    elsewhere = "" if record.host.is_here else "On that host, not on this machine: "
    verdict = (
        f"{elsewhere}{plural(len(study.workloads), 'workload')} under {plural(len(study.plans), 'plan')}, "
        f"with the budget {record.params.get('tune', {}).get('budget')!r}."
    )
    return Section(verdict, (tables.plan_table(study.plans, study.workloads),))


def speeds(record: Record) -> Section:
    """Return the section on the speed of each workload today."""
    study = tuning(record)
    shares = {}
    for workload, estimate in default_estimates(study):
        share = roof_of(study, estimate.device).share(workload, estimate.seconds.median)
        if share is not None:
            shares[f"{workload.name} on {estimate.device}"] = share
    if not shares:
        today = [f"{w.name} {tables.value_text(w, e)}" for w, e in default_estimates(study)]
        verdict = f"Today: {listed(today)}." if today else NOTHING
        failed = tables.failures_table(record)
        return Section(verdict, (tables.results_table(record) if today else None, failed if failed.rows else None))
    best, worst = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
    verdict = (
        f"Nearest to what this machine reached is {best} ({percent(shares[best])} of its ceiling), "
        f"farthest {worst} ({percent(shares[worst])})."
    )
    failed = tables.failures_table(record)
    return Section(verdict, (tables.results_table(record), failed if failed.rows else None))


def ceilings(record: Record) -> Section:
    """Return the section on the ceilings, and on each workload's distance from them."""
    study = tuning(record)
    units = {"compute": "FLOP/s", "memory": "B/s"}
    reached = [f"{count(c.value)}{units[c.kind]} ({c.kind}, {c.dtype}, {c.device})" for c in study.ceilings]
    verdict = f"The most reached here: {', '.join(reached)}." if reached else NOTHING
    devices = dict.fromkeys(c.device for c in study.ceilings)
    below = tables.below_ceiling_table(study)
    return Section(verdict, (*(roofline(study, device) for device in devices), below if below.rows else None))


def threads(record: Record) -> Section:
    """Return the section on the number of threads."""
    curves = curves_of(record)
    if not curves:
        return Section("Only one thread count was measured." if record.host.is_here else NOTHING, ())
    wanted = {curve.best.threads for curve in curves}
    today = sum(curve.best.default for curve in curves)
    counts = listed(plural(n, "thread") for n in sorted(wanted))
    verdict = f"Fastest with {counts}; for {today} of {plural(len(curves), 'workload')} that is how it runs today."
    return Section(verdict, (thread_scaling(record),))


def noise(record: Record) -> Section:
    """Return the section on the machine's noise."""
    study = tuning(record)
    found = study.noise
    if found is None:
        return Section("The noise was not measured." if record.host.is_here else NOTHING, ())
    trend = " The machine drifted over the run." if found.drift_p < DRIFT_P else ""
    needed = pairs_needed(found.spread, min_effect(record) / 200)
    verdict = (
        f"Single processes of today's default differ by {percent(found.alone)}, two processes that take turns by "
        f"{percent(found.spread)}. A comparison takes {plural(needed, 'pair')} to be exact to "
        f"{min_effect(record) / 2:g} %, half of the minimum effect.{trend}"
    )
    return Section(verdict, (noise_strips(record),))


def search(record: Record) -> Section:
    """Return the section on the plans that the search tried."""
    study = tuning(record)
    asked = distinct(study.steps)
    if not asked:
        return Section(f"{nothing_compared(record)}." if record.host.is_here else NOTHING, ())
    taken = [f"{taken_on(record, s)} ({s.factor})" for s in asked if s.adopted and s.factor != ALL]
    tried = sum(len(s.options) for s in asked)
    verdict = f"{plural(tried, 'other way')} tried. Looked faster, and measured again: {listed(taken) or 'none'}."
    return Section(verdict, (search_steps(record),))


def taken_on(record: Record, step: SearchStep) -> str:
    """Return the lever that a step took on."""
    lever = plan_by_id(tuning(record).plans, step.adopted or BASELINE).lever_of(step.factor)
    return lever.title if lever else BASELINE


def engines(record: Record) -> Section:
    """Return the section on the kernels that the libraries dispatch to."""
    study = tuning(record)
    measured = [(w, e) for w, e in default_estimates(study) if w.name in ENGINES and e.device == "cpu"]
    rates = {ENGINES[w.name]: w.value(e.seconds.median) for w, e in measured}
    if not rates:
        return Section(NOTHING, ())
    best = max(rates, key=rates.__getitem__)
    others = listed(f"{name} {rate:.0f}" for name, rate in rates.items() if name != best)
    verdict = f"Of today's libraries {best} multiplies fastest, {rates[best]:.0f} GFLOP/s"
    return Section(f"{verdict}; {others}." if others else f"{verdict}.", (tables.engines_table(record),))


def comparisons(record: Record) -> Section:
    """Return the section on plans that were confirmed to be faster or not."""
    study = tuning(record)
    confirmed = [c for c in study.comparisons if c.phase == "confirm"]
    better = [c for c in confirmed if c.verdict == "better"]
    if not study.comparisons:
        return Section(f"{nothing_compared(record)}." if record.host.is_here else NOTHING, ())
    titles = tables.titles_of(record)
    if better:
        told = (f"{c.workload} {speedup(c.speedup)} as fast with {titles[c.candidate]}" for c in better)
        verdict = f"Shown to be faster: {'; '.join(told)}."
    elif confirmed:
        best = max(confirmed, key=lambda c: (c.workload == OVERALL, c.speedup.median))
        verdict = (
            f"Nothing was shown to be faster; the nearest is {titles[best.candidate]}, "
            f"{speedup(best.speedup)} {best.workload}."
        )
    else:
        verdict = screened_alone(record, study.comparisons)
    return Section(verdict, (gains(record), tables.comparisons_table(record)))


def nothing_compared(record: Record) -> str:
    """Return why no other way was compared: there is none, or none had its turn."""
    untried = tuning(record).untried
    if untried:
        return f"No other way was compared: {plural(len(untried), 'lever')} had no turn in the time"
    return "No other way to start it is known here"


def screened_alone(record: Record, comparisons: Sequence[Comparison]) -> str:
    """Return what can be said of a screening after which nothing was measured again."""
    seen = [c for c in comparisons if c.workload == OVERALL] or [*comparisons]
    best = max(seen, key=lambda c: c.speedup.median)
    if best.speedup.median < 1 + min_effect(record) / 100:
        return "No other way looked faster in the screening by enough to be measured again."
    title = tables.titles_of(record)[best.candidate]
    return f"Undecided: {title} looked faster in the screening, {speedup(best.speedup)}, and was not measured again."


def findings(record: Record) -> Section:
    """Return the section on findings and checks."""
    counts = Counter(f.severity for f in record.findings)
    states = Counter(c.state for c in record.checks)
    found = [plural(counts[s], s) for s in ("problem", "warning", "note") if counts[s]]
    verdict = (
        f"{capitalised(listed(found)) or 'No finding'}; {states['fine']} checks are fine, "
        f"{states['unchecked']} could not be made."
    )
    told = tables.findings_table(record) if record.findings else None
    return Section(verdict, (told, tables.checks_table(record), asked_table(record)))


def asked_table(record: Record) -> Table | None:
    """Return a table of what each topic was asked, and which command asks the rest; None where a record does not
    tell."""
    rows = [
        (
            a.title,
            a.looked_at or f"nothing: {a.why_not}",
            f"{a.seconds:g} s" if a.looked_at else "",
            a.beyond,
            a.command,
        )
        for a in asked(record)
    ]
    header = ("Topic", "Looked at", "Took", "Not looked at", "The command that would")
    return Table("What was looked at, and what was not", header, rows, frozenset({2})) if rows else None


def recommendations(record: Record) -> Section:
    """Return the section on what should change."""
    return Section(record.verdict, (tables.recommendations_table(record) if record.recommendations else None,))
