"""A program that nobody changes: torch is switched when it is imported, and nothing else is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hwdiag.experiment.commands import Commands
from hwdiag.experiment.interleaved import Candidate
from hwdiag.experiment.lever import Lever
from hwdiag.process.launch import Launch
from hwdiag.process.model import Command
from hwdiag.tune.user_workloads import command_workload
from hwdiag.tune.within import at_start, lever, switching_folder

pytest.importorskip("torch")
ASK = (
    "import torch; x = torch.ones(2, 2); print((x @ x).dtype, torch.get_float32_matmul_precision(), "
    "torch.tensor([1e-40]).mul(1.0).item() == 0)"
)


def said(folder: Path, code: str, *levers: Lever, **env: str) -> tuple[str, str]:
    launch = Launch()
    for one in levers:
        launch = launch.plus(at_start(one, switching_folder(folder)).launch)
    path = ":".join(filter(None, (*launch.python_path, env.pop("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **env, **launch.env, "PYTHONPATH": path},
        check=True,
    )
    return done.stdout.strip(), done.stderr


def test_torch_is_switched_as_soon_as_it_is_imported(tmp_path: Path) -> None:
    assert said(tmp_path, ASK)[0] == "torch.float32 highest False"
    assert said(tmp_path, ASK, lever("autocast-bf16", "precision"))[0] == "torch.bfloat16 highest False"
    both = (lever("matmul-bf16", "precision"), lever("flush-denormals", "denormals"))
    assert said(tmp_path, ASK, *both)[0] == "torch.float32 medium True"


def test_a_sitecustomize_of_the_persons_own_is_run_all_the_same(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import builtins; builtins.mine = 42\n")
    out, _ = said(tmp_path, f"print(mine); {ASK}", lever("matmul-bf16", "precision"), PYTHONPATH=str(own))
    assert out.splitlines() == ["42", "torch.float32 medium False"]


def test_a_program_without_torch_runs_as_ever(tmp_path: Path) -> None:
    code = "import sys; print('torch' in sys.modules)"
    assert said(tmp_path, code, lever("matmul-bf16", "precision")) == ("False", "")


def test_what_this_torch_lacks_is_said_and_the_program_goes_on(tmp_path: Path) -> None:
    fake = tmp_path / "fake" / "torch"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("__version__ = '2.1'\n")
    path = str(fake.parent)
    out, err = said(tmp_path, "import torch; print('on')", lever("matmul-bf16", "precision"), PYTHONPATH=path)
    assert out == "on"
    assert "matmul-bf16 is not in this torch (2.1)" in err


def test_a_command_is_measured_with_its_switches(tmp_path: Path) -> None:
    """Through the very path that ``hwdiag tune -- command`` takes."""
    code = "import torch; print('metric', {'highest': 1, 'medium': 3}[torch.get_float32_matmul_precision()])"
    workload = command_workload(Command(argv=(sys.executable, "-c", code), metric="metric (.+)"))
    switched = at_start(lever("matmul-bf16", "precision"), switching_folder(tmp_path))
    candidates = [Candidate(launch, [workload], check=False) for launch in (Launch(), switched.launch)]
    Commands().run(candidates, device="cpu", seed=1)
    assert [c.results["command"].seconds for c in candidates] == [[1.0], [3.0]]
