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
from hwdiag.host.model import Host, Limits
from hwdiag.parameters.verify import VerifyParams
from hwdiag.process.model import Outcome
from hwdiag.record.store import load, save
from hwdiag.verify import learn as learning
from hwdiag.verify.learn import PROCESSES, learn, micro_workloads
from hwdiag.verify.speeds import Repeated, comparable, judge_speeds, repeated
from tests.conftest import make_host, make_software
from tests.simulation.virtual_machine import VirtualRunner, virtual_campaign


def measured(workloads: Sequence[Workload], each_s: float, seed: int, processes: int = 10) -> list[Measurement]:
    runner = VirtualRunner(Level(each_s), noise_named("quiet machine"), seed, 8)
    return list(repeated(virtual_campaign(runner, BUDGETS["standard"]), workloads, processes).measurements)


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started: times are those of a quiet machine that is not there."""

    def stand_in(_: str, __: Host, workloads: Sequence[Workload], ___: float, processes: int) -> Repeated:
        return Repeated(tuple(measured(workloads, 0.01, 1, processes)), tuple(workloads))

    monkeypatch.setattr(learning, "measure", stand_in)
    monkeypatch.setattr(
        learning, "probe_software", lambda python: make_software().model_copy(update={"python": python})
    )


def test_compute_memory_and_a_net_are_learnt() -> None:
    assert [w.name for w in micro_workloads(make_host())] == ["triad-short", "matmul-1024", "resnet18"]
    huge = make_host(llc_bytes=4 << 30)  # arrays of 8 GiB together
    assert [w.name for w in micro_workloads(huge)] == ["matmul-1024", "resnet18"]


def test_the_triad_is_larger_than_the_caches_and_takes_no_seconds_to_fill() -> None:
    """A virtual machine that reports 300 MiB of cache had arrays of 3.6 GB, which took most of a verification."""
    triad = micro_workloads(make_host(llc_bytes=300 << 20))[0]
    assert 2 * (300 << 20) <= triad.bytes + 24 < 700 << 20
    narrow = make_host(llc_bytes=300 << 20, limits=Limits(allowed=(0, 1), memory_limit_bytes=1 << 30))
    assert micro_workloads(narrow)[0].bytes <= (1 << 30) / 4


@pytest.mark.usefixtures("virtual")
def test_a_verification_is_held_against_what_was_learnt(tmp_path: Path) -> None:
    save(learn(VerifyParams(python="/p"), print), tmp_path)
    record = load(tmp_path)
    assert record.software.python == "/p"
    recorded = comparable(record)
    assert {r.workload.name for r in recorded} == {"triad-short", "matmul-1024", "resnet18"}
    assert {r.speed.processes for r in recorded} == {PROCESSES}
    workloads = [r.workload for r in recorded]
    same = judge_speeds(recorded, measured(workloads, 0.01, 2), LEAST, 8)
    assert (same.causes, len(same.checks)) == ((), 3)
    slower = judge_speeds(recorded, measured(workloads, 0.0125, 2), LEAST, 8)
    assert {c.id for c in slower.causes} == {"slower.triad-short", "slower.matmul-1024", "slower.resnet18"}


@pytest.mark.usefixtures("virtual")
def test_what_fails_is_not_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: str, __: Host, workloads: Sequence[Workload], ___: float, processes: int) -> Repeated:
        died = Outcome(kind="signal", detail="killed by SIGILL")
        every = measured(workloads, 0.01, 1, processes)
        dead = [m.model_copy(update={"outcome": died}) if m.workload == "triad-short" else m for m in every]
        return Repeated(tuple(dead), tuple(workloads))

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
