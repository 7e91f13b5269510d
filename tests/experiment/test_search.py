"""The search by itself: what it decides where the answer is known, and what it says where nothing can be decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from pydantic import ValidationError

from hwdiag.core.interval import Interval
from hwdiag.experiment.confirmation import SPARE_PAIRS, least_pairs, wanted_pairs
from hwdiag.experiment.effects import Trial, estimate
from hwdiag.experiment.judge import Claim, describe, judge, judge_claims, judge_in_order
from hwdiag.experiment.laboratory import Block, Scope, scopes_of, speedups
from hwdiag.experiment.lever import BASELINE, DEFAULT, Factor, Lever, Plan, plan_by_id
from hwdiag.experiment.model import OVERALL, Phase
from hwdiag.experiment.search import Decision, SearchResult, search
from hwdiag.experiment.space import SearchSpace
from hwdiag.experiment.statistics import MIN_PAIRS
from hwdiag.experiment.timetable import Effort
from hwdiag.process.launch import Launch

NET = Scope("net", ("net",))


def lever(name: str, factor: str, **more: object) -> Lever:
    return Lever.model_validate({"id": name, "factor": factor, "title": name, **more})


THREADS = Factor("threads", tuple(lever(f"threads={n}", "threads") for n in (1, 2, 4)), effect=1.0)
HEAP = Factor("heap", (lever("huge", "heap"),))


@dataclass
class Bench:
    """A laboratory in which levers multiply, with a little noise; each process takes a second."""

    speed: Mapping[str, float]
    noise: float = 0.01
    failing: Mapping[Phase, frozenset[str]] = field(default_factory=dict)
    seed: int = 0
    workloads: tuple[str, ...] = ("net",)
    only: Mapping[str, str] = field(default_factory=dict)
    """Levers that help on one workload alone."""
    now: float = 0.0
    seen: list[tuple[Phase, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def clock(self) -> float:
        return self.now

    def measure(self, plans: Sequence[Plan], phase: Phase) -> list[Block]:
        self.now += 1 + len(plans)
        self.seen += [(phase, plan.id) for plan in plans]
        level = float(self.random.lognormal(0, 0.3))  # blocks differ far more than the plans in them
        alive = [p for p in (DEFAULT, *plans) if p.id not in self.failing.get(phase, ())]
        times = {
            plan.id: {
                w: level * self.time(plan, w) * float(self.random.lognormal(0, self.noise)) for w in self.workloads
            }
            for plan in alive
        }
        return [Block(len(self.seen), times)]

    def time(self, plan: Plan, workload: str) -> float:
        helps = [x for x in plan.lever_ids if self.only.get(x, workload) == workload]
        return 1 / float(np.prod([self.speed.get(x, 1.0) for x in helps]))

    def search(self, first: Factor | None, *together: Factor, total_s: float = 250, **more: object) -> SearchResult:
        effort = Effort(total_s, rounds=4, most_pairs=16, finalists=3)
        return search(self, SearchSpace(first, together, **more), scopes_of(self.workloads), effort, 0.03)  # type: ignore[arg-type]

    def decide(self, first: Factor | None, *together: Factor, total_s: float = 250) -> Decision:
        return self.search(first, *together, total_s=total_s).decision()


# --- levers and plans -------------------------------------------------------------------------------------------------


def test_a_plan_is_known_by_its_levers_whatever_their_order() -> None:
    two, huge = THREADS.levers[1], HEAP.levers[0]
    assert Plan.of(two, huge).id == Plan.of(huge, two).id == "huge+threads=2"
    assert Plan.of(two, huge).title == "threads=2 + huge"
    assert DEFAULT.id == BASELINE
    assert Plan.of(two).plus(THREADS.levers[2]).lever_ids == ("threads=4",)  # of one factor one lever
    with pytest.raises(ValidationError, match="the id of a plan with these levers is 'huge'"):
        Plan.model_validate({"id": "other", "levers": [huge]})
    assert Plan.model_validate_json(Plan.of(two, huge).model_dump_json()) == Plan.of(two, huge)


def test_what_plans_set_adds_up_and_an_unknown_one_is_an_error() -> None:
    plan = Plan.of(
        lever("a", "threads", launch=Launch(threads=2, env={"A": "1"})),
        lever("b", "heap", launch=Launch(env={"B": "2"}), risk="Nobody supports it.", loader={"workers": 2}),
    )
    assert (plan.launch, plan.risk, plan.loader) == (
        Launch(threads=2, env={"A": "1", "B": "2"}), "Nobody supports it.", {"workers": 2},
    )  # fmt: skip
    assert plan_by_id([DEFAULT, plan], "a+b") is plan
    with pytest.raises(KeyError, match="no plan has the id 'a \\+ b'"):
        plan_by_id([DEFAULT, plan], "a + b")


# --- the search -------------------------------------------------------------------------------------------------------


def test_levers_add_up_and_the_whole_is_confirmed_afresh() -> None:
    bench = Bench({"threads=2": 1.2, "threads=1": 0.6, "huge": 1.1})
    found = bench.search(THREADS, HEAP)
    decision = found.decision()
    assert (decision.plan.id, decision.verdict) == ("huge+threads=2", "better")
    assert decision.speedup is not None
    assert decision.speedup.median == pytest.approx(1.32, rel=0.02)
    assert decision.p_value is not None
    assert decision.p_value < 0.01
    fresh = [plan for phase, plan in bench.seen if phase == "confirm"]
    assert fresh == ["huge+threads=2"] * decision.speedup.processes
    assert {s.factor: s.adopted for s in found.screening.steps}["heap"] == "huge+threads=2"


def test_what_is_far_behind_is_not_measured_again_and_a_single_accident_drops_nothing() -> None:
    bench = Bench({"threads=2": 1.2, "threads=1": 0.5})
    bench.search(THREADS)
    assert bench.seen.count(("screen", "threads=1")) == 1
    assert bench.seen.count(("screen", "threads=4")) >= 2  # a fifth behind: one trial may be an accident


def test_levers_around_the_best_are_asked_for() -> None:
    near = Factor("threads", THREADS.levers, lambda best: [lever("threads=3", "threads")], 1.0)
    bench = Bench({"threads=2": 1.2, "threads=3": 1.3})
    assert bench.decide(near).plan.id == "threads=3"


@dataclass
class Moving(Bench):
    """With huge pages fewer threads are best."""

    def time(self, plan: Plan, workload: str) -> float:  # noqa: ARG002
        huge = "huge" in plan.lever_ids
        threads = {"threads=4": 1.2 if huge else 1.3, "threads=2": 1.4 if huge else 1.0}
        return 1 / (float(np.prod([threads.get(x, 1.0) for x in plan.lever_ids])) * (1.2 if huge else 1.0))


def test_the_first_factor_is_asked_again_with_the_others_set() -> None:
    near = Factor("threads", THREADS.levers, lambda best: [THREADS.levers[1]], 1.0)
    decision = Moving({}).decide(near, HEAP)
    assert (decision.plan.id, decision.verdict) == ("huge+threads=2", "better")


def test_one_factor_with_many_levers_does_not_starve_the_others() -> None:
    many = Factor("many", tuple(lever(f"x={i}", "many") for i in range(20)), effect=1.0)
    bench = Bench({"huge": 1.2}, noise=0.02)
    assert "huge" in bench.decide(many, HEAP, total_s=120).plan.lever_ids
    assert bench.now <= 1.25 * 120 + 3


def test_a_default_that_is_best_stays() -> None:
    decision = Bench(dict.fromkeys(("threads=1", "threads=2", "threads=4", "huge"), 0.8)).decide(THREADS, HEAP)
    assert (decision.plan, decision.verdict, decision.speedup) == (DEFAULT, "same", None)
    assert decision.why.startswith("of ")
    assert decision.why.endswith("x in the screening")


def test_noise_that_hides_a_gain_is_no_proof_that_there_is_none() -> None:
    decisions = [Bench({}, noise=0.2, seed=seed).decide(HEAP, total_s=20) for seed in range(30)]
    kept = [d.verdict for d in decisions if d.plan == DEFAULT]
    assert kept.count("undecided") >= 0.8 * len(kept) > 5


@pytest.mark.parametrize("total_s", [0, -1])
def test_without_time_nothing_is_measured_or_decided(total_s: float) -> None:
    bench = Bench({"huge": 2.0})
    decision = bench.decide(THREADS, HEAP, total_s=total_s)
    assert (decision.plan, decision.verdict) == (DEFAULT, "undecided")
    assert decision.why == "there was no time to measure another way"
    assert not bench.seen


def test_without_levers_nothing_is_measured() -> None:
    bench = Bench({})
    assert bench.decide(None).plan == DEFAULT
    assert not bench.seen


def test_where_all_fail_the_default_stays_undecided() -> None:
    names = frozenset({"threads=1", "threads=2", "threads=4", "huge"})
    decision = Bench({}, failing={"screen": names}).decide(THREADS, HEAP)
    assert (decision.plan, decision.verdict) == (DEFAULT, "undecided")
    assert decision.why == "none of the 4 others could be measured"


def test_what_fails_in_the_confirmation_is_not_handed_over() -> None:
    decision = Bench({"huge": 2.0}, failing={"confirm": frozenset({"huge"})}).decide(HEAP)
    assert (decision.plan, decision.verdict, decision.speedup) == (DEFAULT, "undecided", None)
    assert decision.why == "'huge' looked best, but failed when it was measured again"


def test_where_some_fail_the_others_decide() -> None:
    bench = Bench({"threads=2": 2.0, "threads=4": 1.5}, failing={"screen": frozenset({"threads=2"})})
    assert bench.decide(THREADS).plan.id == "threads=4"
    assert bench.seen.count(("screen", "threads=2")) == 1


def test_a_search_whose_combinations_are_all_refused_ends() -> None:
    """The clock of this laboratory stands still where nothing is measured."""
    bench = Bench({"huge": 2.0})
    effort = Effort(250, rounds=4, most_pairs=16, finalists=3)
    refused: Callable[[Plan], str] = lambda plan: "not here" if "huge" in plan.lever_ids else ""  # noqa: E731
    only = Factor("heap", HEAP.levers), Factor("other", HEAP.levers)
    found = search(bench, SearchSpace(None, only), scopes_of(["net"]), effort, 0.03, refused=refused)
    assert found.decision().plan == DEFAULT
    assert not [plan for _, plan in bench.seen if "huge" in plan]


def test_offers_are_confirmed_whatever_the_screening_says() -> None:
    daring = Plan.of(lever("daring", "dispatch", risk="Nobody supports it."))
    found = Bench({"daring": 1.4}).search(THREADS, HEAP, offers=[daring])
    assert not found.decision().plan.lever_ids
    (offer,) = found.comparisons
    assert (offer.candidate, offer.workload, offer.verdict) == ("daring", OVERALL, "better")


def test_what_is_better_on_one_workload_alone_is_claimed_for_that_one() -> None:
    bench = Bench({"huge": 1.3, "threads=2": 1.1}, workloads=("a", "b"), only={"huge": "a", "threads=2": "b"})
    found = bench.search(THREADS, HEAP)
    better = {(c.candidate, c.workload) for c in found.comparisons if c.verdict == "better"}
    assert ("huge+threads=2", OVERALL) in better
    assert ("huge+threads=2", "a") in better


# --- effects ----------------------------------------------------------------------------------------------------------


def test_every_trial_counts_for_each_lever_in_it() -> None:
    """Eight processes of four levers each tell the effect of every one to a third of what two of its own would."""
    random = np.random.default_rng(1)
    gains = {"a": 0.05, "b": 0.0, "c": -0.03, "d": 0.1}
    trials = []
    for block in range(10):
        level = random.normal(0, 0.5)
        for _ in range(5):
            plan = [name for name in gains if random.random() < 0.5]
            seconds = float(np.exp(level - sum(gains[x] for x in plan) + random.normal(0, 0.02)))
            trials.append(Trial(block, "+".join(plan), seconds))
    effects = estimate(trials, lambda plan: plan.split("+") if plan else (), lambda name: 0.1)
    for name, gain in gains.items():
        seen, error = effects.gain([name])
        assert error < 0.01
        assert abs(seen - gain) < 3 * error
    assert effects.noise == pytest.approx(0.02, rel=0.4)


def test_an_accident_of_one_process_moves_the_others_little() -> None:
    trials = [Trial(block, plan, 1.0) for block in range(6) for plan in ("", "a", "b")]
    hit = [*trials[:1], Trial(0, "a", 2.0), *trials[2:]]
    effects = estimate(hit, lambda plan: [plan] if plan else (), lambda name: 0.1)
    assert abs(effects.gain(["b"])[0]) < 0.01
    assert abs(effects.gain(["a"])[0]) < 0.03


def test_levels_of_blocks_that_hardly_differ_lend_each_other_strength() -> None:
    trials = [Trial(0, "", 1.0), *(Trial(block, plan, 0.5) for block in (1, 2) for plan in ("a", "b"))]
    columns: Callable[[str], Sequence[str]] = lambda plan: [plan] if plan else ()  # noqa: E731
    alone, together = (
        estimate(trials, columns, lambda name: 10.0, is_paired=paired).gain(["a"]) for paired in (True, False)
    )
    assert together[0] == pytest.approx(np.log(2), abs=0.02)
    assert together[1] < alone[1] / 5


# --- the judge --------------------------------------------------------------------------------------------------------


def blocks(count: int, **ratios: float) -> list[Block]:
    """So many blocks in which plans are by so much faster than the default, each pair a little differently."""
    return [
        Block(n, {BASELINE: {"net": 1.0}, **{plan: {"net": 1 / r * (1 + 0.001 * n)} for plan, r in ratios.items()}})
        for n in range(count)
    ]


def test_all_claims_of_a_run_share_one_error_budget() -> None:
    fresh = blocks(8, a=1.5, b=1.2)
    (alone,) = judge_claims([Claim("a", NET)], fresh, 0.03)
    both = judge_claims([Claim("a", NET), Claim("b", NET), Claim("gone", NET)], fresh, 0.03)
    assert (alone.verdict, alone.p_value) == ("better", pytest.approx(2**-8))
    assert [c.p_value for c in both] == [pytest.approx(3 * 2**-8)] * 2  # the one that could not be tested counts too
    assert {c.verdict for c in both} == {"undecided"}


def test_the_claim_that_matters_most_leaves_its_share_to_the_others_only_where_it_holds() -> None:
    claims = [Claim("a", NET), Claim("b", NET)]
    held = judge_in_order(claims, blocks(9, a=1.5, b=1.2), 0.03, 1.0)
    assert [c.verdict for c in held] == ["better", "better"]
    failed = judge_in_order(claims, blocks(7, a=1.0, b=1.2) + blocks(1, a=1.0, b=1.2), 0.03, 1.0)
    assert failed[1].p_value == pytest.approx(2**-8 / 0.4)


def test_the_screening_proves_nothing() -> None:
    (seen,) = describe([Claim("a", NET)], blocks(20, a=1.5), 0.03)
    assert (seen.phase, seen.verdict, seen.p_value) == ("screen", "undecided", None)
    assert seen.why == "the screening gave no hope for it, so it was not tested"


def test_devices_are_not_mixed() -> None:
    other = [Block(b.number + 100, b.seconds, {}, "cuda:0") for b in blocks(9, a=3.0)]
    (found,) = judge_claims([Claim("a", NET, device="cuda:0")], [*blocks(9, a=1.0), *other], 0.03)
    assert found.speedup.median == pytest.approx(3.0, rel=0.02)
    assert found.device == "cuda:0"


@pytest.mark.parametrize(
    ("speedup", "p_value", "verdict"),
    [
        ((1.05, 1.02, 1.08), 0.009, "better"),
        ((1.05, 1.02, 1.08), 0.011, "undecided"),
        ((1.02, 1.01, 1.03), 0.001, "same"),
        ((1.02, 0.99, 1.05), 0.2, "undecided"),
        ((0.9, 0.85, 0.95), 1.0, "worse"),
        ((1.0, 0.98, 1.02), 0.5, "same"),
        ((6.53, 6.42, 6.63), 0.03, "undecided"),
    ],
)
def test_better_needs_the_interval_the_effect_and_the_test(
    speedup: tuple[float, float, float], p_value: float, verdict: str
) -> None:
    median, low, high = speedup
    said, why = judge(Interval(median=median, low=low, high=high, processes=10), p_value, 0.03)
    assert said == verdict
    assert why


def test_too_few_pairs_decide_nothing() -> None:
    few = Interval(median=2.0, low=1.9, high=2.1, processes=MIN_PAIRS - 1)
    assert judge(few, 0.001, 0.03) == ("undecided", f"at least {MIN_PAIRS} pairs are needed to decide")


def test_a_block_counts_only_where_both_did_all() -> None:
    half = Block(1, {BASELINE: {"a": 1.0, "b": 1.0}, "x": {"a": 0.5}})
    assert speedups([half], "x", Scope(OVERALL, ("a", "b"))) == ()
    assert speedups([half], "x", Scope("a", ("a",))) == (2.0,)


def test_noise_decides_how_many_pairs_confirm() -> None:
    least = least_pairs(1)
    assert least == MIN_PAIRS
    assert wanted_pairs(0.001, 0.015, least, 16) == MIN_PAIRS + SPARE_PAIRS
    assert wanted_pairs(0.5, 0.015, least, 16) == 16
    assert [least_pairs(n) for n in (1, 2, 5, 10)] == [8, 8, 9, 10]
    assert least_pairs(1, 0.1) == 10
