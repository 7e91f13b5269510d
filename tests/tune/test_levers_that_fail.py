"""A lever that raises, hangs, or gives no numbers is one row, and the run goes on: with real processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.lever import DEFAULT, Lever, Plan
from hwdiag.tune.user_workloads import file_workload
from hwdiag.tune.within import lever

pytest.importorskip("torch")

CODE = """
import time, torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
    def forward(self, x):
        if x.dtype is torch.bfloat16: raise NotImplementedError('my own operator has no bf16')
        if torch.is_inference_mode_enabled(): time.sleep(600)
        if x.dtype is torch.float16: return x * float('nan')
        return self.linear(x)
def build(): return Net(), torch.randn(2, 8)
"""


def test_each_is_one_row_and_the_others_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.setenv("PATH", "/nonexistent")  # no compiler
    monkeypatch.delenv("CXX", raising=False)
    missing = Lever(id="x", factor="precision", title="x", techniques=("int8",), accuracy="quantised")
    names = ("bf16", "fp16", "inference-mode", "compile", "flush-denormals")
    plans = [Plan.of(x) for x in (*(lever(name, "precision") for name in names), missing)]
    monkeypatch.setenv("PYTHONPATH", str(without_torchao(tmp_path)))
    campaign = Campaign(sys.executable, BUDGETS["quick"], seed=1, child_timeout_s=18)
    found = {
        m.plan: m.outcome for m in campaign.run([DEFAULT, *plans], [file_workload(tmp_path / "mine.py")], "confirm")
    }
    assert found["default"].ok, found["default"]
    assert found["flush-denormals"].ok, found["flush-denormals"]
    assert (found["bf16"].kind, "my own operator has no bf16" in found["bf16"].detail) == ("error", True)
    assert (found["fp16"].kind, "relative error nan" in found["fp16"].detail) == ("wrong-result", True)
    assert found["inference-mode"].kind == "timeout"
    assert (found["compile"].kind, "needs a C++ compiler" in found["compile"].detail) == ("error", True)
    assert (found["x"].kind, "int8 needs torchao" in found["x"].detail) == ("error", True)


def without_torchao(folder: Path) -> Path:
    """A folder whose torchao cannot be imported."""
    (folder / "site" / "torchao").mkdir(parents=True)
    (folder / "site" / "torchao" / "__init__.py").write_text("raise ImportError('none here')")
    return folder / "site"
