"""Plot of the machine's noise, and of what is left of it between interleaved processes."""

from __future__ import annotations

from statistics import median

from hwdiag.experiment.lever import BASELINE
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning
from hwdiag.report import svg
from hwdiag.report.figure import Figure
from hwdiag.report.format import percent
from hwdiag.report.plots._canvas import canvas, look, to_figure


def noise_strips(record: Record) -> Figure | None:
    """Return the plot of today's default over the run: single processes above, interleaved pairs below. None without an
    A/A run."""
    study = tuning(record)
    if study.noise is None:
        return None
    alone, pairs = deviations(record)
    if len(alone) < 2:
        return None
    with look():
        picture = canvas(944, 300)
        upper, lower = picture.subplots(2, 1, sharex=True, sharey=True)
        for axes, values, name in (
            (upper, alone, "single processes, over their median"),
            (lower, pairs, "two processes that took turns, one over the other"),
        ):
            axes.axhline(0, color=svg.INK, linewidth=1, zorder=1)
            axes.plot(range(1, len(values) + 1), [100 * v for v in values], marker="o", markersize=5, linestyle="none",
                      color=svg.BLUE, zorder=3)  # fmt: skip
            axes.set_title(name)
            axes.grid(True, axis="y")
        lower.set_xlabel("block, in the order of the run")
        picture.supylabel("difference, %", fontsize=12, color=svg.MUTED)
        evidence = tuple(m.id for m in study.measurements if m.plan == BASELINE and m.phase != "device")
        return to_figure(picture, "noise", _alt(record), _CAPTION, evidence)


_CAPTION = (
    "Today's default again and again. Above: its processes as the machine's noise moves them. Below: today's default "
    "against itself, in turns of some hundredths of a second: what is left is what a comparison here has to beat."
)


def deviations(record: Record) -> tuple[list[float], list[float]]:
    """Return the relative deviations of the default's process medians, and of pairs of it, over all deciding
    workloads."""
    study = tuning(record)
    names = study.overall_of
    ok = [m for m in study.measurements if m.outcome.ok and m.device == "cpu" and m.workload in names]
    mine = [m for m in ok if m.plan == BASELINE]
    centre = {n: median([m.median_s for m in mine if m.workload == n]) for n in {m.workload for m in mine}}
    alone = [m.median_s / centre[m.workload] - 1 for m in mine]
    twins = {(m.block, m.workload): m.median_s for m in ok if m.phase == "noise" and m.plan != BASELINE}
    pairs = [
        m.median_s / twins[m.block, m.workload] - 1
        for m in mine
        if m.phase == "noise" and (m.block, m.workload) in twins
    ]
    return alone, pairs


def _alt(record: Record) -> str:
    study = tuning(record)
    noise = study.noise
    assert noise is not None
    return (
        f"Noise of this machine: single processes differ by {percent(noise.alone)}, two processes that take turns by "
        f"{percent(noise.spread)}, from {noise.pairs} pairs."
    )
