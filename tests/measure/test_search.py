"""The search on a simulated machine: what it finds, what it refuses to claim, and how it treats the dead."""

from __future__ import annotations

from collections import Counter

import pytest

from hwdiag.measure.campaign import Campaign
from hwdiag.measure.compare import estimates
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import OVERALL, Comparison
from hwdiag.measure.search import search
from hwdiag.measure.workloads import gpt2, resnet18
from tests.measure.simulated import BUDGET, simulate

DEFAULT = Launch(name="default")
FAST, SLOW = Launch(name="fast"), Launch(name="slow")
WORKLOADS = (resnet18(), gpt2())
NAMES = ("resnet18", "gpt2")


def searched(launches: tuple[Launch, ...], seed: int = 1) -> tuple[Campaign, dict[tuple[str, str, str], Comparison]]:
    campaign = Campaign("python", BUDGET, seed=seed, child_timeout_s=10)
    found = search(campaign, launches, WORKLOADS, NAMES, 0.03)
    return campaign, {(c.candidate, c.workload, c.phase): c for c in found}


def test_a_true_gain_is_found_and_confirmed_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, lambda launch, _: {"fast": 0.08, "slow": 0.2}.get(launch.name, 0.1))
    campaign, found = searched((DEFAULT, FAST, SLOW))
    confirmed = found["fast", OVERALL, "confirm"]
    assert confirmed.verdict == "better"
    assert confirmed.speedup.median == pytest.approx(1.25, rel=0.03)
    assert confirmed.speedup.processes == BUDGET.confirm_blocks
    assert found["slow", OVERALL, "screen"].speedup.median == pytest.approx(0.5, rel=0.05)
    assert ("slow", OVERALL, "confirm") not in found
    phases = {m.id: m.phase for m in campaign.measurements}
    assert {phases[i] for i in confirmed.measurements} == {"confirm"}


def test_equal_launches_are_never_called_better(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, lambda *_: 0.1, noise=0.05)
    _, found = searched((DEFAULT, FAST, SLOW))
    assert not [c for c in found.values() if c.verdict == "better" and c.phase == "confirm"]


def test_a_search_among_equals_rarely_names_a_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five candidates that are the default, four scopes, processes that spread by 16 % as on a shared machine."""
    rivals = (DEFAULT, *(Launch(name=f"rival{i}") for i in range(5)))
    winners = 0
    for seed in range(60):
        simulate(monkeypatch, lambda *_: 0.1, noise=0.16, seed=seed)
        _, found = searched(rivals, seed)
        winners += any(c.verdict == "better" for c in found.values() if c.phase == "confirm")
    assert winners <= 5


def test_a_gain_on_one_workload_alone_is_confirmed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(
        monkeypatch, lambda launch, w: {("fast", "gpt2"): 0.08, ("fast", "resnet18"): 0.14}.get((launch.name, w), 0.1)
    )
    _, found = searched((DEFAULT, FAST))
    assert found["fast", "gpt2", "confirm"].verdict == "better"
    assert found["fast", OVERALL, "confirm"].verdict == "worse"


def test_blocks_are_interleaved_and_shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    started = simulate(monkeypatch, lambda *_: 0.1, noise=0)
    searched((DEFAULT, FAST, SLOW))
    order = [launch.name for launch, _ in started]
    blocks = [order[i : i + 3] for i in range(0, 9, 3)]
    assert all(sorted(block) == ["default", "fast", "slow"] for block in blocks)
    assert len({tuple(block) for block in blocks}) > 1


def test_only_the_first_process_of_a_launch_checks_results(monkeypatch: pytest.MonkeyPatch) -> None:
    started = simulate(monkeypatch, lambda *_: 0.1)
    searched((DEFAULT, FAST))
    assert Counter(launch.name for launch, task in started if task["check"]) == {"default": 1, "fast": 1}


def test_a_child_that_dies_costs_one_workload_and_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started = simulate(monkeypatch, lambda *_: 0.1, dies_in=lambda launch, w: launch.name == "fast" and w == "gpt2")
    campaign, found = searched((DEFAULT, FAST))
    dead = [m for m in campaign.measurements if not m.outcome.ok]
    assert [(m.launch, m.workload, m.outcome.detail) for m in dead] == [("fast", "gpt2", "killed by SIGILL in gpt2")]
    assert ("fast", OVERALL, "screen") not in found
    assert ("fast", "resnet18", "screen") in found
    later = [task for launch, task in started[3:] if launch.name == "fast"]
    assert later
    assert all([w["name"] for w in task["workloads"]] == ["resnet18"] for task in later)


def test_a_launch_that_did_not_take_effect_is_a_failed_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, lambda *_: 0.1)
    monkeypatch.setitem(__import__("tests.measure.simulated", fromlist=["APPLIED"]).APPLIED, "cpus", [0])
    from hwdiag.measure.launch import Allocator

    ghost = Launch(name="ghost", allocator=Allocator(name="jemalloc", path="/no/such.so"))
    campaign, found = searched((DEFAULT, ghost))
    kinds = {m.outcome.kind for m in campaign.measurements if m.launch == "ghost"}
    assert kinds == {"not-applied"}
    assert not found


def test_too_short_a_budget_gives_few_results_and_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, lambda launch, _: 0.05 if launch.name == "fast" else 0.1)
    campaign = Campaign("python", BUDGET.model_copy(update={"total_s": 1e-9}), seed=1, child_timeout_s=10)
    found = search(campaign, (DEFAULT, FAST), WORKLOADS, NAMES, 0.03)
    assert len([m for m in campaign.measurements if m.phase == "screen"]) == 4
    assert {c.verdict for c in found} == {"undecided"}


def test_estimates_count_processes_and_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, lambda *_: 0.1, noise=0)
    campaign, _ = searched((DEFAULT,))
    of_gpt2 = next(e for e in estimates(campaign.measurements) if e.workload == "gpt2")
    blocks = BUDGET.screen_blocks + BUDGET.confirm_blocks
    assert (of_gpt2.seconds.processes, of_gpt2.seconds.samples) == (blocks, 3 * blocks)
    assert of_gpt2.seconds.median == pytest.approx(0.1)
