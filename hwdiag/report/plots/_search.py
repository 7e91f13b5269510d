"""Plot of a search: every plan that was tried for every factor, with what the screening saw of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hwdiag.experiment.lever import Plan, plan_by_id
from hwdiag.experiment.model import SearchStep, TriedPlan
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning
from hwdiag.report import svg
from hwdiag.report.figure import Figure
from hwdiag.report.format import clean, ratio, shorten, speedup
from hwdiag.report.plots._canvas import canvas, look, place, to_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 26
_MOST = 60


def search_steps(record: Record) -> Figure | None:
    """Return the plot of each plan's speed-up over today's default, factor by factor, with its interval.

    Filled: taken on; open: left behind; a cross: dropped as surely worse. None if nothing was asked.
    """
    study = tuning(record)
    names = {option.plan for step in study.steps for option in step.options}
    evidence = tuple(m.id for m in study.measurements if m.phase == "screen" and m.plan in names)
    return steps_figure(study.steps, study.plans, evidence)


def steps_figure(asked: Sequence[SearchStep], plans: Sequence[Plan], evidence: tuple[str, ...] = ()) -> Figure | None:
    """Return the plot of the steps of any search; of a step that was taken again, the last."""
    steps = distinct(asked)
    rows = [(step, option) for step in steps for option in step.options][:_MOST]
    if not rows:
        return None
    with look():
        picture = canvas(944, (len(rows) + len(steps)) * _ROW + 90)
        picture.set_layout_engine("none")
        axes = picture.add_subplot()
        place(picture, axes, 330, 58, 150, 22)
        y = 0
        for step in steps:
            axes.text(-0.03, y, clean(step.factor), transform=axes.get_yaxis_transform(), ha="right", va="center",
                      fontweight="bold")  # fmt: skip
            y += 1
            for option, name in zip(step.options, _short(step.options, plans), strict=True):
                _row(axes, y, option, name, adopted=option.plan == step.adopted)
                y += 1
        _frame(axes, [option for _, option in rows], y)
        return to_figure(picture, "search", _alt(steps, plans), _CAPTION, evidence)


def distinct(steps: Sequence[SearchStep]) -> list[SearchStep]:
    """Return the steps in which something was tried; of one that was taken again, the last."""
    return list({(s.factor, *(o.plan for o in s.options)): s for s in steps if s.options}.values())


_CAPTION = (
    "The search, factor by factor: speed over today's default, estimated from all trials. Filled dots were taken on; "
    "crosses were dropped early. These figures chose what to measure again; they are "
    "no evidence by themselves, since the luckiest of many looks best."
)


def _short(options: Sequence[TriedPlan], plans: Sequence[Plan]) -> list[str]:
    """Return plans' titles without the levers that all of them have, which were adopted before."""
    levers = [plan_by_id(plans, option.plan).levers for option in options]
    alike = set.intersection(*({lever.id for lever in each} for each in levers))
    told = [[lever.title for lever in each if lever.id not in alike] or [each[-1].title] for each in levers]
    return [clean(" + ".join(titles)) for titles in told]


def _row(axes: Axes, y: int, option: TriedPlan, name: str, *, adopted: bool) -> None:
    color = svg.BLUE if adopted else svg.MUTED
    s = option.speedup
    axes.plot([s.low, s.high], [y, y], color=color, linewidth=1.8, solid_capstyle="butt", zorder=3)
    axes.plot([s.median], [y], marker="x" if option.dropped else "o", markersize=7, color=color, zorder=4,
              markerfacecolor=color if adopted else svg.CARD, markeredgewidth=1.4)  # fmt: skip
    left = axes.get_yaxis_transform()
    axes.text(-0.03, y, shorten(name, 44), transform=left, ha="right", va="center", fontsize=11)
    word = "taken on" if adopted else "dropped" if option.dropped else ""
    axes.text(1.03, y, f"{ratio(s.median)}  {word}".rstrip(), transform=left, va="center", fontsize=11)


def _frame(axes: Axes, options: list[TriedPlan], rows: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low = min(o.speedup.low for o in options)
    high = max([o.speedup.high for o in options] + [1.0])
    margin = 0.06 * (high - low) or 0.05
    axes.axvline(1, color=svg.INK, linewidth=1, zorder=1)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: ratio(v)))
    axes.grid(True, axis="x")
    axes.set_xlabel("speed-up over today's default, in the screening", labelpad=8)


def _alt(steps: list[SearchStep], plans: Sequence[Plan]) -> str:
    parts = [
        f"{clean(s.factor)}: "
        + ", ".join(
            f"{clean(plan_by_id(plans, o.plan).title)} {speedup(o.speedup)}{' (dropped)' if o.dropped else ''}"
            for o in s.options
        )
        + (f"; taken on: {clean(plan_by_id(plans, s.adopted).title)}" if s.adopted else "; nothing taken on")
        for s in steps
    ]
    return f"The races of the search. {'. '.join(parts)}."
