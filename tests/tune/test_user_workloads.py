"""A Python file of the user's own, measured by real workers: what works, and what each mistake says."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.lever import DEFAULT, Lever, Plan
from hwdiag.experiment.model import Measurement
from hwdiag.process.launch import Launch
from hwdiag.tune.user_workloads import file_workload

pytest.importorskip("torch")
ONE = Plan.of(Lever(id="one", factor="placement", title="one", launch=Launch(threads=1)))
THREE = Plan.of(Lever(id="three", factor="interop", title="three", launch=Launch(interop_threads=3)))


def measure(path: Path, code: str, *plans: Plan, timeout_s: float = 30) -> list[Measurement]:
    path.write_text(code)
    campaign = Campaign(sys.executable, BUDGETS["quick"], seed=1, child_timeout_s=timeout_s)
    return campaign.run(plans or [DEFAULT], [file_workload(path)], "confirm")


def failure(path: Path, code: str, timeout_s: float = 30) -> tuple[str, str]:
    (m,) = measure(path, code, timeout_s=timeout_s)
    assert "\n" not in m.outcome.detail
    return m.outcome.kind, m.outcome.detail.replace(str(path), "FILE")


def test_its_callable_is_timed_under_each_launch(tmp_path: Path) -> None:
    """It finds what lies beside it, prints what it likes, and takes part in turns."""
    (tmp_path / "beside.py").write_text("import torch\nx = torch.ones(64, 64)\n")
    code = "print('hello')\ndef build():\n  from beside import x\n  return lambda: x @ x"
    two = measure(tmp_path / "mine.py", code, DEFAULT, ONE)
    assert [(m.outcome.kind, m.workload, m.outcome.detail) for m in two] == [("ok", "file", "")] * 2
    assert {m.block for m in two} == {1}
    assert all(0 < m.median_s < 0.1 and len(m.seconds) >= 3 for m in two)


def test_inter_op_threads_are_set_before_its_code_runs(tmp_path: Path) -> None:
    code = "import torch\nn = torch.get_num_interop_threads()\ndef build():\n  return (lambda: n), (lambda: n == 3)"
    (one,) = measure(tmp_path / "mine.py", code, THREE)
    assert (one.outcome.kind, one.applied and one.applied.interop_threads) == ("ok", 3)


def test_its_check_is_called_after_the_first_call(tmp_path: Path) -> None:
    code = "calls = []\ndef build():\n  return (lambda: calls.append(1)), (lambda: {})"
    (m,) = measure(tmp_path / "mine.py", code.format("len(calls) == 1"))
    assert m.outcome.ok, m.outcome.detail
    assert failure(tmp_path / "mine.py", code.format("False")) == ("wrong-result", "check() of FILE gives False")
    asserting = "def check():\n  assert 1 + 1 == 3, 'off by one'\ndef build(): return (lambda: None), check"
    assert failure(tmp_path / "mine.py", asserting) == ("wrong-result", "check() of FILE: AssertionError: off by one")


WRONG = [
    ("x = 1", "error", "ValueError: FILE has no function build()"),
    (
        "def build(): return 7",
        "error",
        "ValueError: build() of FILE gives int, not a callable, a pair of them, or a net and its inputs",
    ),
    ("def build(): 1 / 0", "error", "ZeroDivisionError: division by zero"),
    ("import nothing_like_it", "error", "ModuleNotFoundError: No module named 'nothing_like_it'"),
    ("def build(", "error", "SyntaxError: '(' was never closed"),
    ("raise SystemExit('bye')", "error", "SystemExit: bye"),
    ("def build():\n  def step(): raise RuntimeError('in the step')\n  return step", "error", "in the step"),
    ("name = input('name? ')", "error", "standard input is /dev/null, so there is no one to type"),
    ("import os\nos.abort()", "signal", "killed by SIGABRT (aborted) in file"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """The kind and the detail of each wrong file's outcome, as one run has them."""
    folder, files = tmp_path_factory.mktemp("wrong"), []
    for n, (code, _, _) in enumerate(WRONG):
        path = folder / f"mine{n}.py"
        path.write_text(code)
        files.append(file_workload(path).model_copy(update={"name": f"file{n}"}))
    done = Campaign(sys.executable, BUDGETS["quick"], seed=1, child_timeout_s=30).run([DEFAULT], files, "confirm")
    found = {m.workload: m.outcome for m in done}
    return [(o.kind, o.detail.replace(str(f.path), "FILE")) for f in files for o in [found[f.name]]]


@pytest.mark.parametrize("n", range(len(WRONG)), ids=[code for code, _, _ in WRONG])
def test_what_is_wrong_is_one_line(outcomes: list[tuple[str, str]], n: int) -> None:
    _, kind, words = WRONG[n]
    assert outcomes[n][0] == kind
    assert words in outcomes[n][1]
    assert "\n" not in outcomes[n][1]


def test_one_that_hangs_is_killed(tmp_path: Path) -> None:
    kind, detail = failure(tmp_path / "mine.py", "import time\ndef build(): time.sleep(600)", timeout_s=4)
    assert kind == "timeout"
    assert detail in ("no answer for 4 s in file: killed", "no answer for 4 s in import torch: killed")


def test_one_that_sets_its_own_threads_cannot_be_given_others(tmp_path: Path) -> None:
    code = "import torch\ndef build():\n  torch.set_num_threads(3)\n  return lambda: None"
    found = {m.plan: m for m in measure(tmp_path / "mine.py", code, DEFAULT, ONE)}
    assert found["default"].outcome.ok
    assert found["one"].outcome.kind == "not-applied"
    assert found["one"].outcome.detail == "asked for 1 threads, but the workload itself sets 3"


@pytest.mark.parametrize("hangs", [False, True], ids=["ends", "hangs"])
def test_what_it_starts_does_not_outlive_it(tmp_path: Path, hangs: bool) -> None:
    """In its group, in a session of their own, and as a daemon that forked twice."""
    seconds = f"{800 + time.time() % 60:.6f}"
    code = f"""
import subprocess, time
def build():
    for how in ("sleep {seconds}", "setsid sleep {seconds}", "(setsid sleep {seconds} &)"):
        subprocess.Popen(["sh", "-c", how])
    time.sleep(600 if {hangs} else 0.3)
    return lambda: None
"""
    (m,) = measure(tmp_path / "mine.py", code, timeout_s=5 if hangs else 30)
    assert m.outcome.kind == ("timeout" if hangs else "ok"), m.outcome.detail
    time.sleep(0.5)  # what was about to start has had its time
    left = [p for p in psutil.process_iter(["cmdline"]) if ["sleep", seconds] == p.info["cmdline"]]
    for process in left:
        process.kill()
    assert not left
