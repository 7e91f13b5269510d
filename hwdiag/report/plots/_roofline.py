"""Roofline plot: the workloads beneath the machine's own measured ceilings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwdiag.report import svg
from hwdiag.report.figure import Figure
from hwdiag.report.format import clean, count, percent, shorten, significant
from hwdiag.report.plots._canvas import canvas, look, place, to_figure
from hwdiag.report.roof import Rated, Roof, default_estimates, roof_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

_LOOKS: dict[str, tuple[str, str, Any]] = {
    "float32": (svg.BLUE, "o", "-"),
    "bfloat16": (svg.VERMILION, "s", (0, (6, 2))),
    "float64": (svg.GREEN, "^", (0, (2, 2))),
    "int8": (svg.INK, "v", (0, (1, 1))),
}
"""Colour, marker and line of each type of number, so that no one of them has to tell them apart alone."""

_NEAR, _FAR = 11, 26


@dataclass(frozen=True)
class Dot:
    """One workload on the roofline."""

    name: str
    dtype: str
    intensity: float
    speed: float
    """GFLOP/s, as the other two."""
    low: float
    high: float
    share: float | None
    measurements: tuple[str, ...]


def roofline(record: Rated, device: str = "cpu") -> Figure | None:
    """Return the measured ceilings of a device, and its workloads under today's default, on logarithmic axes.

    None without a memory ceiling, a compute ceiling or a workload with operations.
    """
    roof = roof_of(record, device)
    dots = _dots(record, roof)
    if roof.memory is None or not roof.compute or not dots:
        return None
    with look():
        picture = canvas(944, 520)
        picture.set_layout_engine("none")
        axes = picture.add_subplot()
        place(picture, axes, 76, 66, 32, 30)
        _scales(axes, roof, dots)
        slope = _roofs(axes, roof)
        _points(axes, dots)
        _label_dots(axes, dots, slope + _roof_labels(axes, roof))
        evidence = [c.measurement for c in (roof.memory, *roof.compute.values())]
        evidence += [i for d in dots for i in d.measurements]
        name = "roofline-" + "".join(c if c.isalnum() else "-" for c in clean(device))
        return to_figure(picture, name, _alt(roof, dots), _CAPTION, tuple(evidence))


_CAPTION = (
    "The lines are the most that this device reached here; a workload below its roof leaves that much unused. "
    "Intensity counts the least bytes that a workload must move. Bars are 95 % intervals over processes."
)


def _dots(record: Rated, roof: Roof) -> list[Dot]:
    dots = []
    for w, e in default_estimates(record, roof.device):
        t = e.seconds
        if w.flops > 0 and w.bytes > 0 and t.low > 0:
            speed, low, high = (w.flops / s / 1e9 for s in (t.median, t.high, t.low))
            share = None if (top := roof.attainable(w)) is None else speed * 1e9 / top
            dots.append(Dot(w.name, w.dtype, w.intensity, speed, low, high, share, e.measurements))
    return dots


def _look(dtype: str) -> tuple[str, str, Any]:
    return _LOOKS.get(dtype, (svg.PURPLE, "D", (0, (1, 2))))


def _scales(axes: Axes, roof: Roof, dots: list[Dot]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    assert roof.memory is not None
    bandwidth = roof.memory.value / 1e9
    peaks = [c.value / 1e9 for c in roof.compute.values()]
    ridges = [p / bandwidth for p in peaks]
    x = [d.intensity for d in dots] + ridges
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(min(x) / 2.5, max(x) * 4)
    axes.set_ylim(min([d.low for d in dots] + [min(x) * bandwidth]) / 2.5, max(peaks + [d.high for d in dots]) * 2.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, numticks=12))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.grid(True)
    axes.set_xlabel("arithmetic intensity, FLOP/byte", labelpad=8)
    axes.set_ylabel("speed, GFLOP/s", labelpad=8)


def _roofs(axes: Axes, roof: Roof) -> list[Bbox]:
    """Draw slope and roofs; gives the room that the slope's label takes, in pixels."""
    assert roof.memory is not None
    bandwidth = roof.memory.value / 1e9
    left, right = axes.get_xlim()
    peaks = {dtype: c.value / 1e9 for dtype, c in roof.compute.items()}
    top = max(peaks.values())
    axes.plot([left, top / bandwidth], [left * bandwidth, top], color=svg.INK, linewidth=1.6, zorder=2)
    for dtype, peak in peaks.items():
        color, _, line = _look(dtype)
        axes.plot([peak / bandwidth, right], [peak, peak], color=color, linestyle=line, linewidth=1.6, zorder=2)
    return [_slope_label(axes, bandwidth, left, top / bandwidth)]


def _slope_label(axes: Axes, bandwidth: float, left: float, ridge: float) -> Bbox:
    """Write the label along the slope, above it, in the middle of its left half."""
    (x0, y0), (x1, y1) = axes.transData.transform([(left, left * bandwidth), (ridge, ridge * bandwidth)])
    angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
    x = math.exp(math.log(left) * 0.6 + math.log(ridge) * 0.4)
    up, side = 9 * math.cos(math.radians(angle)), -9 * math.sin(math.radians(angle))
    words = f"memory {significant(bandwidth)} GB/s"
    label = axes.annotate(
        words, (x, x * bandwidth), (side, up), textcoords="offset points", rotation=angle, rotation_mode="anchor",
        ha="center", va="center", fontsize=11,
    )  # fmt: skip
    return _extent(axes, label)


