"""Every combination of levers, measured once, and those that looked best again: what searches are held against."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.laboratory import Block, Scope, blocks_of, speedups
from hwdiag.experiment.lever import DEFAULT, Lever, Plan
from hwdiag.experiment.model import Workload
from hwdiag.experiment.statistics import geometric_mean


def combinations(answers: Iterable[Sequence[Lever]]) -> list[Plan]:
    """Return every plan of one or none of each factor's levers, but for today's way."""
    chosen = itertools.product(*((None, *levers) for levers in answers))
    plans = [Plan.of(*(lever for lever in levers if lever is not None)) for levers in chosen]
    return [plan for plan in plans if not plan.is_default]


def measured_once(campaign: Campaign, plans: Sequence[Plan], workload: Workload) -> list[Block]:
    """Measure each plan once beside today's way."""
    return blocks_of(campaign.run([DEFAULT, *plans], [workload], "screen"))


def fastest(
    campaign: Campaign,
    once: Sequence[Block],
    plans: Sequence[Plan],
    workload: Workload,
    *,
    nearest: int,
    again: int,
    able: Callable[[Plan], bool] = lambda plan: True,
) -> Plan:
    """Return the fastest of these plans: the ``nearest`` of those measured once are measured so often again, as one
    block's luck makes the first of many."""
    scope = Scope(workload.name, (workload.name,))
    near = sorted(filter(able, plans), key=lambda plan: -gain(once, plan, scope))[:nearest]
    seen = [m for _ in range(again) for m in campaign.run([DEFAULT, *near], [workload], "screen")]
    blocks = blocks_of(seen)
    return max(near, key=lambda plan: gain(blocks, plan, scope))


def gain(blocks: Sequence[Block], plan: Plan, scope: Scope) -> float:
    """Return the speed-up over today's way; 0 where it could not be measured."""
    ratios = speedups(blocks, plan.id, scope)
    return geometric_mean(ratios) if ratios else 0.0


def blocks_beside(campaign: Campaign, plans: Sequence[Plan], workload: Workload, pairs: int) -> list[Block]:
    """Measure these plans and today's way in turns, so many times."""
    different = [*dict.fromkeys(plan for plan in plans if not plan.is_default)]
    return blocks_of([m for _ in range(pairs) for m in campaign.run([DEFAULT, *different], [workload], "confirm")])
