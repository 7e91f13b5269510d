"""Plot of what the machine did over time, with the marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwdiag.monitor.model import COMMAND_ENDS, COMMAND_STARTS, Monitored
from hwdiag.monitor.recording import TIME, read_columns
from hwdiag.report import svg
from hwdiag.report.figure import Figure
from hwdiag.report.format import clean, said, shorten
from hwdiag.report.plots._canvas import canvas, look, to_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 600
"""Points across the drawing: of more samples, neighbours are averaged."""
MOST_MARKS = 12
"""Marks that are drawn; all are in the table."""
COLOURS = (svg.BLUE, svg.VERMILION, svg.GREEN, svg.PURPLE, svg.ORANGE, svg.INK)
STYLES = ("-", "--", ":", "-.")
"""Told apart without colours, too."""
EACH_CPU = re.compile(r"cpu\d+\.use")


@dataclass(frozen=True)
class TimelineLine:
    """One or more columns drawn as one line: their sum."""

    label: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """One quantity over time; ``scale`` turns the recording's unit into the one that is written beside it."""

    title: str
    lines: tuple[TimelineLine, ...]
    scale: float = 1.0
    most: float | None = None


def timeline(done: Monitored, path: Path) -> Figure | None:
    """Return the plot of all that was recorded on one time axis, with the command and the marks. None without
    samples."""
    if done.samples < 2:
        return None
    panels = panels_of(done)
    cores = [c.name for c in done.columns if EACH_CPU.fullmatch(c.name)]
    wanted = {name for p in panels for line in p.lines for name in line.columns} | {*cores, TIME}
    data = dict(read_columns(path, [TIME, *(c.name for c in done.columns if c.name in wanted)]))
    step = -(-len(data[TIME]) // MOST_POINTS)
    averaged = {name: average(values, step) for name, values in data.items()}
    heat = 30 + min(220, max(60, 9 * len(cores)))
    heights = [heat, *[110] * len(panels)]
    with look():
        picture = canvas(944, sum(heights) + 60)
        grid: Any = picture.subplots(
            len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        heat_map(grid[0], averaged, cores, done.seconds)
        for axes, panel in zip(grid[1:], panels, strict=True):
            draw_panel(axes, panel, averaged)
        for axes in grid:
            draw_marks(axes, done, named=axes is grid[0])
        grid[-1].set_xlabel("seconds since the start")
        grid[-1].set_xlim(0, done.seconds)
        told = f" Each point is the mean of {step} samples." if step > 1 else ""
        return to_figure(picture, "monitor", alt(done), _CAPTION + told, ())


_CAPTION = (
    "The machine over the time of the command. Grey lines are marks; within the first panel each row is "
    "one CPU, dark where it is busy and grey where that is not known."
)


def panels_of(done: Monitored) -> list[Panel]:
    """Return the panels that this recording has data for."""
    names = [c.name for c in done.columns]
    gpus = sorted({int(n[3:].partition(".")[0]) for n in names if re.fullmatch(r"gpu\d+\.\w+", n)})
    every = {kind: tuple(n for n in names if n.endswith(kind)) for kind in (".read", ".written", ".hits", ".misses")}
    waits = {"processors": "pressure.cpu.some", "memory": "pressure.memory.some", "disks": "pressure.io.some"}
    possible = [
        Panel("CPU, %", (TimelineLine("all CPUs busy", ("cpu.use",)),), most=100),
        Panel(
            "memory, GiB",
            (TimelineLine("in use", ("memory.used",)), TimelineLine("file cache", ("memory.file_cache",))),
            2**-30,
        ),
        Panel("waiting for, % of the time", tuple(TimelineLine(k, (v,)) for k, v in waits.items()), most=100),
        Panel("disks, MB/s", (TimelineLine("read", every[".read"]), TimelineLine("written", every[".written"])), 1e-6),
        Panel("NUMA, pages/s", (TimelineLine("hits", every[".hits"]), TimelineLine("misses", every[".misses"]))),
    ]
    for kind, title, most in (
        ("use", "GPU use, %", 100), ("clock", "GPU clock, MHz", None), ("power", "GPU power, W", None),
        ("temperature", "GPU temperature, °C", None), ("memory", "GPU memory, GiB", None),
    ):  # fmt: skip
        lines = tuple(TimelineLine(f"GPU {i}", (f"gpu{i}.{kind}",)) for i in gpus)
        possible.append(Panel(title, lines, 2**-30 if kind == "memory" else 1, most))
    have = set(names)
    known = (
        Panel(p.title, tuple(x for x in p.lines if x.columns and have.issuperset(x.columns)), p.scale, p.most)
        for p in possible
    )
    return [p for p in known if p.lines]


def average(values: Any, step: int) -> Any:
    """Return the means of ``step`` neighbours; the last one may be of fewer."""
    if step <= 1:
        return values
    padded = np.full(-(-len(values) // step) * step, np.nan)
    padded[: len(values)] = values
    rows = padded.reshape(-1, step)
    counted = (~np.isnan(rows)).sum(axis=1)
    return np.divide(np.nansum(rows, axis=1), counted, out=np.full(len(rows), np.nan), where=counted > 0)


def heat_map(axes: Axes, data: dict[str, Any], cores: Sequence[str], seconds: float) -> None:
    """Draw a row for each CPU."""
    from matplotlib import colormaps

    axes.set_title("each CPU, % busy: white 0, dark 100", pad=20)  # above the names of the marks
    if not cores:
        axes.text(0.5, 0.5, "the use of CPUs is not reported here", ha="center", va="center", transform=axes.transAxes)
        axes.set_yticks([])
        return
    grid = np.array([data[name] for name in cores])
    # A sample says what was since the one before: it fills the time up to its own.
    times = np.concatenate([[0.0], data[TIME]])
    edges = np.linspace(0, seconds, MOST_POINTS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    at = np.clip(np.searchsorted(times, middles) - 1, 0, grid.shape[1] - 1)
    colours = colormaps["Blues"].with_extremes(bad=svg.LINE)
    axes.imshow(grid[:, at], aspect="auto", cmap=colours, vmin=0, vmax=100, interpolation="nearest",
                        extent=(0, seconds, len(cores) - 0.5, -0.5))  # fmt: skip
    ids = [int(name[3:].partition(".")[0]) for name in cores]
    shown = range(0, len(ids), max(1, -(-len(ids) // 8)))
    axes.set_yticks([*shown], [f"CPU {ids[i]}" for i in shown])


def draw_panel(axes: Axes, panel: Panel, data: dict[str, Any]) -> None:
    """Draw one quantity, with its lines named."""
    axes.set_title(panel.title)
    axes.grid(True, axis="y")
    for i, line in enumerate(panel.lines):
        total = np.sum([data[name] for name in line.columns], axis=0) * panel.scale
        axes.plot(data[TIME], total, color=COLOURS[i % len(COLOURS)], linewidth=1.4, label=line.label,
                  linestyle=STYLES[(i // len(COLOURS) + i) % len(STYLES)])  # fmt: skip
    axes.set_ylim(0, 1.04 * panel.most if panel.most else None)
    if panel.most is None and axes.get_ylim()[1] < 1e-9:
        axes.set_ylim(0, 1)
    if len(panel.lines) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), frameon=False, fontsize=11,
                    ncols=-(-len(panel.lines) // 4), columnspacing=1.0)  # fmt: skip


def draw_marks(axes: Axes, done: Monitored, named: bool) -> None:
    """Draw where the command started and ended, and what it said."""
    for mark in done.marks[:MOST_MARKS]:
        ends = mark.text in (COMMAND_STARTS, COMMAND_ENDS)
        axes.axvline(mark.seconds, color=svg.INK if ends else svg.MUTED, linewidth=1, linestyle="-" if ends else ":")
        if named and not ends:
            axes.annotate(shorten(clean(mark.text), 18), (mark.seconds, 1), xycoords=("data", "axes fraction"),
                          xytext=(2, 4), textcoords="offset points", fontsize=10, color=svg.INK)  # fmt: skip


def alt(done: Monitored) -> str:
    """Return the plot in words."""
    named = ("cpu.use", "memory.used", "pressure.memory.some", *(f"gpu{g.index}.use" for g in done.gpus))
    found = [s for s in map(done.summary, named) if s is not None]
    told = "; ".join(
        f"{s.title}: {said(s.median, s.unit)} in the middle, {said(s.most, s.unit)} at most" for s in found
    )
    return f"{done.seconds:.0f} s of this machine over time. {told}."
