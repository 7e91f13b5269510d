"""Nets and torches that lack something: each is an answer in one line, or no answer about errors, never a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hwdiag.agent import own_file, switches, techniques

torch = pytest.importorskip("torch")

NET = """
import torch
CALLS = []
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
    def forward(self, x):
        {forward}
def build():
    CALLS.append(1)
    {first}
    return Net().eval(), torch.ones(2, 8)
"""
PLAIN = "return self.linear(x)"
CASES: dict[str, tuple[str, str, str, bool | str]] = {
    # name: (technique, forward, first of build(), whether it has an error against float64, or what is raised)
    "plain": ("", PLAIN, "pass", True),
    "control flow by the data": ("", "return self.linear(x) if x.sum() > 0 else x", "pass", True),
    "an operator of its own, float32 alone": (
        "", "assert x.dtype is torch.float32, 'mine knows float32'; return self.linear(x)", "pass", True,
    ),
    "no memory for a second net": ("", PLAIN, "if len(CALLS) > 1: raise MemoryError()", False),
    "other weights each time": ("", PLAIN, "torch.seed()", False),
    "no bf16": ("bf16", "assert x.dtype is torch.float32, 'mine knows float32'; return self.linear(x)", "pass", "mine"),
    "numbers that are none": (
        "bf16", "return self.linear(x) * (float('nan') if x.dtype is torch.bfloat16 else 1)", "pass", True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_odd_net_is_compared_or_says_why_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    technique, forward, first, expected = CASES[name]
    monkeypatch.setattr(techniques, "USED", [technique] if technique else [])
    (tmp_path / "mine.py").write_text(NET.format(forward=forward, first=first))
    step, check = own_file.build_file(torch, torch.device("cpu"), torch.float32, str(tmp_path / "mine.py"))
    if isinstance(expected, str):
        with pytest.raises(AssertionError, match=expected):
            step()
        return
    step()
    error, tolerance = check()
    assert (error is not None) is expected
    if name == "numbers that are none":
        assert not error <= tolerance  # which the agent calls a wrong result
    elif error is not None:
        assert error <= tolerance


class Older:
    """torch without one thing, however deep it lies."""

    def __init__(self, holder: Any, lacks: str) -> None:
        self._holder, self._lacks = holder, lacks

    def __getattr__(self, name: str) -> Any:
        first, _, rest = self._lacks.partition(".")
        if name == first and not rest:
            raise AttributeError(name)
        found = getattr(self._holder, name)
        return Older(found, rest) if name == first else found


@pytest.mark.parametrize(
    ("technique", "lacks"),
    [
        ("math-attention", "nn.attention"),
        ("math-attention", "nn.attention.sdpa_kernel"),
        ("int8-dynamic", "ao.quantization.quantize_dynamic"),
        ("compile", "compile"),
        ("compile-freezing", "_inductor.config.freezing"),
    ],
)
def test_what_an_older_torch_lacks_is_not_in_this_torch(
    technique: str, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "true")
    older, used = Older(torch, lacks), techniques.TECHNIQUES[technique]()

    def use() -> None:
        used.process(older, torch.device("cpu"))
        used.net(older, torch.nn.Sequential(torch.nn.Linear(2, 2)), ())
        used.around(older, torch.device("cpu"))

    with pytest.raises(techniques.Missing, match=r"not in this torch \("):
        use()


def test_switches_that_an_older_torch_lacks_are_left_out() -> None:
    """Before torch 2.9 oneDNN has no precision by operation; the one of all products is set all the same."""
    restore = switches.kept(torch)
    try:
        techniques.MatmulBf16().process(Older(torch, "backends.mkldnn.matmul"), torch.device("cpu"))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        restore()