def _roof_labels(axes: Axes, roof: Roof) -> list[Bbox]:
    """Write the labels at the right end of each roof: above it, or below it where the next one is too near."""
    taken: list[Bbox] = []
    for dtype, c in sorted(roof.compute.items(), key=lambda item: -item[1].value):
        words = f"{clean(dtype)} {significant(c.value / 1e9)} {'GOP/s' if dtype.startswith('int') else 'GFLOP/s'}"
        for above in (True, False):
            label = axes.annotate(words, (axes.get_xlim()[1], c.value / 1e9), (-4, 5 if above else -5), fontsize=11,
                                  textcoords="offset points", ha="right", va="bottom" if above else "top",
                                  color=svg.INK, bbox=_PAPER)  # fmt: skip
            box = _extent(axes, label)
            if not above or not any(box.overlaps(other) for other in taken):
                break
            label.remove()
        taken.append(box)
    return taken


def _points(axes: Axes, dots: list[Dot]) -> None:
    for d in dots:
        color, marker, _ = _look(d.dtype)
        error = [[max(0.0, d.speed - d.low)], [max(0.0, d.high - d.speed)]]
        axes.errorbar([d.intensity], [d.speed], yerr=error, color=color, marker=marker, markersize=8, elinewidth=1.4,
                      markeredgecolor="white", zorder=4)  # fmt: skip


def _label_dots(axes: Axes, dots: list[Dot], taken: list[Bbox]) -> None:
    """Draw each label beside its dot where it covers least, with a thin line to the dot where it had to go further."""
    marks = [_around(axes, d.intensity, d.speed) for d in dots]
    lines = [_around(axes, x, y, 2) for line in axes.lines for x, y in _along(line)]
    for i, d in enumerate(dots):
        words = shorten(clean(d.name), 24) + ("" if d.share is None else f", {percent(d.share)}")
        options = [
            (dx, dy) for r in (_NEAR, _FAR, 2 * _FAR) for dx, dy in ((r, 0), (-r, 0), (0, r), (0, -r), (r, -r), (-r, r))
        ]
        costs = []
        for cost, (dx, dy) in enumerate(options):
            label = _dot_label(axes, d, words, dx, dy)
            box = _extent(axes, label)
            label.remove()
            hits = sum(box.overlaps(b) for b in taken + marks[:i] + marks[i + 1 :])
            outside = not (
                axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
            )
            costs.append(
                (100 * hits + 100 * outside + min(90, 8 * sum(box.overlaps(b) for b in lines)) + cost, dx, dy, box)
            )
        _, dx, dy, box = min(costs, key=lambda c: c[0])
        _dot_label(axes, d, words, dx, dy)
        taken.append(box)


_PAPER = {"facecolor": svg.CARD, "edgecolor": "none", "pad": 0.8}
"""The ground of a label: lines do not run through its words, and dots lie above it."""


def _dot_label(axes: Axes, d: Dot, words: str, dx: float, dy: float) -> Any:
    far = max(abs(dx), abs(dy)) > _NEAR
    return axes.annotate(
        words, (d.intensity, d.speed), (dx, dy), textcoords="offset points", fontsize=11, zorder=3.5, bbox=_PAPER,
        ha="left" if dx > 0 else "right" if dx < 0 else "center",
        va="bottom" if dy > 0 else "top" if dy < 0 else "center",
        arrowprops={"arrowstyle": "-", "color": svg.MUTED, "linewidth": 0.7, "shrinkB": 5} if far else None,
    )  # fmt: skip


def _extent(axes: Axes, label: Any) -> Bbox:
    """Return the space that a label takes, in pixels, with a margin."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches() * 72
    renderer = RendererAgg(width, height, 72)  # type: ignore[no-untyped-call]
    label.update_positions(renderer)
    box = Text.get_window_extent(label, renderer)
    return Bbox.from_extents(box.x0 - 2, box.y0 - 1, box.x1 + 2, box.y1 + 1)


def _around(axes: Axes, x: float, y: float, room: float = 7) -> Bbox:
    from matplotlib.transforms import Bbox

    px, py = axes.transData.transform((x, y))
    return Bbox.from_extents(px - room, py - room, px + room, py + room)


def _along(line: Any, steps: int = 60) -> list[tuple[float, float]]:
    """Return the points along a drawn line, evenly spaced on the page."""
    xs, ys = line.get_data()
    if len(xs) != 2:
        return []
    (x0, x1), (y0, y1) = (tuple(math.log(float(v)) for v in values) for values in (xs, ys))
    return [(math.exp(x0 + (x1 - x0) * t / steps), math.exp(y0 + (y1 - y0) * t / steps)) for t in range(steps + 1)]


def _alt(roof: Roof, dots: list[Dot]) -> str:
    assert roof.memory is not None
    ceilings = [f"memory {count(roof.memory.value)}B/s"]
    ceilings += [f"{clean(dtype)} {count(c.value)}FLOP/s" for dtype, c in roof.compute.items()]
    parts = [
        f"{clean(d.name)} at {significant(d.intensity)} FLOP/byte reaches {significant(d.speed)} GFLOP/s"
        + ("" if d.share is None else f", {percent(d.share)} of its roof")
        for d in dots
    ]
    return f"Roofline of {clean(roof.device)}. Measured ceilings: {', '.join(ceilings)}. {'; '.join(parts)}."
