"""Several factors answered by the same trials, and the search with them on hosts that are not there."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from benchmarks.simulate import loader_effort, regret_loader
from hwdiag.dataloader.run import GRACE
from hwdiag.dataloader.search import LoaderLaboratory, crowded, find_setting, lever, loader_factors
from hwdiag.dataloader.setting import LoaderSetting, setting_of
from hwdiag.experiment.deck import Deck
from hwdiag.experiment.effects import Trial, estimate
from hwdiag.experiment.laboratory import scopes_of
from hwdiag.experiment.lever import DEFAULT, Factor, Plan
from hwdiag.experiment.model import Phase
from hwdiag.experiment.screening import ALL, AT_ONCE, Screening
from hwdiag.experiment.search import SearchResult
from hwdiag.experiment.timetable import Effort
from tests.conftest import make_host
from tests.simulation.virtual_loader import random_loader


def factor(name: str, titles: Sequence[str]) -> Factor:
    return Factor(name, tuple(lever(name, title, prefetch=1) for title in titles))


FACTORS = [factor("three", "abc"), factor("one", "d"), factor("two", "e")]


def test_each_lever_comes_as_often_as_the_others_and_as_none() -> None:
    deck = Deck(FACTORS, seed=1)
    seen = [deck.draw(DEFAULT) for _ in range(16 * AT_ONCE)]
    for asked in FACTORS:
        counts = Counter(plan.lever_of(asked.name) for plan in seen)
        assert set(counts) == {None, *asked.levers}
        assert max(counts.values()) - min(counts.values()) <= 1


def test_effects_come_back_from_noise_and_levels_of_blocks() -> None:
    true = {"loader.a": 0.2, "loader.b": -0.1, "loader.c": 0.0, "loader.d": 0.05, "loader.e": -0.3}
    order, deck, trials = random.Random(2), Deck(FACTORS, seed=1), []
    plans: dict[str, Plan] = {}
    for block in range(20):
        level = order.gauss(0, 0.3)
        for _ in range(AT_ONCE):
            plan = deck.draw(DEFAULT)
            plans[plan.id] = plan
            gain = level + sum(true[lever_id] for lever_id in plan.lever_ids) + order.gauss(0, 0.02)
            trials.append(Trial(block, plan.id, math.exp(-gain)))
    found = estimate(trials, lambda plan: plans[plan].lever_ids, lambda name: 0.1)
    for lever_id, gain in true.items():
        mean, error = found.gain([lever_id])
        assert abs(mean - gain) < max(3 * error, 0.01)
        assert error < 0.02
    assert found.noise == pytest.approx(0.02, rel=0.3)


class Known:
    """Settings whose speeds are known, the factors' effects multiplying."""

    gains = {"workers": {1: 0.9, 2: 1.7, 4: 1.8}, "prefetch": {1: 0.97, 8: 1.05}, "sharing": {"file_system": 1.04}}

    def __init__(self, noise: float, seed: int = 1) -> None:
        self.noise, self.now, self._random = noise, 0.0, random.Random(seed)

    def run(self, plan: Plan, phase: Phase, block: int) -> float:  # noqa: ARG002
        self.now += 1.5
        return self._random.lognormvariate(0, self.noise) / self.speed(setting_of(plan))

    def speed(self, setting: LoaderSetting) -> float:
        return math.prod(known.get(getattr(setting, name), 1.0) for name, known in self.gains.items())


def searched(known: Known, seconds: float, *, most_pairs: int = 8, seed: int = 1) -> SearchResult:
    """Search on a host of two cores."""
    factors = loader_factors(make_host(cores_per_node=2))
    laboratory = LoaderLaboratory(known.run, lambda plan: crowded(plan, 2), seed, clock=lambda: known.now)
    return find_setting(factors, laboratory, Effort(seconds, 3, most_pairs, finalists=1, grace=GRACE), 0.03)


def test_small_gains_are_found_together_and_the_steps_say_what_each_gave() -> None:
    found = searched(Known(0.01), 200)
    decision = found.decision()
    assert decision.verdict == "better"
    setting = setting_of(decision.plan)
    assert (setting.workers, setting.prefetch, setting.sharing) == (4, 8, "file_system")
    seen = {o.plan: o.speedup for step in found.screening.steps for o in step.options}
    held, gains = DEFAULT, {}
    for taken in decision.plan.levers:
        before, held = held, held.plus(taken)
        assert seen[held.id].low < seen[held.id].median < seen[held.id].high
        gains[taken.title] = seen[held.id].median / (1.0 if before.is_default else seen[before.id].median)
    assert gains == pytest.approx({"4 workers": 1.8, "8 ahead": 1.05, "file_system": 1.04}, abs=0.02)


