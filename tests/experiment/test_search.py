"""The search by itself: what it decides where the answer is known, and what it says where nothing can be decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hwdiag.measure.search import Decision, Question, find_best, pairs_to_confirm

from hwdiag.experiment.model import Phase
from hwdiag.experiment.statistics import MIN_PAIRS
from hwdiag.process.launch import Launch

DEFAULT = Launch()
THREADS = Question("threads", tuple(Launch(threads=n) for n in (1, 2, 4)))
HEAP = Question("heap", (Launch(env={"HUGE": "1"}),))


@dataclass
class Bench:
    """Measures what it is told, with a little noise; each Launch takes a second."""

    speedups: Mapping[str, float]
    noise: float = 0.01
    failing: Mapping[Phase, frozenset[str]] = field(default_factory=dict)
    seed: int = 0
    now: float = 0.0
    seen: list[tuple[Phase, str]] = field(default_factory=list)

    def measure(self, launches: Sequence[Launch], n: int, phase: Phase) -> dict[str, list[float]]:
        random = np.random.default_rng([self.seed, len(self.seen)])
        self.now += n * len(launches)
        self.seen += [(phase, launch.name) for _ in range(n) for launch in launches]
        alive = [x.name for x in launches if x.name not in self.failing.get(phase, ())]
        return {name: list(self._true(name) * random.lognormal(0, self.noise, n)) for name in alive}

    def _true(self, name: str) -> float:
        return float(np.prod([self.speedups.get(part, 1.0) for part in name.split(" + ")]))

    def decide(self, *questions: Question, budget_s: float = 200) -> Decision:
        return find_best(
            questions, self.measure, budget_s=budget_s, min_effect=0.03, default=DEFAULT, clock=lambda: self.now
        )


def test_answers_add_up_and_the_whole_is_confirmed_afresh() -> None:
    bench = Bench({"threads=2": 1.2, "threads=1": 0.6, "huge pages": 1.1})
    decision = bench.decide(THREADS, HEAP)
    assert (decision.launch.name, decision.verdict) == ("threads=2 + huge pages", "better")
    assert (decision.launch.threads, decision.launch.env) == (2, {"HUGE": "1"})
    assert decision.speedup is not None
    assert decision.speedup.median == pytest.approx(1.32, rel=0.02)
    assert decision.p_value is not None
    assert decision.p_value < 0.01
    assert [s.adopted for s in decision.steps] == ["threads=2", "threads=2 + huge pages"]
    confirmed = [name for phase, name in bench.seen if phase == "confirm"]
    assert confirmed == ["threads=2 + huge pages"] * decision.speedup.processes


def test_what_is_surely_behind_is_not_measured_again() -> None:
    bench = Bench({"threads=2": 1.2, "threads=1": 0.6})
    decision = bench.decide(THREADS)
    assert bench.seen.count(("screen", "threads=1")) == 1
    assert {o.launch: o.dropped for o in decision.steps[0].options} == {
        "threads=1": True,
        "threads=2": False,
        "threads=4": True,
    }


def test_options_around_the_best_are_asked_for() -> None:
    near = Question("threads", THREADS.options, lambda best: [Launch(threads=3)])
    bench = Bench({"threads=2": 1.2, "threads=3": 1.3})
    assert bench.decide(near).launch.name == "threads=3"
    assert bench.seen.count(("screen", "threads=3")) <= 8


@dataclass
class Moving(Bench):
    """With huge pages fewer threads are best."""

    def _true(self, name: str) -> float:
        parts = name.split(" + ")
        huge = "huge pages" in parts
        threads = {"threads=4": 1.2 if huge else 1.3, "threads=2": 1.4 if huge else 1.0}
        return float(np.prod([threads.get(part, 1.0) for part in parts])) * (1.2 if huge else 1.0)


def test_what_a_later_answer_moved_is_asked_again() -> None:
    others = {n: Launch(threads=n) for n in (2, 4)}
    near = Question("threads", THREADS.options, lambda best: [others[2 if best.threads == 4 else 4]])
    bench = Moving({})
    decision = bench.decide(near, HEAP)
    assert (decision.launch.threads, decision.launch.env) == (2, {"HUGE": "1"})
    assert decision.launch.name == "huge pages + threads=2"  # in place of the four, not on top of them
    assert [(s.question, s.adopted) for s in decision.steps] == [
        ("threads", "threads=4"),
        ("heap", "threads=4 + huge pages"),
        ("threads", "huge pages + threads=2"),
    ]


def test_what_nothing_came_after_is_not_asked_again() -> None:
    near = Question("threads", THREADS.options, lambda best: [Launch(threads=3)])
    assert len(Bench({"threads=2": 1.2}).decide(near).steps) == 1


def test_each_question_has_its_share_of_the_time() -> None:
    """One with many options does not starve those that follow."""
    many = Question("many", tuple(Launch(env={"X": str(i)}) for i in range(20)))
    bench = Bench({"huge pages": 1.2}, noise=0.03)
    assert bench.decide(many, HEAP, budget_s=60).launch.name.endswith("huge pages")
    assert len([1 for phase, _ in bench.seen if phase == "screen"]) <= 60


def test_a_default_that_is_best_stays() -> None:
    decision = Bench(dict.fromkeys(("threads=1", "threads=2", "threads=4", "huge pages"), 0.8)).decide(THREADS, HEAP)
    assert (decision.launch, decision.verdict, decision.speedup) == (DEFAULT, "same", None)
    assert decision.why.startswith("of 4 others the nearest, ")
    assert decision.why.endswith("x in the screening")


def test_noise_that_hides_a_gain_is_no_proof_that_there_is_none() -> None:
    decisions = [Bench({}, noise=0.1, seed=seed).decide(HEAP) for seed in range(60)]
    kept = [(d.verdict, d.steps[0].options[0].speedup.median) for d in decisions if d.launch == DEFAULT]
    near = [verdict for verdict, nearest in kept if nearest >= 1]
    assert len(near) > 5
    assert near.count("undecided") > 0.7 * len(near)


def test_one_candidate_is_enough() -> None:
    assert Bench({"huge pages": 1.2}).decide(HEAP).verdict == "better"
    assert Bench({"huge pages": 1.02}).decide(HEAP).verdict in ("same", "undecided")


@pytest.mark.parametrize("budget_s", [0, -1])
def test_without_time_nothing_is_measured_or_decided(budget_s: float) -> None:
    bench = Bench({"huge pages": 2.0})
    decision = bench.decide(THREADS, HEAP, budget_s=budget_s)
    assert (decision.launch, decision.verdict) == (DEFAULT, "undecided")
    assert decision.why == "there was no time to measure anything"
    assert not bench.seen


def test_where_all_fail_the_default_stays_undecided() -> None:
    names = frozenset({"threads=1", "threads=2", "threads=4", "huge pages"})
    decision = Bench({}, failing={"screen": names}).decide(THREADS, HEAP)
    assert (decision.launch, decision.verdict) == (DEFAULT, "undecided")
    assert decision.why == "none of the 4 others could be measured"


def test_what_fails_in_the_confirmation_is_not_handed_over() -> None:
    decision = Bench({"huge pages": 2.0}, failing={"confirm": frozenset({"huge pages"})}).decide(HEAP)
    assert (decision.launch, decision.verdict, decision.speedup) == (DEFAULT, "undecided", None)
    assert decision.why == "'huge pages' looked best, but failed when it was measured again"


def test_where_some_fail_the_others_decide() -> None:
    bench = Bench({"threads=2": 2.0, "threads=4": 1.5}, failing={"screen": frozenset({"threads=2"})})
    assert bench.decide(THREADS).launch.name == "threads=4"
    assert bench.seen.count(("screen", "threads=2")) == 1


def test_without_candidates_there_is_nothing_to_choose() -> None:
    decision = Bench({}).decide(Question("heap", ()))
    assert (decision.launch, decision.verdict, decision.why) == (
        DEFAULT,
        "same",
        "there is nothing else to choose here",
    )


def test_noise_decides_how_many_pairs_confirm() -> None:
    assert pairs_to_confirm(0.001, 0.03, 16) == MIN_PAIRS
    assert pairs_to_confirm(0.5, 0.03, 16) == 16
    assert MIN_PAIRS < pairs_to_confirm(0.02, 0.03, 16) < 16
