"""Reference speeds: what is learnt is what later verifications are held against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.verify import LEAST, Level, noise_named
from hwdiag.core.errors import HwdiagError
from hwdiag.diagnose.report_steps import of_record
from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.model import Measurement, Workload
from hwdiag.host.model import Host
from hwdiag.parameters.verify import VerifyParams
from hwdiag.process.model import Outcome
from hwdiag.record.store import load, save
from hwdiag.verify import learn as learning
from hwdiag.verify.learn import PROCESSES, learn, micro_workloads
from hwdiag.verify.speeds import comparable, judge_speeds, repeated
from tests.conftest import make_host, make_software
from tests.simulation.virtual_machine import VirtualRunner, virtual_campaign


def measured(workloads: Sequence[Workload], each_s: float, seed: int, processes: int = 10) -> list[Measurement]:
    runner = VirtualRunner(Level(each_s), noise_named("quiet machine"), seed, 8)
    return repeated(virtual_campaign(runner, BUDGETS["standard"]), workloads, processes)


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started: times are those of a quiet machine that is not there."""

    def stand_in(_: str, __: Host, workloads: Sequence[Workload], ___: float, processes: int) -> list[Measurement]:
        return measured(workloads, 0.01, 1, processes)

    monkeypatch.setattr(learning, "measure", stand_in)
    monkeypatch.setattr(
        learning, "probe_software", lambda python: make_software().model_copy(update={"python": python})
    )


def test_compute_memory_and_a_net_are_learnt() -> None:
    assert [w.name for w in micro_workloads(make_host())] == ["triad", "matmul-1024", "resnet18"]
    huge = make_host(llc_bytes=2 << 30)  # arrays of 8 GiB
    assert [w.name for w in micro_workloads(huge)] == ["matmul-1024", "resnet18"]


@pytest.mark.usefixtures("virtual")
def test_a_verification_is_held_against_what_was_learnt(tmp_path: Path) -> None:
    save(learn(VerifyParams(python="/p"), print), tmp_path)
    record = load(tmp_path)
    assert record.software.python == "/p"
    recorded = comparable(record)
    assert {r.workload.name for r in recorded} == {"triad", "matmul-1024", "resnet18"}
    assert {r.speed.processes for r in recorded} == {PROCESSES}
    workloads = [r.workload for r in recorded]
    same = judge_speeds(recorded, measured(workloads, 0.01, 2), LEAST, 8)
    assert (same.causes, len(same.checks)) == ((), 3)
    slower = judge_speeds(recorded, measured(workloads, 0.0125, 2), LEAST, 8)
    assert {c.id for c in slower.causes} == {"slower.triad", "slower.matmul-1024", "slower.resnet18"}


@pytest.mark.usefixtures("virtual")
def test_what_fails_is_not_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: str, __: Host, workloads: Sequence[Workload], ___: float, processes: int) -> list[Measurement]:
        died = Outcome(kind="signal", detail="killed by SIGILL")
        every = measured(workloads, 0.01, 1, processes)
        return [m.model_copy(update={"outcome": died}) if m.workload == "triad" else m for m in every]

    monkeypatch.setattr(learning, "measure", failing)
    with pytest.raises(HwdiagError, match="8 are needed"):
        learn(VerifyParams(), print)


@pytest.mark.usefixtures("virtual")
def test_a_report_of_what_was_learnt_has_the_speeds(tmp_path: Path) -> None:
    """Its topic was unknown to reports."""
    save(learn(VerifyParams(python="/p"), print), tmp_path)
    lines = "".join(of_record(tmp_path).lines())
    page = of_record(tmp_path).html()
    for text in (lines, page):
        assert "3 reference speeds for later verifications" in text
    assert "matmul-1024" in page
