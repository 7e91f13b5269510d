"""A glance at other accuracies: one block decides what is worth a confirmation, and shows nothing by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.interleaved import Candidate, ProcessResult
from hwdiag.experiment.lever import BASELINE, Factor, Lever
from hwdiag.experiment.workloads import gpt2, resnet18
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance
from hwdiag.tune.glance import MOST_LOOKS, glance, plans_of
from hwdiag.tune.tune import tune
from hwdiag.tune.within import LAYOUT, PRECISION

NAMES = ("bf16", "autocast-bf16", "matmul-bf16")
FACTORS = (
    Factor("heap", (Lever(id="heap", factor="heap", title="heap", launch=Launch(env={"HEAP": "1"})),)),
    Factor(PRECISION, tuple(Lever(id=n, factor=PRECISION, title=n, techniques=(n,), accuracy="reduced")
                            for n in reversed(NAMES))),
    Factor(LAYOUT, (Lever(id="channels-last", factor=LAYOUT, title="cl", techniques=("channels-last",)),)),
)  # fmt: skip
WORKLOADS = (resnet18(), gpt2())
BOTH = ("resnet18", "gpt2")


class Player:
    """Runs blocks of candidates whose speeds follow from their techniques; each process takes half a second."""

    def __init__(self, speeds: Mapping[tuple[str, ...], float]) -> None:
        self.speeds, self.now, self.seen = speeds, 0.0, list[tuple[str, ...]]()

    def run(self, candidates: Sequence[Candidate], *, device: str, seed: int) -> Disturbance:  # noqa: ARG002
        for n, candidate in enumerate(candidates):
            self.now += 0.5
            self.seen.append(candidate.techniques)
            seconds = (1 + seed % 97 / 1e4) / self.speeds.get(candidate.techniques, 1.0)
            for name in candidate.todo:
                candidate.results[name] = ProcessResult(
                    n, seconds=[seconds], max_error=0.004 if candidate.check else None
                )
        return Disturbance()


def campaign_of(player: Player) -> Campaign:
    return Campaign("python", BUDGETS["quick"], seed=1, child_timeout_s=9, clock=lambda: player.now, runner=player)


def test_whole_nets_with_the_layout_that_suits_them_come_first() -> None:
    found = [plan.lever_ids for plan in plans_of(FACTORS)]
    assert found == [("bf16", "channels-last"), ("bf16",), ("autocast-bf16",), ("matmul-bf16",)]
    assert len(found) == MOST_LOOKS


@pytest.mark.parametrize(
    ("speeds", "best"),
    [
        ({("bf16", "channels-last"): 2.4, ("bf16",): 1.1}, ("bf16", "channels-last")),
        ({("bf16",): 1.1}, None),
        ({}, None),
    ],
)
def test_only_a_clear_look_is_worth_a_confirmation(speeds: Mapping[tuple[str, ...], float], best: object) -> None:
    seen = glance(campaign_of(Player(speeds)), FACTORS, WORKLOADS, BOTH)
    assert (None if seen.best is None else seen.best.lever_ids) == best
    assert seen.hope == pytest.approx(max([1.1, *speeds.values()]), rel=0.02)


def test_nothing_is_looked_at_where_no_lever_changes_results() -> None:
    player = Player({})
    seen = glance(campaign_of(player), FACTORS[:1], WORKLOADS, BOTH)
    assert (seen.best, seen.plans, player.seen) == (None, (), [])


def test_a_short_run_confirms_beside_its_own_search_what_the_glance_found_worth_it() -> None:
    """A quick run said nothing of a net that is 2.4 times as fast in bf16."""
    player = Player({("bf16", "channels-last"): 2.4, ("bf16",): 1.1})
    campaign = campaign_of(player)
    seen = glance(campaign, FACTORS, WORKLOADS, BOTH)
    found = tune(campaign, FACTORS, WORKLOADS, BOTH, 0.03, seen=seen)
    (reduced,) = [c for c in found.comparisons
                  if c.phase == "confirm" and c.workload == "overall" and c.candidate == seen.best.id]  # fmt: skip
    assert reduced.verdict == "better"
    assert reduced.speedup.median == pytest.approx(2.4, rel=0.02)
    assert not [c for c in found.comparisons if c.verdict == "better" and c.phase == "confirm" and c != reduced
                and c.candidate != seen.best.id]  # fmt: skip
    without = tune(campaign_of(Player(player.speeds)), FACTORS, WORKLOADS, BOTH, 0.03)
    assert not [c for c in without.comparisons if c.phase == "confirm" and c.candidate not in (BASELINE, "heap")
                and c.verdict == "better"]  # fmt: skip
