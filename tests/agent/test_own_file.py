"""A file whose ``build()`` gives a net: levers within the process apply to it, and whatever goes wrong is one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hwdiag.agent import measure, own_file, switches, techniques
from hwdiag.agent.failures import WrongResult, failure

torch = pytest.importorskip("torch")

HEAD = "import torch\nfrom torch import nn\n"
PLAIN = HEAD + "def build():\n  return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval(), torch.randn(2, 3, 16, 16)\n"
RANDOM_WEIGHTS = PLAIN.replace("def build():\n", "def build():\n  torch.seed()\n")
DROPOUT = PLAIN.replace("nn.ReLU()).eval()", "nn.Dropout(0.5))")
NO_FLOAT64 = HEAD + (
    "class Own(nn.Module):\n  def __init__(self):\n    super().__init__()\n    self.l = nn.Linear(8, 8)\n"
    "  def forward(self, x):\n    if x.dtype is torch.float64: raise RuntimeError('no kernel')\n"
    "    return {'scores': self.l(x) if x.sum() > -1e9 else x}\ndef build(): return Own(), {'x': torch.randn(2, 8)}\n"
)
NO_BF16 = NO_FLOAT64.replace("float64", "bfloat16")
OVERFLOWS = HEAD + (
    "class Big(nn.Module):\n  def forward(self, x): return (x * 300) * 300 - (x * 300) * 300 + x\n"
    "def build(): return Big(), torch.ones(2, 8) * 3\n"
)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the techniques of this process, and puts its switches back afterwards."""
    restore = switches.kept(torch)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(techniques, "USED", [])
    yield techniques.USED.extend
    restore()


def prepared(path: Path, code: str, accuracy: str = "same", *, check: bool = True) -> measure.Prepared:
    path = path / "mine.py"
    path.write_text(code)
    spec = {"name": "file", "kind": "file", "dtype": "float32", "size": {}, "path": str(path)}
    return measure.Prepared(torch, "cpu", spec, check=check, warmup_s=0.0, accuracy=accuracy)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("names", "accuracy", "least", "most"),
    [
        ([], "same", 0, 1e-5),
        (["inference-mode", "channels-last", "flush-denormals"], "same", 0, 1e-5),
        (["bf16"], "reduced", 1e-4, 0.05),
        (["channels-last", "bf16"], "reduced", 1e-4, 0.05),
        (["autocast-bf16"], "reduced", 1e-4, 0.05),
    ],
)
def test_a_net_is_measured_under_levers_with_its_error(
    tmp_path: Path, used: Any, names: list[str], accuracy: str, least: float, most: float
) -> None:
    used(names)
    error = prepared(tmp_path, PLAIN, accuracy).max_error
    assert least <= error <= most


def test_what_is_asked_for_bounds_the_error(tmp_path: Path, used: Any) -> None:
    """A lever that says "same results" and rounds to bf16 is refused."""
    used(["bf16"])
    with pytest.raises(WrongResult, match="relative error"):
        prepared(tmp_path, PLAIN, "same")


@pytest.mark.parametrize("code", [RANDOM_WEIGHTS, DROPOUT], ids=["other weights each time", "dropout"])
def test_results_that_change_by_themselves_are_not_compared(tmp_path: Path, used: Any, code: str) -> None:
    used(["bf16"])
    assert prepared(tmp_path, code, "reduced").max_error is None


def test_an_operator_without_float64_is_compared_with_float32(tmp_path: Path, used: Any) -> None:
    used(["bf16"])
    assert 1e-4 < prepared(tmp_path, NO_FLOAT64, "reduced").max_error < 0.05


def test_a_net_that_raises_in_bf16_says_so_in_one_line(tmp_path: Path, used: Any) -> None:
    used(["bf16"])
    with pytest.raises(RuntimeError, match="no kernel") as raised:
        prepared(tmp_path, NO_BF16, "reduced")
    assert failure(raised.value) == ("error", "RuntimeError: no kernel")  # type: ignore[no-untyped-call]


def test_results_that_are_no_numbers_in_fewer_bits_are_wrong(tmp_path: Path, used: Any) -> None:
    used(["fp16"])
    with pytest.raises(WrongResult, match="relative error nan"):
        prepared(tmp_path, OVERFLOWS, "reduced")


@pytest.mark.usefixtures("used")
def test_memory_that_does_not_hold_the_net_twice_leaves_the_error_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(own_file, "doubled", none_left)
    found = prepared(tmp_path, PLAIN)
    assert (found.max_error, found.loops > 0) == (None, True)


@pytest.mark.usefixtures("used")
def test_what_this_torch_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.nn.attention, "sdpa_kernel")
    with pytest.raises(techniques.Missing, match=r"not in this torch \(.*\): torch.nn.attention.sdpa_kernel"):
        techniques.TECHNIQUES["math-attention"]().around(torch, torch.device("cpu"))  # type: ignore[no-untyped-call]


def test_a_call_without_a_net_runs_within_autocast(tmp_path: Path, used: Any) -> None:
    used(["autocast-bf16"])
    code = HEAD + "a = torch.ones(4, 4)\nout = []\ndef build():\n  return lambda: out.append((a @ a).dtype), check\n"
    prepared(tmp_path, code + "def check(): assert out[-1] is torch.bfloat16\n", "reduced")


@pytest.mark.usefixtures("used")
def test_switches_of_one_workload_do_not_reach_the_next() -> None:
    restore = switches.kept(torch)  # type: ignore[no-untyped-call]
    before = torch.get_float32_matmul_precision(), torch.get_default_dtype(), torch.backends.cudnn.benchmark
    spec = {"name": "p", "kind": "precision", "dtype": "float32", "size": {"n": 16}, "what": "tf32"}
    measure.Prepared(torch, "cpu", spec, check=False, warmup_s=0.0)  # type: ignore[no-untyped-call]
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_default_dtype(torch.float64)
    torch.backends.cudnn.benchmark = True
    restore()
    assert (
        torch.get_float32_matmul_precision(), torch.get_default_dtype(), torch.backends.cudnn.benchmark,
    ) == before  # fmt: skip


def test_a_file_says_what_levers_have_a_hold_on(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []

    class Channel:
        def tell(self, event: str, **values: Any) -> None:
            told.append({"event": event, **values})

    for code in (PLAIN, "def build(): return lambda: None"):
        (tmp_path / "mine.py").write_text(code)
        own_file.describe(Channel(), str(tmp_path / "mine.py"))  # type: ignore[no-untyped-call]
    net, call = (t for t in told if t["event"] == "described")
    assert (net["is_net"], net["convolutions"], net["linear_layers"], net["device"]) == (True, True, False, "cpu")
    assert not call["is_net"]
