"""Sections of a recording: a verdict, percentiles, marks, its cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import listed
from hwdiag.monitor.model import COMMAND_FAILED, Monitored, Summary
from hwdiag.monitor.timeline import timeline
from hwdiag.process.gpu_symptoms import Answer
from hwdiag.report.format import clean, disk_size, percent, plural, said, shorten
from hwdiag.report.section import Section
from hwdiag.report.table import Table

EACH_CPU = re.compile(r"cpu\d+\.(use|clock)")


def verdict(done: Monitored, answers: Sequence[Answer]) -> str:
    """Return what was seen, in a sentence or two: the findings, or what was looked at without one."""
    use = done.summary("cpu.use")
    parts = [] if use is None else [f"CPUs {use.mean:.0f} % busy"]
    for gpu in done.gpus:
        if (busy := done.summary(f"gpu{gpu.index}.use")) is not None:
            parts.append(f"GPU {gpu.index} {busy.mean:.0f} %")
    what = f"{done.seconds:.0f} s" if not done.command else f"{clean(shorten(' '.join(done.command), 60))}"
    told_of = any(isinstance(a, Finding) and a.id == COMMAND_FAILED for a in answers)
    ended = f" It ended with: {clean(done.outcome)}." if done.outcome and not told_of else ""
    cut = f" The recording is cut: {done.cut}." if done.cut else ""
    return f"{what}: {listed(parts) or 'nothing was reported'}.{ended}{cut} {conclusion(answers)}"


def conclusion(answers: Sequence[Answer]) -> str:
    """Return the titles of the findings; without one, what was looked at."""
    found = [a for a in answers if isinstance(a, Finding)]
    if found:
        return f"{plural(len(found), 'finding')}: {listed(clean(f.title) for f in found)}."
    fine = [a.title for a in answers if isinstance(a, Check) and a.state == "fine"]
    looked = [title if title[1:2].isupper() else title[:1].lower() + title[1:] for title in fine]
    return f"No finding; looked at: {listed(looked)}." if looked else "Nothing was recorded that could be judged."


def percentiles(done: Monitored) -> Table:
    """Return a table of every column between the command's start and end; of the CPUs, the least and the most busy."""
    rows = [
        (title, *(said(v, s.unit) for v in (s.mean, s.p5, s.median, s.p95, s.most)))
        for title, s in shown(done.summaries)
    ]
    over = "while the command ran" if done.command else f"over {done.seconds:.0f} s"
    header = ("what", "mean", "5 %", "median", "95 %", "most")
    return Table(f"Percentiles {over}, {done.hz:g} samples a second", header, rows, frozenset(range(1, 6)))


def shown(summaries: Sequence[Summary]) -> list[tuple[str, Summary]]:
    """Return the rows of the table. Those of many CPUs are two; columns of 0 at all times are left out, but for all
    CPUs' use."""
    rows: list[tuple[str, Summary]] = []
    for kind in ("use", "clock"):
        each = sorted(
            (s for s in summaries if EACH_CPU.fullmatch(s.name) and s.name.endswith(kind)), key=lambda s: s.mean
        )
        if len(each) == 1:
            rows.append((each[0].title, each[0]))
        elif each:
            low, high = ("least busy", "busiest") if kind == "use" else ("slowest", "fastest")
            rows += [(f"{each[0].title} ({low} of {len(each)})", each[0]), (f"{each[-1].title} ({high})", each[-1])]
    told = [s for s in summaries if s.most > 0 or s.name == "cpu.use"]
    rest = [s for s in told if not EACH_CPU.fullmatch(s.name) and s.unit != "bits"]
    return [*((s.title, s) for s in rest if s.name.startswith("cpu.")), *rows,
            *((s.title, s) for s in rest if not s.name.startswith("cpu."))]  # fmt: skip


def answers_table(answers: Sequence[Answer]) -> Table:
    """Return a table of what was looked for, and what was seen."""
    found = [a for a in answers if isinstance(a, Finding)]
    fine = [a for a in answers if not isinstance(a, Finding)]
    rows: list[tuple[str, ...]] = [(f.severity, f.title, f.detail) for f in found]
    rows += [("fine" if c.state == "fine" else "not checked", c.title, c.detail) for c in fine]
    return Table("What it says", ("state", "what was looked at", "detail"), rows)


def marks_table(done: Monitored) -> Table | None:
    """Return a table of what happened when."""
    rows = [(f"{m.seconds:.2f}", m.text) for m in done.marks]
    return Table("Marks", ("seconds", "what happened"), rows, frozenset({0})) if rows else None


def absent_table(done: Monitored) -> Table | None:
    """Return a table of what is not in the recording, and why."""
    rows = [(g.what, g.why) for g in done.absent] + [(g.what, f"at times: {g.why}") for g in done.lost]
    return Table("Not recorded", ("what", "why"), rows) if rows else None


def cost(done: Monitored) -> str:
    """Return the cost of the watching, in a sentence."""
    c = done.cost
    a_sample = c.sampling_cpu_s / done.samples * 1e3 if done.samples else 0.0
    late = f"; {plural(c.late, 'sample')} came late" if c.late else ""
    return (
        f"Watching took {c.cpu_s:.2f} s of CPU time, {percent(c.share)} of one core: {a_sample:.2f} ms a sample for "
        f"reading {plural(len(done.columns), 'column')}, the rest for writing and showing. "
        f"{plural(done.samples, 'sample')}, {disk_size(c.file_bytes)}{late}."
    )


def summary(done: Monitored, answers: Sequence[Answer]) -> Section:
    """Return the section on what the machine did."""
    return Section(verdict(done, answers), (percentiles(done),))


def over_time(done: Monitored, path: Path) -> Section:
    """Return the section on when it did that."""
    told = f"{plural(len(done.marks), 'mark')} on the time axis." if done.marks else "No marks: nothing was started."
    return Section(told, (timeline(done, path), marks_table(done)))


def findings(answers: Sequence[Answer]) -> Section:
    """Return the section on what is wrong."""
    found = sum(isinstance(a, Finding) for a in answers)
    others = plural(len(answers) - found, "question")
    told = f"{plural(found, 'finding')}; {others} without one." if found else f"{others} without a finding."
    return Section(told, (answers_table(answers),))


def costs(done: Monitored) -> Section:
    """Return the section on the cost of the watching, and on what is missing."""
    return Section(cost(done), (absent_table(done),))


# Live
