"""Processes take turns: each measures all it should, nobody disturbs another, and the dead cost what killed them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import psutil
import pytest

from hwdiag.experiment import interleaved
from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, ProcessResult, Turn
from hwdiag.experiment.lever import Plan
from hwdiag.experiment.model import Workload
from hwdiag.experiment.workloads import matmul
from hwdiag.process.agent import Agent
from hwdiag.process.launch import Launch
from hwdiag.process.model import Outcome

TURN = Turn(warmup_s=0.0, window_s=0.01, windows=3, min_samples=2)
NAME = "PLAYER_OF_THIS_TEST"
DEFAULT, OTHER = Launch(), Launch(env={NAME: "other"})
SMALL, BAD = (
    matmul("float32", 4, n=64),
    matmul("float32", 4, n=64).model_copy(update={"name": "bad", "dtype": "float64"}),
)


def played(*candidates: Candidate, python: str = sys.executable, timeout_s: float = 60) -> dict[str, Candidate]:
    InterleavedBlock(python, TURN, timeout_s=timeout_s).run(candidates, device="cpu", seed=3)
    return {p.launch.env.get(NAME, "default"): p for p in candidates}


def test_each_measures_every_workload_in_one_process_of_its_own() -> None:
    second = SMALL.model_copy(update={"name": "second"})
    candidates = played(Candidate(DEFAULT, [SMALL, second], check=True), Candidate(OTHER, [SMALL, second], check=False))
    for candidate in candidates.values():
        assert candidate.results.keys() == {SMALL.name, "second"}
        assert all(r.outcome.ok and len(r.seconds) >= 6 for r in candidate.results.values()), candidate.results
        assert len({r.process for r in candidate.results.values()}) == 1
    assert candidates["default"].results["second"].max_error is not None
    assert candidates["other"].results["second"].max_error is None


def test_only_one_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is asked, all others that have begun to measure are stopped."""
    alive: list[Agent] = []
    seen: list[int] = []
    start, tell = Agent.__init__, Agent.tell

    def started(self: Agent, *args: Any) -> None:
        alive.append(self)
        start(self, *args)

    def told(self: Agent, command: Mapping[str, Any]) -> None:
        if command.get("do", "measure.start") != "measure.start":
            seen.append(sum(comes_to_rest(c) for c in alive if c is not self))
        tell(self, {**command})

    monkeypatch.setattr(interleaved.Agent, "__init__", started)
    monkeypatch.setattr(interleaved.Agent, "tell", told)
    third = Launch(env={NAME: "third"})
    played(*(Candidate(launch, [SMALL], check=False) for launch in (DEFAULT, OTHER, third)))
    assert len(seen) == 3 * (1 + TURN.windows)
    assert set(seen) == {2}
    assert not any(psutil.pid_exists(c.pid or 0) for c in alive)


def test_a_workload_that_fails_leaves_the_rest_to_the_same_process() -> None:
    wrong = SMALL.model_copy(update={"name": "impossible", "size": {"n": -1}})
    candidate = played(Candidate(DEFAULT, [SMALL, wrong], check=False))["default"]
    assert candidate.results["impossible"].outcome.kind == "error"
    assert candidate.results[SMALL.name].outcome.ok


@pytest.mark.parametrize(("stops", "kind"), [(2, "ok"), (9, "timeout")])
def test_a_window_in_which_somebody_stopped_the_process_does_not_count(
    monkeypatch: pytest.MonkeyPatch, stops: int, kind: str
) -> None:
    real, asked = Candidate._ask, []

    def ask(self: Candidate, name: str, command: dict[str, Any], timeout_s: float) -> list[dict[str, Any]]:
        windows = real(self, name, command, timeout_s)
        if command["do"] == "measure.sample":
            asked.append(windows)
            if len(asked) <= stops:
                return [{**window, "stopped": True, "seconds": [20.0]} for window in windows]
        return windows

    monkeypatch.setattr(Candidate, "_ask", ask)
    candidate = Candidate(DEFAULT, [SMALL], check=False)
    found = InterleavedBlock(sys.executable, TURN, timeout_s=60).run([candidate], device="cpu", seed=3)
    result = candidate.results[SMALL.name]
    assert result.outcome.kind == kind
    assert 20.0 not in result.seconds
    assert found.stopped_windows == min(stops, interleaved.STOPS + 1)


def comes_to_rest(child: Agent) -> bool:
    """Whether it is stopped, or is in a moment: a signal takes its time."""
    deadline = time.monotonic() + 1
    while (status := psutil.Process(child.pid).status()) != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.001)
    return bool(status == psutil.STATUS_STOPPED)


def dies_of(signal: str) -> str:
    """Code of a torch that can do nothing, and dies when it is asked for float64."""
    return f"""
import os, signal, sys
device, float32 = str, 'float32'
def manual_seed(_): pass
def get_num_threads(): return 1
get_num_interop_threads = get_num_threads
class backends:
    class cpu:
        get_cpu_capability = staticmethod(lambda: 'none')
def __getattr__(what):
    if what == 'float64': os.kill(os.getpid(), signal.{signal})
    raise AttributeError(what)
"""


