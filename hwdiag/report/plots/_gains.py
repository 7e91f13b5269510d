"""Plot of the gains that were measured afresh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hwdiag.experiment.model import Comparison
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning
from hwdiag.report import svg
from hwdiag.report.figure import Figure
from hwdiag.report.format import clean, ratio, shorten, speedup
from hwdiag.report.plots._canvas import canvas, look, place, to_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = {
    "better": (svg.GREEN, "o"),
    "worse": (svg.VERMILION, "X"),
    "same": (svg.MUTED, "s"),
    "undecided": (svg.MUTED, "D"),
}
_ROW = 34
_MOST = 40


def gains(record: Record) -> Figure | None:
    """Return the plot of confirmed speed-ups over today's default with their intervals. Its band is too little to be
    worth a change.

    None if nothing was confirmed.
    """
    study = tuning(record)
    rows = [c for c in study.comparisons if c.phase == "confirm"][:_MOST]
    if not rows:
        return None
    rows.sort(key=lambda c: (c.workload != "overall", -c.speedup.median))
    effect, titles = min_effect(record), {plan.id: plan.title for plan in study.plans}
    with look():
        picture = canvas(944, len(rows) * _ROW + 100)
        picture.set_layout_engine("none")
        axes = picture.add_subplot()
        place(picture, axes, 215, 62, 265, 26)
        for place_, row in enumerate(rows):
            _row(axes, place_, row, titles[row.candidate])
        _frame(axes, rows, effect)
        caption = (
            "Speed over today's default, winners measured again. Lines are 95 % intervals over pairs of processes; "
            f"within the grey band of {effect:g} % either way a change is not worth making."
        )
        evidence = tuple(i for c in rows for i in c.measurements)
        return to_figure(picture, "gains", _alt(rows, titles, effect), caption, evidence)


def min_effect(record: Record) -> float:
    """Return the least gain worth a change, in percent."""
    value = record.params.get("tune", {}).get("min_effect", 3.0)
    return float(value) if isinstance(value, (int, float)) and value >= 0 else 3.0


def _row(axes: Axes, y: int, c: Comparison, title: str) -> None:
    color, marker = _LOOKS[c.verdict]
    axes.plot([c.speedup.low, c.speedup.high], [y, y], color=color, linewidth=2.2, solid_capstyle="butt", zorder=3)
    axes.plot([c.speedup.median], [y], marker=marker, markersize=8, color=color, markeredgecolor="white", zorder=4)
    weight = "bold" if c.workload == "overall" else "normal"
    name = c.workload if c.device == "cpu" else f"{c.workload} on {c.device}"
    left = axes.get_yaxis_transform()
    axes.text(-0.04, y - 0.13, shorten(clean(name), 28), transform=left, ha="right", va="center", fontweight=weight)
    axes.text(-0.04, y + 0.27, shorten(clean(title), 30), transform=left, ha="right", va="center", fontsize=10,
              color=svg.MUTED)  # fmt: skip
    axes.text(1.04, y, f"{speedup(c.speedup)} · {c.verdict}", transform=left, va="center", fontweight=weight)


def _frame(axes: Axes, rows: list[Comparison], effect: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low = min([c.speedup.low for c in rows] + [1 - effect / 100])
    high = max([c.speedup.high for c in rows] + [1 + effect / 100])
    margin = 0.08 * (high - low)
    axes.axvspan(1 - effect / 100, 1 + effect / 100, color="#e9edf1", zorder=0)
    axes.axvline(1, color=svg.INK, linewidth=1, zorder=1)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: ratio(v)))
    axes.grid(True, axis="x")
    axes.set_xlabel("speed-up over today's default", labelpad=8)


def _alt(rows: list[Comparison], titles: Mapping[str, str], effect: float) -> str:
    parts = "; ".join(
        f"{clean(c.workload)} with {clean(titles[c.candidate])} {speedup(c.speedup)}, {c.verdict}" for c in rows
    )
    return f"Confirmed speed-ups over today's default, where less than {effect:g} % counts as none: {parts}."
