"""Sections of a recording: a verdict, percentiles, marks, its cost; and the machine live, while it is watched."""

from __future__ import annotations

import math
import re
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import listed
from hwdiag.host.source import Column
from hwdiag.monitor.model import COMMAND_FAILED, Monitored, Summary
from hwdiag.monitor.timeline import timeline
from hwdiag.process.gpu_symptoms import Answer
from hwdiag.report import svg
from hwdiag.report.format import clean, disk_size, percent, plural, said, shorten
from hwdiag.report.section import Section
from hwdiag.report.table import Table
from hwdiag.report.widgets import is_interactive

EACH_CPU = re.compile(r"cpu\d+\.(use|clock)")
LIVE_S = 1.0
"""Seconds between two pictures."""
LIVE_SAMPLES = 120
"""Samples that the live picture shows."""
LIVE_ROWS = 32
GPU_ROWS = ("use", "power", "clock", "temperature", "memory")
"""Rows of the live picture for each GPU, the first ones first."""


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


class Live:
    """The last samples, as one picture that is drawn again every second."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.cores = [i for i, c in enumerate(columns) if re.fullmatch(r"cpu\d+\.use", c.name)]
        live = (i for i, c in enumerate(columns) if is_live(c.name))
        self.rows = sorted(live, key=lambda i: rank(columns[i].name))[:LIVE_ROWS]
        self.history: deque[Sequence[float]] = deque(maxlen=LIVE_SAMPLES)
        self.seconds = 0.0

    def add(self, seconds: float, values: Sequence[float]) -> None:
        """Add one sample."""
        self.seconds = seconds
        self.history.append(values)

    def svg(self) -> str:
        """Return the picture: a cell for each CPU, and a line for each other quantity with its present value."""
        now = self.history[-1]
        across = 64
        top = 44 + 12 * -(-len(self.cores) // across)
        root = svg.new(640, top + 22 * len(self.rows) + 10)
        svg.describe(root, "live", "the machine now", f"after {self.seconds:.0f} s", prefix="")
        svg.add(root, "rect", x=0.5, y=0.5, width=639, height=top + 22 * len(self.rows) + 9, rx=12, fill=svg.CARD,
                stroke=svg.LINE)  # fmt: skip
        svg.add(root, "text", f"{self.seconds:.0f} s; each CPU, darker is busier", x=14, y=24, font_size=13,
                fill=svg.INK)  # fmt: skip
        for n, i in enumerate(self.cores):
            busy = 0.0 if math.isnan(now[i]) else now[i] / 100
            svg.add(root, "rect", x=14 + 9.5 * (n % across), y=34 + 12 * (n // across), width=8.5, height=10,
                    fill=svg.BLUE, fill_opacity=f"{busy:.2f}", stroke=svg.LINE)  # fmt: skip
        for n, i in enumerate(self.rows):
            y = top + 22 * n + 16
            column = self.columns[i]
            svg.add(root, "text", column.title, x=14, y=y, font_size=12, fill=svg.INK)
            svg.add(root, "text", said(now[i], column.unit), x=380, y=y, font_size=12, fill=svg.INK, text_anchor="end")
            svg.add(root, "polyline", points=self.spark(i, y), fill="none", stroke=svg.BLUE, stroke_width=1.3)
        return svg.serialise(root)

    def spark(self, column: int, y: float) -> str:
        values = [v[column] for v in self.history]
        known = [v for v in values if not math.isnan(v)]
        most = 100.0 if self.columns[column].unit == "%" else max(known, default=0.0) or 1.0
        step = 230 / max(1, LIVE_SAMPLES - 1)
        start = 395 + step * (LIVE_SAMPLES - len(values))
        return " ".join(
            f"{start + step * n:.1f},{y + 2 - 16 * v / most:.1f}" for n, v in enumerate(values) if not math.isnan(v)
        )

    def to_html(self) -> str:
        """Return the picture as an image, which JupyterLab shows in any notebook."""
        data = b64encode(self.svg().encode()).decode()
        return f'<img alt="the machine now, after {self.seconds:.0f} s" src="data:image/svg+xml;base64,{data}">'

    def line(self) -> str:
        """Return the present values in one line for a terminal."""
        now = self.history[-1]
        wanted = ("cpu.use", "memory.used", "use", "power", "temperature")
        told = [
            f"{c.title} {said(v, c.unit)}"
            for c, v in zip(self.columns, now, strict=True)
            if c.name in wanted or (c.name.startswith("gpu") and c.name.rpartition(".")[2] in wanted)
        ]
        return f"{self.seconds:.0f} s  {', '.join(told)}"


def is_live(name: str) -> bool:
    """Return whether a column is worth a line of the live picture."""
    kind = name.rpartition(".")[2]
    if name.startswith("gpu"):
        return kind in GPU_ROWS
    return name in ("cpu.use", "memory.used", "swap.in") or kind in ("read", "written", "some")


def rank(name: str) -> int:
    """Return a column's place in the live picture: of many GPUs, first the use of each."""
    kind = name.rpartition(".")[2]
    return 1 + GPU_ROWS.index(kind) if name.startswith("gpu") else 0


See = Callable[[float, Sequence[float]], None]


def notebook_live(columns: Sequence[Column]) -> See:
    """Return a function that shows each sample in a notebook: a picture that changes where somebody watches, nothing in
    a headless run."""
    if not is_interactive():
        return lambda seconds, values: None
    from IPython.display import HTML, display

    live, last = Live(columns), -LIVE_S
    handle = display(HTML("<p>waiting for the first sample</p>"), display_id=True)  # type: ignore[no-untyped-call]

    def see(seconds: float, values: Sequence[float]) -> None:
        nonlocal last
        live.add(seconds, values)
        if time.monotonic() - last >= LIVE_S:
            last = time.monotonic()
            handle.update(HTML(live.to_html()))  # type: ignore[no-untyped-call]

    return see


def terminal_live(columns: Sequence[Column], stream: TextIO | None) -> See:
    """Return a function that shows each sample in a terminal: one line that changes, nothing where the stream is no
    terminal."""
    if stream is None or not stream.isatty():
        return lambda seconds, values: None
    live, last = Live(columns), -LIVE_S

    def see(seconds: float, values: Sequence[float]) -> None:
        nonlocal last
        live.add(seconds, values)
        if time.monotonic() - last >= LIVE_S:
            last = time.monotonic()
            print(f"\r\x1b[K{shorten(live.line(), 110)}", end="", file=stream, flush=True)

    return see
