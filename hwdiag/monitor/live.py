"""The machine live, while it is watched: a picture with marks and findings in a notebook, a line in a terminal."""

from __future__ import annotations

import math
import re
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TextIO
from xml.etree.ElementTree import Element

from hwdiag.core.finding import Finding
from hwdiag.host.model import Host
from hwdiag.host.source import Column
from hwdiag.monitor.window import LEAST, Window
from hwdiag.process.observation.marks import Mark, Marks
from hwdiag.report import svg
from hwdiag.report.format import said, shorten
from hwdiag.report.widgets import is_interactive

LIVE_S = 1.0
"""Seconds between two pictures."""
LIVE_SAMPLES = 120
"""Samples that the live picture shows."""
LIVE_ROWS = 32
LIVE_MARKS, LIVE_FINDINGS = 40, 3
"""Marks and findings that the live picture shows, the newest and the first ones."""
GPU_ROWS = ("use", "power", "clock", "temperature", "memory")
"""Rows of the live picture for each GPU, the first ones first."""
CPU = re.compile(r"cpu(\d+)\.use$")
WIDTH, ROW_H = 760, 26
ACROSS, CELL_W, CELL_H, CELLS_X, CELLS_Y = 32, 17, 15, 76, 38
CHART_X, CHART_W = 372, 290
LANES, LANE_H, LETTER_W = 2, 14, 6.2
"""Lines of words above the rows, for marks; their height, and the width of a letter in them."""


def text(root: Element, words: str, x: float, y: float, size: int, fill: str = svg.INK, **more: Any) -> None:
    """Add words to the picture."""
    svg.add(root, "text", words, x=x, y=y, font_size=size, fill=fill, **more)


def cell(root: Element, x: float, y: float, share: float | None) -> None:
    """Add a CPU's cell, the darker the larger its share of the time at work; dashed where that is not known."""
    shade = {"stroke_dasharray": "2 2", "fill_opacity": "0"} if share is None else {"fill_opacity": f"{share:.2f}"}
    svg.add(root, "rect", x=x, y=y, width=CELL_W - 2, height=CELL_H - 3, rx=2, fill=svg.BLUE, stroke=svg.LINE, **shade)


