"""Several questions answered by the same trials, and the search with them on hosts that are not there."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from benchmarks.simulate_dataloader import WITHIN, regret
from hwdiag.feeding.together import Tried, combinations, effects
from hwdiag.measure.search import Question

from hwdiag.dataloader.search import DEFAULT, Races, find_setting, questions
from hwdiag.dataloader.setting import Setting
from hwdiag.experiment.model import Phase
from tests.conftest import make_host
from tests.simulation.virtual_loader import random_loader


def option(name: str) -> Setting:
    return Setting(name=name, prefetch=1)


ASKED = [Question("three", tuple(map(option, "abc"))), Question("one", (option("d"),)), Question("two", (option("e"),))]


def test_each_answer_comes_as_often_as_the_others() -> None:
    blocks = combinations(ASKED)
    seen = [answers for _ in range(16) for answers in next(blocks)]
    for number, question in enumerate(ASKED):
        counts = np.bincount([answers[number] for answers in seen])
        assert len(counts) == len(question.options) + 1
        assert counts.max() - counts.min() <= 0.25 * len(seen)


def test_effects_come_back_from_noise_and_levels_of_blocks() -> None:
    true = {(0, 1): 0.2, (0, 2): -0.1, (0, 3): 0.0, (1, 1): 0.05, (2, 1): -0.3}
    order, tried, blocks = random.Random(2), [], combinations(ASKED)
    for block in range(20):
        level = order.gauss(0, 0.3)
        for answers in next(blocks):
            gain = level + sum(true.get(pair, 0.0) for pair in enumerate(answers)) + order.gauss(0, 0.02)
            tried.append(Tried(answers, block, gain))
    found = effects(tried, [3, 1, 1], noise=0.02)
    for (question, answer), gain in true.items():
        effect = found[question][answer - 1]
        assert abs(effect.mean - gain) < max(3 * effect.error, 0.01)
        assert effect.error < 0.02
        assert effect.trials >= 15


class Known:
    """Settings whose speeds are known, each question's answers multiplying."""

    gains = {"workers": {1: 0.9, 2: 1.7, 4: 1.8}, "prefetch": {1: 0.97, 8: 1.05}, "sharing": {"file_system": 1.04}}

    def __init__(self, noise: float, seed: int = 1) -> None:
        self.noise, self.now, self._random = noise, 0.0, random.Random(seed)

    def run(self, setting: Setting, phase: Phase, block: int) -> float:  # noqa: ARG002
        self.now += 1.5
        speed = math.prod(known.get(getattr(setting, name), 1.0) for name, known in self.gains.items())
        return self._random.lognormvariate(0, self.noise) / speed


def test_small_gains_are_found_together_and_the_steps_say_what_each_gave() -> None:
    known = Known(0.01)
    races = Races(known.run, lambda s: "" if s.makes_sense else "no", seed=1)
    asked = questions(make_host(cores_per_node=2))
    found = find_setting(asked, races, budget_s=200, min_effect=0.03, rounds=3, most_pairs=8, clock=lambda: known.now)
    assert found.verdict == "better"
    assert (found.launch.workers, found.launch.prefetch, found.launch.sharing) == (4, 8, "file_system")
    steps = {s.question: s for s in found.steps}
    before = next(o for o in steps["workers"].options if o.launch == "4 workers").speedup.median
    adopted = next(o for o in steps["batches ahead"].options if o.launch == steps["batches ahead"].adopted)
    assert adopted.speedup.median / before == pytest.approx(1.05, abs=0.02)
    assert adopted.speedup.low < adopted.speedup.median < adopted.speedup.high


class TwoCores(Known):
    """As two real cores were: a second thread slows many workers down far more than few, so answers don't multiply."""

    gains = {"workers": {1: 0.95, 2: 1.55, 3: 1.6, 4: 1.45}, "prefetch": {1: 1.03}}

    def run(self, setting: Setting, phase: Phase, block: int) -> float:
        crowded = {1: 1.0, 2: 2.2}.get(setting.workers or 1, 5.0) if setting.threads == 2 else 1.0
        return super().run(setting, phase, block) * crowded


@pytest.mark.parametrize("budget_s", [40, 60, 90])
@pytest.mark.parametrize("seed", range(5))
def test_no_gain_is_lost_where_answers_do_not_multiply(budget_s: float, seed: int) -> None:
    known = TwoCores(0.07, seed)
    races = Races(known.run, lambda s: "" if s.makes_sense else "no", seed=seed)
    asked = questions(make_host(cores_per_node=2))
    found = find_setting(
        asked, races, budget_s=budget_s, min_effect=0.03, rounds=3, most_pairs=12, clock=lambda: known.now
    )
    assert found.verdict == "better"
    assert (found.launch.workers or 0) > 1
    assert found.launch.threads is None


def test_where_nothing_helps_the_default_stays() -> None:
    known = Known(0.01)
    known.gains = {"workers": {1: 0.9, 2: 0.8, 4: 0.7}}
    races = Races(known.run, lambda s: "" if s.makes_sense else "no", seed=1)
    found = find_setting(
        questions(make_host(cores_per_node=2)),
        races,
        budget_s=200,
        min_effect=0.03,
        rounds=3,
        most_pairs=8,
        clock=lambda: known.now,
    )
    assert found.launch == DEFAULT
    assert found.verdict in ("same", "undecided")


def test_hosts_that_are_not_there_are_bound_by_what_they_say() -> None:
    """More workers help one that decodes, no longer one whose training process takes as long for each sample."""
    decoding, taking = random_loader(1 + 3 * 12), random_loader(2 + 3 * 12)
    for loader, helps in ((decoding, True), (taking, False)):
        cpus = len(loader.host.usable_cores)
        few, many = (loader.seconds(Setting(name="x", workers=n, prefetch=4)) for n in (cpus // 2 or 1, cpus))
        assert (few / many > 1.3) == helps


@pytest.mark.parametrize("seed", range(0, 100, 11))
def test_the_search_comes_near_the_best_of_all(seed: int) -> None:
    """The whole table is benchmarks/simulate_dataloader.py's; here a tenth of its hosts, with room for the rest."""
    found = regret(seed, 0.01)
    assert found.behind <= 2 * WITHIN
    assert found.trials < 0.1 * found.exhaustive
