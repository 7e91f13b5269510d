"""Workloads and techniques leave no global state of torch behind: all that torch tells, before and after."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hwdiag.agent import kernels, measure, net_workloads, switches, techniques, workloads
from hwdiag.experiment.model import Workload
from tests.agent.test_measure import SIZES

torch = pytest.importorskip("torch")

MORE: dict[str, tuple[dict[str, int], str]] = {
    "elementwise": ({"elements": 512}, ""),
    "reduction": ({"elements": 512}, ""),
    "attention": ({"batch": 1, "heads": 2, "tokens": 8, "width": 8}, "math"),
    "dispatch": ({}, "waited"),
    "inference": ({"batch": 1, "side": 32}, "resnet18"),
    "training": ({"batch": 4, "side": 32}, "resnet18"),
}
"""Sizes of kinds that ``tests.agent.test_measure`` does not list."""
GPU = {"transfer", "in-place"}
LATER = {"file", "decode"}
"""One is a person's own; the other wants transformers, and differs from ``inference`` in its net alone."""
CASES = [
    *((kind, size, "") for kind, size in SIZES.items()),
    *((kind, *about) for kind, about in MORE.items()),
    *(("precision", {"n": 32}, what) for what in kernels.PRECISIONS if what != "fp8"),
]
OWN = """
import os, torch
def build():
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1 + torch.get_num_threads() % 2)
    torch.set_float32_matmul_precision("medium")
    torch.set_flush_denormal(True)
    torch.set_grad_enabled(False)
    torch.autograd.set_detect_anomaly(True)
    torch.autocast("cpu", dtype=torch.float16).__enter__()
    torch.backends.cudnn.enabled = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.enable_math_sdp(False)
    torch.backends.mkldnn.enabled = False
    os.environ["HWDIAG_OF_A_FILE"] = "1"
    return lambda: None
"""


def state() -> dict[str, Any]:
    """All that torch tells of itself, whichever function it is, and what it does not tell."""
    found: dict[str, Any] = {f"env {n}": value for n, value in os.environ.items() if n != "PYTEST_CURRENT_TEST"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in dir(torch._C):
            if name.startswith(("_get_", "get_", "is_", "_is_")) and "cache_stats" not in name:
                with contextlib.suppress(Exception):
                    value = getattr(torch._C, name)()
                    if " at 0x" not in repr(value):
                        found[name] = repr(value)
    for device, kind in ((d, k) for d in ("generic", "cuda", "mkldnn") for k in ("all", "matmul", "conv", "rnn")):
        with contextlib.suppress(Exception):
            found[f"fp32 precision of {device} {kind}"] = torch._C._get_fp32_precision_getter(device, kind)
    found["denormal numbers"] = (torch.full((1,), 1e-39, dtype=torch.float32) * 0.5).item()
    found["freezing"] = torch._inductor.config.freezing if hasattr(torch, "_inductor") else False
    return found


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> measure.Session:
    """One that has begun, in this process."""
    monkeypatch.setattr(techniques, "USED", [])
    found = measure.Session()
    found.torch, found.device, found.restore = torch, "cpu", switches.kept(torch)
    return found


def prepared(session: measure.Session, **about: Any) -> Callable[[], None]:
    """What prepares a workload and then goes on to the next one, as the agent does."""
    spec = {"name": "x", "dtype": "float32", **about}

    def run() -> None:
        session.prepare(SimpleNamespace(tell=lambda *args, **more: None), spec, False, 0.0)

    return run


def test_the_cases_are_all_kinds_of_workloads() -> None:
    kinds = {kind for module in (workloads, kernels, net_workloads) for kind in module.BUILDERS}
    assert kinds - GPU - LATER == {kind for kind, _, _ in CASES}
    assert Workload.model_fields["kind"]  # which is what the agent looks up


@pytest.mark.parametrize(("kind", "size", "what"), CASES, ids=lambda v: str(v) if isinstance(v, str) else "")
def test_a_workload_leaves_nothing_behind(session: measure.Session, kind: str, size: dict[str, int], what: str) -> None:
    before = state()
    with contextlib.suppress(RuntimeError):  # a product that this build has not
        prepared(session, kind=kind, size=size, what=what)()
    session.restore()
    assert state() == before


@pytest.mark.parametrize("name", sorted(techniques.TECHNIQUES))
def test_a_technique_leaves_nothing_behind(session: measure.Session, name: str) -> None:
    before = state()
    technique = techniques.TECHNIQUES[name]()
    with contextlib.suppress(techniques.Missing, ValueError):  # graphs want a GPU
        technique.process(torch, torch.device("cpu"))
        if not name.startswith("compile"):  # whose process() is all that sets anything; compiling takes a minute
            techniques.USED[:] = [name]
            with contextlib.suppress(RuntimeError, AssertionError):  # what needs a GPU, or torchao
                prepared(session, kind="inference", size={"batch": 1, "side": 32}, what="resnet18")()
    session.restore()
    assert state() == before


def test_a_file_of_ones_own_does_not_reach_what_comes_after_it(session: measure.Session, tmp_path: Path) -> None:
    before = state()
    (tmp_path / "mine.py").write_text(OWN)
    prepared(session, kind="file", size={}, path=str(tmp_path / "mine.py"))()
    changed = {name for name, value in state().items() if before.get(name) != value}
    assert len(changed) >= 12, changed
    session.restore()
    assert state() == before
