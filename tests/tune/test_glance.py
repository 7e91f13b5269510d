"""A glance at other accuracies: one block decides what is worth a confirmation, and shows nothing by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pytest

from hwdiag.core.choices import BudgetName
from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign, CampaignLaboratory, at_once
from hwdiag.experiment.interleaved import Candidate, ProcessResult
from hwdiag.experiment.laboratory import scopes_of
from hwdiag.experiment.lever import BASELINE, DEFAULT, Factor, Lever, Plan
from hwdiag.experiment.search import search
from hwdiag.experiment.space import SearchSpace
from hwdiag.experiment.timetable import Effort
from hwdiag.experiment.workloads import catalogue, gpt2, resnet18
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance
from hwdiag.tune.glance import Glance, glance, plans_of
from hwdiag.tune.tune import Tuned, tune
from hwdiag.tune.within import LAYOUT, PRECISION
from tests.conftest import make_host

NAMES = ("bf16", "autocast-bf16", "matmul-bf16")
FACTORS = (
    Factor("heap", (Lever(id="heap", factor="heap", title="heap", launch=Launch(env={"HEAP": "1"})),)),
    Factor(PRECISION, tuple(Lever(id=n, factor=PRECISION, title=n, techniques=(n,), accuracy="reduced")
                            for n in reversed(NAMES))),
    Factor(LAYOUT, (Lever(id="channels-last", factor=LAYOUT, title="cl", techniques=("channels-last",)),)),
)  # fmt: skip
WORKLOADS = (resnet18(), gpt2())
BOTH = ("resnet18", "gpt2")
OTHERS = tuple(w for w in catalogue(make_host()) if w.name == "copy")


class Player:
    """Runs blocks of candidates whose speeds follow from their techniques; each process takes half a second, or what
    is given."""

    def __init__(self, speeds: Mapping[tuple[str, ...], float], process_s: float = 0.5) -> None:
        self.speeds, self.now, self.seen = speeds, 0.0, list[tuple[str, ...]]()
        self.process_s, self.blocks = process_s, list[tuple[list[str], list[tuple[str, ...]]]]()

    def run(self, candidates: Sequence[Candidate], *, device: str, seed: int) -> Disturbance:  # noqa: ARG002
        self.blocks.append(([*candidates[0].todo], [c.techniques for c in candidates]))
        for n, candidate in enumerate(candidates):
            self.now += self.process_s
            self.seen.append(candidate.techniques)
            seconds = (1 + seed % 97 / 1e4) / self.speeds.get(candidate.techniques, 1.0)
            for name in candidate.todo:
                candidate.results[name] = ProcessResult(
                    n, seconds=[seconds], max_error=0.004 if candidate.check else None
                )
        return Disturbance()


def campaign_of(player: Player, budget: BudgetName = "quick", total_s: float | None = None) -> Campaign:
    limits = BUDGETS[budget] if total_s is None else BUDGETS[budget].lasting(total_s / 60)
    return Campaign("python", limits, seed=1, child_timeout_s=9, clock=lambda: player.now, runner=player)


def test_whole_nets_with_the_layout_that_suits_them_come_first() -> None:
    found = [plan.lever_ids for plan in plans_of(FACTORS)]
    assert found == [("bf16", "channels-last"), ("bf16",), ("autocast-bf16",), ("matmul-bf16",)]


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
    without = tune(campaign_of(Player(player.speeds)), FACTORS, WORKLOADS, BOTH, 0.03, seen=Glance())
    assert not [c for c in without.comparisons if c.phase == "confirm" and c.candidate not in (BASELINE, "heap")
                and c.verdict == "better"]  # fmt: skip


def confirmed(found: Tuned) -> dict[str, str]:
    return {c.candidate: c.verdict for c in found.comparisons if c.phase == "confirm" and c.workload == "overall"}


def test_on_few_cpus_a_quick_run_confirms_its_promise_before_all_else() -> None:
    """Of 74 s the questions took 16, and a process takes two on two cores. A net twice as fast in bf16 was seen once,
    not confirmed, and called "keep what you have"."""
    player = Player({("bf16", "channels-last"): 2.1, ("bf16",): 1.4}, process_s=2.1)
    found = tune(campaign_of(player, "quick", 58.0), FACTORS, [*WORKLOADS, *OTHERS], BOTH, 0.03)
    assert confirmed(found) == {"bf16+channels-last": "better"}
    assert player.now < 58 * 1.1
    assert (["copy"], [()]) in player.blocks  # today's way on the others has its time, too
    assert {lever.title for lever in FACTORS[0].levers} <= set(found.open_levers)  # nobody looked at them


def test_a_standard_run_on_few_cpus_finds_the_best_in_fewer_bits() -> None:
    """In 200 s of a two-core machine each combination of many levers took ten, and bf16 had no turn by itself."""
    player = Player({("bf16", "channels-last"): 2.1, ("bf16",): 1.4, ("autocast-bf16",): 1.2}, process_s=3.1)
    found = tune(campaign_of(player, "standard", 200.0), FACTORS, [*WORKLOADS, *OTHERS], BOTH, 0.03)
    assert confirmed(found)["bf16+channels-last"] == "better"
    assert player.now < 200 * 1.1


def test_what_a_glance_saw_counts_in_the_search() -> None:
    player = Player({("bf16",): 2.0})
    campaign = campaign_of(player, "standard")
    seen = glance(campaign, FACTORS, WORKLOADS, BOTH)
    assert len(seen.look.blocks) == 1
    assert seen.look.pace_s == 0.5
    laboratory, effort = CampaignLaboratory(campaign, WORKLOADS), Effort(0.0, 1, 8, 1)
    found = search(laboratory, SearchSpace(None, FACTORS), scopes_of(BOTH), effort, 0.03, look=seen.look)
    assert found.screening.best_within("reduced").lever_ids == ("bf16",)


def test_workloads_that_fill_memory_do_not_keep_the_small_ones_apart() -> None:
    """Arrays of gigabytes let two processes run at once; the nets' blocks had two each, with today's way in all."""
    host = make_host()
    host = host.model_copy(update={"memory": host.memory.model_copy(update={"available_bytes": 24 << 30})})
    large = OTHERS[0].model_copy(update={"bytes": 4 << 30})
    player = Player({})
    campaign = Campaign("python", BUDGETS["standard"], seed=1, child_timeout_s=9, clock=lambda: player.now,
                        runner=player, most=partial(at_once, host))  # fmt: skip
    plans = [Plan.of(lever) for factor in FACTORS for lever in factor.levers]
    campaign.run([DEFAULT, *plans], WORKLOADS, "screen")
    campaign.run([DEFAULT, *plans], [large], "screen")
    assert [len(techniques) for _, techniques in player.blocks] == [6, 2, 2, 2, 2, 2]
