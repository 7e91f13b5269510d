"""One look at what other accuracies may give, before the search: it shows nothing, and decides what is worth time.

On nets, lower precision gains most where a CPU or GPU has instructions for it. So its levers are looked at
first and each by itself: in a search of all levers together, few CPUs have no time to come to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.laboratory import FirstLook, Scope, blocks_of, speedups
from hwdiag.experiment.lever import DEFAULT, Factor, Plan
from hwdiag.experiment.model import OVERALL, Workload
from hwdiag.experiment.statistics import geometric_mean
from hwdiag.tune.within import LAYOUT, PRECISION

WORTH = 1.15
"""Ratio from which a look at another accuracy is worth a confirmation: one block may be off by some percent."""
FIRST = ("bf16", "autocast-bf16", "fp16", "tf32", "autocast-fp16", "matmul-bf16")
"""Levers of precision, those first that give most on nets where a host has instructions for them."""
UNKNOWN = 1.1
"""What a search may gain where nothing was looked at, as a ratio."""


@dataclass(frozen=True)
class Glance:
    """The speeds of plans of another accuracy over today's way, as one block showed them."""

    look: FirstLook = field(default_factory=FirstLook)
    ratios: dict[str, float] = field(default_factory=dict)
    """By plan's id."""

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Return the plans that were looked at."""
        return self.look.plans

    @property
    def best(self) -> Plan | None:
        """Return the plan that is worth a confirmation; None where none is."""
        found = max(self.plans, key=lambda p: self.ratios.get(p.id, 0.0), default=None)
        return found if found is not None and self.ratios.get(found.id, 0.0) >= WORTH else None

    @property
    def hope(self) -> float:
        """Return what the search may gain, as a ratio."""
        return max([UNKNOWN, *self.ratios.values()])


def glance(
    campaign: Campaign, factors: Sequence[Factor], workloads: Sequence[Workload], overall_of: Sequence[str]
) -> Glance:
    """Measure plans of another accuracy beside today's way, once, in one block."""
    deciding = [w for w in workloads if w.name in overall_of]
    plans = tuple(plans_of(factors))[: min(campaign.budget.looks, campaign.most(deciding) - 1)]
    if not plans or any(w.kind == "command" for w in deciding):
        return Glance()
    began = campaign.clock()
    blocks = tuple(blocks_of(campaign.run([DEFAULT, *plans], deciding, "screen")))
    pace_s = (campaign.clock() - began) / (1 + len(plans))
    scope = Scope(OVERALL, tuple(overall_of))
    seen = {plan.id: speedups(blocks, plan.id, scope) for plan in plans}
    return Glance(
        FirstLook(plans, blocks, pace_s), {name: geometric_mean(ratios) for name, ratios in seen.items() if ratios}
    )


def plans_of(factors: Sequence[Factor]) -> Iterator[Plan]:
    """Yield plans of lower precision, the most promising first: whole nets in the layout that suits them."""
    by_name = {factor.name: factor.levers for factor in factors}
    able = [x for x in by_name.get(PRECISION, ()) if x.accuracy == "reduced" and not x.risk]
    ranked = sorted(able, key=lambda x: FIRST.index(x.id) if x.id in FIRST else len(FIRST))
    layouts = [x for x in by_name.get(LAYOUT, ()) if not x.risk]
    for precision in ranked:
        yield from (Plan.of(precision, layout) for layout in layouts if precision.id == FIRST[0])
        yield Plan.of(precision)
