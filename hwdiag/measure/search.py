"""The search for a better Launch: screen all candidates, then measure the best of them afresh against the default.

What wins a screening of many wins partly by luck; only the fresh measurement, which no candidate was chosen by,
counts as evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag.measure.campaign import Campaign
from hwdiag.measure.compare import compare_all
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import BASELINE, OVERALL, Comparison, Workload

CONFIRM_SHARE = 0.5
"""Share of the time that screening leaves to the confirmation."""


def search(
    campaign: Campaign,
    launches: Sequence[Launch],
    workloads: Sequence[Workload],
    overall_of: Sequence[str],
    min_effect: float,
) -> tuple[Comparison, ...]:
    """Measure ``launches`` (the default first) and compare each with the default; the finalists twice.

    ``min_effect`` is the least gain worth a change, 0.03 for 3 %.
    """
    budget = campaign.budget
    if len(launches) < 2:
        campaign.run_blocks(launches, workloads, budget.screen_blocks + budget.confirm_blocks, "screen")
        return ()
    reserve = budget.total_s * CONFIRM_SHARE
    campaign.run_blocks(launches, workloads, budget.screen_blocks, "screen", leave_s=reserve)
    screened = compare_all(campaign.measurements, "screen", overall_of, min_effect)
    names = finalists(screened, budget.finalists, min_effect)
    if not names:
        return screened
    chosen = [launch for launch in launches if launch.name in (BASELINE, *names)]
    hopes = {(c.candidate, c.workload) for c in screened if c.candidate in names and promising(c, min_effect)}
    deciding = {scope for _, scope in hopes} | set(overall_of)
    campaign.run_blocks(chosen, [w for w in workloads if w.name in deciding], budget.confirm_blocks, "confirm")
    return (*screened, *compare_all(campaign.measurements, "confirm", overall_of, min_effect, hopes))


def finalists(screened: Sequence[Comparison], most: int, min_effect: float) -> tuple[str, ...]:
    """Names of the at most ``most`` candidates worth confirming: the best overall first, then by their best gain."""
    hopeful = [c for c in screened if promising(c, min_effect)]
    ranked = sorted(hopeful, key=lambda c: (c.workload == OVERALL, c.speedup.median), reverse=True)
    return tuple(dict.fromkeys(c.candidate for c in ranked))[:most]


def promising(comparison: Comparison, min_effect: float) -> bool:
    """Whether the screening leaves hope for a gain worth a change."""
    return comparison.speedup.median >= 1 + min_effect
