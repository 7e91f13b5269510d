"""Plot of each workload's speed over the number of threads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwdiag.experiment.lever import BASELINE, Plan
from hwdiag.experiment.model import Estimate
from hwdiag.process.launch import Launch
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning
from hwdiag.report import svg
from hwdiag.report.figure import Figure
from hwdiag.report.format import clean, plural, ratio, shorten
from hwdiag.report.plots._canvas import canvas, look, to_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACROSS = 4
_PANEL = 221


@dataclass(frozen=True)
class ScalingPoint:
    """Speed with so many threads, relative to the base."""

    threads: int
    speed: float
    low: float
    high: float
    default: bool
    estimate: Estimate


@dataclass(frozen=True)
class Curve:
    """One workload's speed over the number of threads."""

    workload: str
    points: tuple[ScalingPoint, ...]
    base: int
    """Threads of the launch that counts as 1: one thread where that was measured, else today's default."""

    @property
    def best(self) -> ScalingPoint:
        return max(self.points, key=lambda p: p.speed)


def thread_scaling(record: Record) -> Figure | None:
    """Return the plot of each workload's speed on the CPU against the number of threads, one small panel each.

    Drawn are the plans that set threads and nothing else, and today's default. None if no workload has two.
    """
    curves = curves_of(record)
    if not curves:
        return None
    across = min(_ACROSS, len(curves))
    down = math.ceil(len(curves) / across)
    with look():
        picture = canvas(max(480, across * _PANEL + 60), down * 190 + 60)
        grid = picture.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, curve in zip(grid, curves, strict=False):
            _panel(axes, curve)
        _scales(grid[0], curves)
        for i, axes in enumerate(grid):
            axes.set_visible(i < len(curves))
            if i + across >= len(curves):
                axes.tick_params(labelbottom=True)
        base = f"{curves[0].base} thread" if curves[0].base == 1 else "today's default"
        picture.supxlabel("intra-op threads", fontsize=12, color=svg.MUTED)
        picture.supylabel(f"speed relative to {base}", fontsize=12, color=svg.MUTED)
        evidence = tuple(i for c in curves for p in c.points for i in p.estimate.measurements)
        return to_figure(picture, "thread-scaling", _alt(curves, base), _CAPTION, evidence)


_CAPTION = (
    "Speed over the number of threads. Bars are 95 % intervals over processes (often smaller than the dot), "
    "the dashed line is ideal scaling, the ring is how it runs today."
)


def curves_of(record: Record) -> list[Curve]:
    """Return a curve per workload that has at least two thread counts, all relative to the same kind of base."""
    study = tuning(record)
    if not study.plans:
        return []
    launches = {plan.id: plan.launch for plan in study.plans if plan.is_default or _only_threads(plan)}
    found: dict[str, list[tuple[int, bool, Estimate]]] = {}
    for e in study.estimates:
        if e.device == "cpu" and e.plan in launches and e.seconds.median > 0 and e.seconds.low > 0:
            threads = _threads(record, launches[e.plan], e)
            if threads:
                found.setdefault(e.workload, []).append((threads, e.plan == BASELINE, e))
    single = all(any(threads == 1 for threads, _, _ in runs) for runs in found.values())
    names = [w.name for w in study.workloads if w.name in found]
    curves = [_curve(name, found[name], single) for name in names]
    return [c for c in curves if c is not None]


def _only_threads(plan: Plan) -> bool:
    """Return whether a plan sets nothing but threads. It may name them again for one library (MKL_NUM_THREADS)."""
    launch = plan.launch
    if plan.techniques or launch.threads is None:
        return False
    plain = Launch(threads=launch.threads, env=launch.env)
    return launch == plain and all(k.endswith("_NUM_THREADS") for k in launch.env)


def _threads(record: Record, launch: Launch, estimate: Estimate) -> int | None:
    """Return the threads that a Launch sets, or that the child under it saw."""
    study = tuning(record)
    if launch.threads is not None:
        return launch.threads
    seen = (m.applied.threads for m in study.measurements if m.id in estimate.measurements and m.applied)
    return next(seen, None)


def _curve(workload: str, runs: list[tuple[int, bool, Estimate]], single: bool) -> Curve | None:
    base = min((r for r in runs if (r[0] == 1 if single else r[1])), key=lambda r: r[1], default=None)
    if base is None or len({threads for threads, _, _ in runs}) < 2:
        return None
    one = base[2].seconds.median
    points = [
        ScalingPoint(n, one / e.seconds.median, one / e.seconds.high, one / e.seconds.low, is_default, e)
        for n, is_default, e in sorted(runs, key=lambda r: (r[0], r[1]))
    ]
    return Curve(workload, tuple(points), base[0])


def _panel(axes: Axes, curve: Curve) -> None:
    line = {p.threads: p for p in reversed(curve.points)}  # the explicit launch where the default has as many threads
    points = [line[n] for n in sorted(line)]
    counts = [p.threads for p in points]
    axes.plot(counts, [n / curve.base for n in counts], color="#98a2ad", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    errors = [[p.speed - p.low for p in points], [p.high - p.speed for p in points]]
    axes.errorbar(counts, [p.speed for p in points], yerr=errors, color=svg.BLUE, linewidth=1.6, marker="o",
                  markersize=4, elinewidth=1.2, zorder=3)  # fmt: skip
    for p in curve.points:
        if p.default:
            axes.plot([p.threads], [p.speed], marker="o", markersize=9, markerfacecolor="none", markeredgewidth=1.4,
                      markeredgecolor=svg.INK, zorder=4)  # fmt: skip
    axes.set_title(shorten(clean(curve.workload), 22), pad=20)
    best = f"best: {ratio(curve.best.speed)} with {plural(curve.best.threads, 'thread')}"
    axes.text(0, 1.04, best, transform=axes.transAxes, fontsize=11, color=svg.MUTED)
    axes.grid(True)


def _scales(axes: Axes, curves: list[Curve]) -> None:
    """Set scales that all panels share: even ones for few threads, doubling ones for many."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    counts = sorted({p.threads for c in curves for p in c.points})
    low = min(p.low for c in curves for p in c.points)
    high = max(p.high for c in curves for p in c.points)
    if counts[-1] <= 8:
        axes.set_xlim(counts[0] - 0.4, counts[-1] + 0.4)
        axes.set_ylim(0, max(high * 1.1, 1.15))
    else:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xlim(counts[0] * 0.8, counts[-1] * 1.25)
        axes.set_ylim(min(low, 1) * 0.8, high * 1.4)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(_thinned(counts), [str(n) for n in _thinned(counts)])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}x"))


def _thinned(counts: list[int], apart: float = 1.4) -> list[int]:
    """Return the counts that do not crowd each other, the largest always among them."""
    shown = [counts[-1]]
    for n in reversed(counts[:-1]):
        if shown[-1] / n >= apart:
            shown.append(n)
    return shown[::-1]


def _alt(curves: list[Curve], base: str) -> str:
    parts = [
        f"{clean(c.workload)} is fastest with {plural(c.best.threads, 'thread')}, {ratio(c.best.speed)} "
        f"({ratio(c.best.low)[:-1]} to {ratio(c.best.high)[:-1]})"
        for c in curves
    ]
    return f"Speed against threads, relative to {base}: {'; '.join(parts)}."