class TwoCores(Known):
    """As two real cores were: a second thread slows many workers down far more than few, so effects don't multiply."""

    gains = {"workers": {1: 0.95, 2: 1.55, 3: 1.6, 4: 1.45}, "prefetch": {1: 1.03}}

    def speed(self, setting: LoaderSetting) -> float:
        is_crowded = setting.threads == 2
        return super().speed(setting) / ({1: 1.0, 2: 2.2}.get(setting.workers or 1, 5.0) if is_crowded else 1.0)


@pytest.mark.parametrize("seconds", [40, 60, 90])
def test_no_gain_is_lost_where_effects_do_not_multiply(seconds: float) -> None:
    """Trials spread by 7 %: of five short searches one may stay undecided, but none takes what slows workers down."""
    decisions = [searched(TwoCores(0.07, n), seconds, most_pairs=12, seed=n).decision() for n in range(5)]
    assert sum(d.verdict == "better" for d in decisions) >= 4
    for setting in (setting_of(d.plan) for d in decisions if d.verdict == "better"):
        assert (setting.workers or 0) > 1
        assert setting.threads is None


class OneOrTheOther(Known):
    """Two levers that each gain a fifth alone, and together lose more than both gain."""

    gains = {"workers": {1: 1.0, 2: 1.5}, "prefetch": {8: 1.2}, "sharing": {"file_system": 1.2}}

    def speed(self, setting: LoaderSetting) -> float:
        both = setting.prefetch == 8 and setting.sharing is not None
        return super().speed(setting) * (0.5 if both else 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_what_the_effects_add_up_to_is_raced_against_what_was_there(seed: int) -> None:
    known = OneOrTheOther(0.02, seed)
    found = searched(known, 200, seed=seed)
    assert ALL in {s.factor for s in found.screening.steps}
    decision = found.decision()
    assert decision.verdict == "better"
    assert known.speed(setting_of(decision.plan)) >= 1.5


def test_where_nothing_helps_the_default_stays() -> None:
    known = Known(0.01)
    known.gains = {"workers": {1: 0.9, 2: 0.8, 4: 0.7}}
    decision = searched(known, 200).decision()
    assert decision.plan == DEFAULT
    assert decision.verdict in ("same", "undecided")


def test_a_lever_that_is_surely_behind_is_not_tried_to_the_end() -> None:
    known = Known(0.01)
    known.gains = {"prefetch": {1: 0.5, 4: 1.0, 8: 1.1}}
    laboratory = LoaderLaboratory(known.run, lambda plan: "", 1, clock=lambda: known.now)
    screening = Screening(laboratory, scopes_of(["sample"])[0], 3, 150.0, is_paired=False)
    ahead = next(f for f in loader_factors(make_host(cores_per_node=2)) if f.name == "batches ahead")
    screening.factorial([ahead])
    trials = {x.title: screening.trials(Plan.of(x).id) for x in ahead.levers}
    assert trials["1 ahead"] < trials["8 ahead"] / 2


def test_hosts_that_are_not_there_are_bound_by_what_they_say() -> None:
    """More workers help one that decodes, no longer one whose training process takes as long for each sample."""
    decoding, taking = random_loader(1 + 3 * 12), random_loader(2 + 3 * 12)
    for loader, helps in ((decoding, True), (taking, False)):
        cpus = len(loader.host.usable_cores)
        few, many = (loader.seconds(LoaderSetting(workers=n, prefetch=4)) for n in (cpus // 2 or 1, cpus))
        assert (few / many > 1.3) == helps


@pytest.mark.parametrize("seed", range(0, 100, 11))
def test_the_search_comes_near_the_best_of_all(seed: int) -> None:
    """The whole table is benchmarks/simulate.py's; here a tenth of its hosts, with room for the rest."""
    found = regret_loader(seed, 0.01)
    assert found.behind <= 0.1
    assert found.measured < found.exhaustive / 8
    assert found.seconds < (1 + GRACE) * loader_effort().total_s
