"""Speeds beside a record: what is an alarm, and what is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.verify import LEAST, WORKLOADS, Level, noise_named, speed, verdict
from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.interleaved import Candidate
from hwdiag.experiment.model import Measurement
from hwdiag.experiment.statistics import MIN_PAIRS
from hwdiag.process.model import Disturbance, Outcome
from hwdiag.record.model import Record
from hwdiag.verify.look import judged
from hwdiag.verify.speeds import (
    PROCESSES,
    Recorded,
    Repeated,
    SpeedAnswers,
    affordable,
    comparable,
    each_family_first,
    judge_speeds,
    repeated,
)
from tests.simulation.virtual_machine import VirtualRunner, block_s, virtual_campaign

QUIET = noise_named("quiet machine")
RECORDED = [Recorded(WORKLOADS[0], speed(WORKLOADS[0], 1.0, QUIET, 1))]


def measured(loss: float = 0.0, **changes: Any) -> list[Measurement]:
    """Return what a verification measures on a quiet machine that has become slower by this."""
    runner = VirtualRunner(Level(1 / (1 - loss)), QUIET, 2, 8)
    found = repeated(virtual_campaign(runner, BUDGETS["standard"]), WORKLOADS[:1]).measurements
    return [m.model_copy(update=changes) for m in found]


def said(measurements: list[Measurement]) -> SpeedAnswers:
    return judge_speeds(RECORDED, measurements, LEAST, 8)


def test_a_verification_measures_enough_processes_and_no_more() -> None:
    assert MIN_PAIRS <= len(measured()) == PROCESSES


def test_no_alarm_without_a_loss_and_one_with_it() -> None:
    assert [verdict("quiet machine", 0.01, 0.0, seed) for seed in range(15)] == ["PASS"] * 15
    assert "PASS" not in [verdict("processes spread by 3 %", 0.01, 0.2, seed) for seed in range(15)]


@pytest.mark.parametrize(("loss", "status"), [(0.16, "WARNING"), (0.35, "CRITICAL")])
def test_a_loss_is_told_with_its_size_and_a_remedy(loss: float, status: str) -> None:
    answers = said(measured(loss))
    (cause,) = answers.causes
    assert (cause.id, cause.status) == ("slower.resnet18", status)
    assert f"{loss:.0%}"[0] in cause.title
    assert "hwdiag" in cause.remedy
    assert answers.speeds[0].verdict == "slower"


def test_a_gain_is_no_cause() -> None:
    answers = said(measured(-0.3))
    assert answers.causes == ()
    assert answers.speeds[0].verdict == "faster"


@pytest.mark.parametrize(
    "meanwhile",
    [Disturbance(other_cpu=3.0), Disturbance(steal=0.2), Disturbance(other_run=True), Disturbance(throttled_s=1)],
)
def test_a_loss_while_others_used_the_machine_is_not_known(meanwhile: Disturbance) -> None:
    (cause,) = said(measured(0.3, disturbance=meanwhile)).causes
    assert cause.status == "UNKNOWN"
    assert "meanwhile" in cause.title
    assert said(measured(0.0, disturbance=meanwhile)).causes == ()


def test_too_few_processes_decide_nothing() -> None:
    answers = said(measured(0.5)[: MIN_PAIRS - 1])
    assert [c.status for c in answers.causes] == ["UNKNOWN"]
    assert answers.speeds[0].verdict == "undecided"


def test_what_dies_now_is_critical() -> None:
    died = Outcome(kind="signal", detail="killed by SIGILL")
    (cause,) = said(measured(outcome=died)).causes
    assert (cause.id, cause.status) == ("fails.resnet18", "CRITICAL")
    assert "SIGILL" in cause.title


def recorded(name: str, family: str, seconds: float, size: float = 0.0) -> Recorded:
    workload = WORKLOADS[0].model_copy(update={"name": name, "family": family, "bytes": size})
    return Recorded(workload, replace(RECORDED[0].speed, workload=name, seconds=seconds))


def test_fewer_workloads_are_measured_where_imports_take_the_time() -> None:
    several = [
        recorded("net", "model", 0.03),
        recorded("triad", "memory", 0.02, 0.4e9),
        recorded("mm", "compute", 0.01),
    ]
    assert [len(affordable(several, cpus, 11.5)) for cpus in (1, 2, 3, 64)] == [1, 1, 2, 3]


def test_arrays_that_take_the_time_to_fill_are_not_measured() -> None:
    """They were, as if they took as long as a small net, and too few processes fitted into the time."""
    several = [recorded("net", "model", 0.03), recorded("triad", "memory", 0.07, 3.8e9)]
    assert [r.workload.name for r in affordable(several, 4, 11.5)] == ["net"]


def test_memory_comes_before_a_second_net() -> None:
    several = [recorded("net", "model", 0.03), recorded("net2", "model", 0.04), recorded("triad", "memory", 0.05)]
    assert [r.workload.name for r in each_family_first(several)] == ["net", "triad", "net2"]


class SlowRunner(VirtualRunner):
    """A machine on which each workload of a process takes a second beside its start."""

    def run(self, candidates: Sequence[Candidate], *, device: str, seed: int) -> Disturbance:
        found = super().run(candidates, device=device, seed=seed)
        self.now += sum(len(c.todo) for c in candidates) - block_s(len(candidates), self.cpus) + 1
        return found


def slowly(seconds: float) -> Repeated:
    runner = SlowRunner(Level(1.0), QUIET, 2, 8)
    budget = BUDGETS["quick"].model_copy(update={"total_s": seconds})
    campaign = virtual_campaign(runner, budget)
    campaign.most = lambda todo: 2
    return repeated(campaign, WORKLOADS[:3])


def test_a_workload_is_given_up_before_too_few_processes_fit_for_all() -> None:
    """Blocks of two processes: 7 s with all three workloads, 3 s with one."""
    assert [w.name for w in slowly(30.0).kept] == [w.name for w in WORKLOADS]
    found = slowly(18.0)
    counts = Counter(m.workload for m in found.measurements)
    assert (len(found.kept), counts["resnet18"], counts["resnet18-3"]) == (1, MIN_PAIRS, 2)


def test_what_was_given_up_is_said() -> None:
    several = [Recorded(w, RECORDED[0].speed) for w in WORKLOADS]
    answers = judged(several, slowly(18.0), LEAST, 8)
    assert [(c.id, c.state) for c in answers.checks] == [("speed.resnet18", "fine"), ("speeds-given-up", "unchecked")]
    assert "resnet18-2 and resnet18-3: too little time for 8 processes" in answers.checks[-1].title


def test_a_record_offers_short_workloads_of_enough_processes(example: Record) -> None:
    assert [r.workload.name for r in comparable(example)] == ["resnet18"]
    assert comparable(example.model_copy(update={"studies": {}})) == ()