@pytest.mark.parametrize(("signal", "word"), [("SIGSEGV", "SIGSEGV"), ("SIGKILL", "SIGKILL")])
def test_a_process_that_dies_costs_the_workload_that_killed_it(
    fake_python: Callable[[str], str], signal: str, word: str
) -> None:
    python = fake_python(dies_of(signal))
    candidates = played(
        Candidate(DEFAULT, [BAD, SMALL], check=False), Candidate(OTHER, [SMALL], check=False), python=python
    )
    results = candidates["default"].results
    assert (results["bad"].outcome.kind, word in results["bad"].outcome.detail) == ("signal", True)
    assert "in bad" in results["bad"].outcome.detail
    assert results[SMALL.name].outcome.kind == "error"  # this torch can do nothing, but it lived to say so
    assert candidates["other"].results[SMALL.name].outcome.kind == "error"


def test_a_kill_that_the_kernel_counted_is_out_of_memory(
    fake_python: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interleaved.Watch, "ooms", lambda self: 1)
    candidate = played(Candidate(DEFAULT, [BAD], check=False), python=fake_python(dies_of("SIGKILL")))["default"]
    assert candidate.results["bad"].outcome == Outcome(
        kind="out-of-memory", detail="killed by the kernel for lack of memory"
    )


def test_without_torch_everything_fails_once(python_without_torch: str) -> None:
    candidate = played(Candidate(DEFAULT, [SMALL, BAD], check=False), python=python_without_torch)["default"]
    assert {r.outcome.kind for r in candidate.results.values()} == {"import-error"}
    assert {r.process for r in candidate.results.values()} == {1}


def test_a_launch_that_did_not_take_effect_fails_in_all() -> None:
    ghost = Launch(preload=("/no/such.so",), env={NAME: "ghost"})
    candidates = played(Candidate(ghost, [SMALL], check=False), Candidate(DEFAULT, [SMALL], check=False))
    assert candidates["ghost"].results[SMALL.name].outcome == Outcome(
        kind="not-applied", detail="/no/such.so was not loaded"
    )
    assert candidates["default"].results[SMALL.name].outcome.ok


def test_one_that_hangs_is_killed_and_the_others_go_on(fake_python: Callable[[str], str]) -> None:
    python = fake_python("import os, time\nif 'HANG' in os.environ: time.sleep(600)\n" + dies_of("SIGSEGV"))
    hangs = Launch(env={"HANG": "1", NAME: "hangs"})
    candidates = played(
        Candidate(hangs, [SMALL], check=False), Candidate(DEFAULT, [SMALL], check=False), python=python, timeout_s=3
    )
    assert candidates["hangs"].results[SMALL.name].outcome.kind == "timeout"
    assert candidates["default"].results[SMALL.name].outcome.kind == "error"


def test_what_others_did_meanwhile_is_told_without_the_candidates_own_work() -> None:
    disturbance = InterleavedBlock(sys.executable, TURN, timeout_s=60).run(
        [Candidate(DEFAULT, [SMALL], check=False), Candidate(OTHER, [SMALL], check=False)], device="cpu", seed=1
    )
    assert disturbance.other_cpu is not None
    assert 0 <= disturbance.other_cpu <= (os.cpu_count() or 1)


def test_nothing_to_do_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("started a process")

    monkeypatch.setattr(interleaved, "Agent", refuse)
    nothing: list[Workload] = []
    assert played(Candidate(DEFAULT, nothing, check=False))["default"].results == {}


def test_what_the_end_of_the_time_leaves_unmeasured_is_no_failure() -> None:
    """A block that a busy machine made last for minutes held up a run of 90 s."""
    candidates = [Candidate(DEFAULT, [SMALL], check=False), Candidate(OTHER, [SMALL], check=False)]
    InterleavedBlock(sys.executable, TURN, timeout_s=60, left=lambda: 0.0).run(candidates, device="cpu", seed=1)
    assert [c.results for c in candidates] == [{}, {}]


def test_a_block_ends_when_its_time_does_with_what_it_has() -> None:
    calls = iter(range(10**6))
    long = replace(TURN, windows=10_000)  # of at most 200 samples each
    candidate = Candidate(DEFAULT, [SMALL, BAD], check=False)
    left = lambda: 60.0 if next(calls) < 40 else -1.0  # noqa: E731
    InterleavedBlock(sys.executable, long, timeout_s=60, left=left).run([candidate], device="cpu", seed=1)
    assert all(r.seconds or not r.outcome.ok for r in candidate.results.values())
    assert all(len(r.seconds) < long.windows for r in candidate.results.values())


@pytest.mark.parametrize(
    ("outcome", "seconds", "stays"),
    [
        (Outcome(kind="ok"), [0.1], True),
        (Outcome(kind="ok"), [], False),
        (Outcome(kind="timeout"), [], False),
        (Outcome(kind="signal"), [], True),
    ],
)
def test_only_what_was_cut_off_is_forgotten(outcome: Outcome, seconds: list[float], stays: bool) -> None:
    candidate = Candidate(DEFAULT, [SMALL], check=False)
    candidate.results[SMALL.name] = ProcessResult(1, outcome=outcome, seconds=seconds)
    candidate.drop_unfinished()
    assert (SMALL.name in candidate.results) == stays


@pytest.mark.parametrize(("ends", "found"), [(True, 0), (False, 1)])
def test_only_a_deadline_cuts_a_campaigns_blocks_off(ends: bool, found: int) -> None:
    budget = BUDGETS["quick"].model_copy(update={"total_s": -1.0, "turn": TURN})
    campaign = Campaign(sys.executable, budget, seed=1, child_timeout_s=60, ends=ends)
    assert len(campaign.run([Plan.of()], [SMALL], "screen")) == found
