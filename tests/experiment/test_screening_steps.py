"""What the steps of a search tell of can be shown: every plan that they name is among the search's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from hwdiag.experiment.laboratory import Block, Scope
from hwdiag.experiment.lever import BASELINE, Factor, Lever, Plan
from hwdiag.experiment.model import Phase
from hwdiag.experiment.search import search
from hwdiag.experiment.space import SearchSpace
from hwdiag.experiment.timetable import Effort
from hwdiag.record.tuning import Tuning

GAINS = {"placement": 0.2, "heap": 0.1, "dispatch": 0.05, "runtime": -0.05}


def factor(name: str) -> Factor:
    """A factor of three levers, of which each gives a little less than the one before."""
    levers = (Lever(id=f"{name}={n}", factor=name, title=f"{name} {n}") for n in range(3))
    return Factor(name, tuple(levers))


class Bench:
    """A laboratory in which the effects of levers add up, on the logarithmic scale."""

    def __init__(self) -> None:
        self.now, self.blocks, self.noise = 0.0, count(1), np.random.default_rng(5)

    def measure(self, plans: Sequence[Plan], phase: Phase) -> list[Block]:  # noqa: ARG002
        self.now += len(plans)
        seconds = {plan.id: {"net": self.seconds(plan)} for plan in (Plan.of(), *plans)}
        return [Block(next(self.blocks), seconds)]

    def seconds(self, plan: Plan) -> float:
        gain = sum(GAINS[x.factor] - 0.02 * int(x.id[-1]) for x in plan.levers)
        return float(np.exp(self.noise.normal(0, 0.01) - gain))

    def clock(self) -> float:
        return self.now


def test_every_plan_that_a_step_names_is_among_the_searchs() -> None:
    questions = SearchSpace(factor("placement"), [factor(name) for name in ("heap", "dispatch", "runtime")])
    found = search(Bench(), questions, [Scope("overall", ("net",))], Effort(200, 4, 16, 3), 0.03)
    steps = found.screening.steps
    assert {step.factor for step in steps} >= set(GAINS)
    known = {plan.id for plan in found.plans}
    assert BASELINE in known
    assert {option.plan for step in steps for option in step.options} <= known
    assert {step.adopted for step in steps if step.adopted} <= known
    assert Tuning(started_at="", plans=found.plans, steps=tuple(steps)).steps