class Live:
    """The last samples, as one picture that is drawn again every second."""

    def __init__(self, columns: Sequence[Column], host: Host | None = None, marks: Marks | None = None) -> None:
        """``marks``: what the command says of itself, as it comes."""
        self.columns, self.said = columns, marks or Marks()
        self.gpus, self.cpus = (host.gpus, len(host.cpu.online)) if host else ((), 1)
        self.findings: tuple[Finding, ...] = ()
        self.noticed: list[Mark] = []
        self.cores = [i for i, c in enumerate(columns) if CPU.match(c.name)]
        live = (i for i, c in enumerate(columns) if is_live(c.name))
        self.rows = sorted(live, key=lambda i: rank(columns[i].name))[:LIVE_ROWS]
        self.history: deque[Sequence[float]] = deque(maxlen=LIVE_SAMPLES)
        self.seconds, self.step_s = 0.0, 0.5

    def add(self, seconds: float, values: Sequence[float]) -> None:
        """Add one sample."""
        self.step_s = seconds - self.seconds or self.step_s
        self.seconds = seconds
        self.history.append(values)

    def judge(self) -> None:
        """Ask the rules about the last samples, and mark when they began to find something."""
        window = Window(self.columns, tuple(self.history), self.cpus, self.gpus)
        known, self.findings = {f.id for f in self.findings}, window.findings()
        new = (f for f in self.findings if f.id not in known)
        self.noticed += [Mark(seconds=self.seconds, text=f.title.partition(":")[0]) for f in new]

    @property
    def span(self) -> float:
        """Return the seconds from the left end of the time axis to now."""
        return (LIVE_SAMPLES - 1) * self.step_s

    def marks(self) -> list[tuple[float, Mark, str]]:
        """Return the marks that are on the time axis now, with their places and colours, the oldest first."""
        both = [*((m, svg.INK) for m in self.said.found), *((m, svg.VERMILION) for m in self.noticed)]
        ago = ((self.seconds - m.seconds, m, colour) for m, colour in both)
        placed = [(CHART_X + CHART_W * (1 - s / self.span), m, colour) for s, m, colour in ago if s <= self.span]
        return sorted(placed, key=lambda p: p[0])[-LIVE_MARKS:]

    def svg(self) -> str:
        """Return the picture: a cell for each CPU, and for each other quantity its value now and its last minutes."""
        top = CELLS_Y + CELL_H * -(-len(self.cores) // ACROSS) + 14 + LANES * LANE_H
        below = top + ROW_H * len(self.rows) + 26
        found = self.findings[:LIVE_FINDINGS]
        height = below + LANE_H * (LIVE_FINDINGS + 1)
        root = svg.new(WIDTH, height)
        svg.describe(root, "live", "the machine now", f"after {self.seconds:.0f} s", prefix="")
        svg.add(root, "rect", x=0.5, y=0.5, width=WIDTH - 1, height=height - 1, rx=12, fill=svg.CARD, stroke=svg.LINE)
        text(root, f"The machine after {self.seconds:.0f} s", 14, 24, 14, font_weight="600")
        self.draw_cores(root)
        for n, i in enumerate(self.rows):
            self.draw_row(root, i, top + ROW_H * n)
        self.draw_time(root, top, below)
        self.draw_marks(root, top, below)
        for n, finding in enumerate(found):
            words = shorten(f"! {finding.title}", 112)
            text(root, words, 14, below + LANE_H * (n + 1), 11, fill=svg.VERMILION, font_weight="600")
        if not found:
            few = len(self.history) < LEAST
            words = "Too few samples to judge yet." if few else f"No finding in the last {len(self.history)} samples."
            text(root, words, 14, below + LANE_H, 11, fill=svg.MUTED)
        return svg.serialise(root)

    def draw_cores(self, root: Element) -> None:
        """Draw a cell for each CPU, the busier the darker, with the number of the first in each line, and the scale."""
        if not self.cores:
            return
        now = self.history[-1]
        text(root, "busy: 0 %", WIDTH - 160, 24, 11, fill=svg.MUTED, text_anchor="end")
        for n in range(6):
            cell(root, WIDTH - 154 + CELL_W * n, 14, n / 5)
        text(root, "100 %", WIDTH - 14, 24, 11, fill=svg.MUTED, text_anchor="end")
        for n, i in enumerate(self.cores):
            y = CELLS_Y + CELL_H * (n // ACROSS)
            if n % ACROSS == 0:
                text(root, f"CPU {CPU.match(self.columns[i].name)[1]}", 14, y + 10, 11, fill=svg.MUTED)  # type: ignore[index]
            cell(root, CELLS_X + CELL_W * (n % ACROSS), y, None if math.isnan(now[i]) else now[i] / 100)

    def draw_row(self, root: Element, i: int, y: float) -> None:
        """Draw one quantity: its name, its value now, its course, and the top of its scale."""
        column, most = self.columns[i], self.most(i)
        middle = y + ROW_H - 7
        text(root, column.title, 14, middle, 12)
        text(
            root, said(self.history[-1][i], column.unit), CHART_X - 12, middle, 12, text_anchor="end", font_weight="600"
        )
        svg.add(root, "line", x1=CHART_X, x2=CHART_X + CHART_W, y1=y + ROW_H - 4, y2=y + ROW_H - 4, stroke=svg.LINE)
        svg.add(root, "polyline", points=self.spark(i, y), fill="none", stroke=svg.BLUE, stroke_width=1.5)
        text(root, f"of {said(most, column.unit)}", CHART_X + CHART_W + 6, middle, 10, fill=svg.MUTED)

    def draw_time(self, root: Element, top: float, height: float) -> None:
        """Draw the axis below all rows: how long ago, at its start, in its middle, and now."""
        for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
            x, ago = CHART_X + CHART_W * share, self.span * (1 - share)
            svg.add(root, "line", x1=x, x2=x, y1=top, y2=height - 24, stroke=svg.LINE, stroke_dasharray="2 3")
            said_ago = f"{ago:.0f} s ago" if ago else "now"
            text(root, said_ago, x, height - 10, 10, fill=svg.MUTED, text_anchor=anchor)

    def draw_marks(self, root: Element, top: float, below: float) -> None:
        """Draw a line across all rows for each mark, with its words above where they fit, the newest first.

        The command's own are dark, those of findings red.
        """
        taken_from = [float(WIDTH)] * LANES
        for x, mark, colour in reversed(self.marks()):
            svg.add(root, "line", x1=x, x2=x, y1=top, y2=below - 24, stroke=colour, stroke_width=1.2)
            words = shorten(mark.text, 26)
            wide = LETTER_W * len(words)
            start = min(x, WIDTH - 14 - wide)
            lane = next((n for n in range(LANES) if start + wide + LETTER_W <= taken_from[n]), None)
            if lane is not None:
                taken_from[lane] = start
                text(root, words, start, top - 3 - LANE_H * lane, 10, fill=colour)

    def most(self, column: int) -> float:
        """Return the top of a quantity's scale: 100 %, or the most that was seen."""
        known = [v[column] for v in self.history if not math.isnan(v[column])]
        return 100.0 if self.columns[column].unit == "%" else max(known, default=0.0) or 1.0

    def spark(self, column: int, y: float) -> str:
        """Return the points of a quantity's course; the newest is at the right."""
        values = [v[column] for v in self.history]
        step, most = CHART_W / (LIVE_SAMPLES - 1), self.most(column)
        start = CHART_X + step * (LIVE_SAMPLES - len(values))
        bottom, high = y + ROW_H - 4, ROW_H - 8
        points = ((start + step * n, bottom - high * v / most) for n, v in enumerate(values) if not math.isnan(v))
        return " ".join(f"{x:.1f},{at:.1f}" for x, at in points)

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


def notebook_live(columns: Sequence[Column], host: Host, marks: Marks) -> See:
    """Return a function that shows each sample in a notebook: a picture that changes where somebody watches, nothing in
    a headless run."""
    if not is_interactive():
        return lambda seconds, values: None
    from IPython.display import HTML, display

    live, last = Live(columns, host, marks), -LIVE_S
    handle = display(HTML("<p>waiting for the first sample</p>"), display_id=True)  # type: ignore[no-untyped-call]

    def see(seconds: float, values: Sequence[float]) -> None:
        nonlocal last
        live.add(seconds, values)
        if time.monotonic() - last >= LIVE_S:
            last = time.monotonic()
            live.judge()
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
