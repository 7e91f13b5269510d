"""What runs in the agent: kernels that are right, and techniques that change what they say and keep the results."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hwdiag.agent import kernels as agent_kernels
from hwdiag.agent import net_workloads, techniques, workloads
from hwdiag.devices.kernels import (
    ATTENTIONS,
    attention,
    dispatches,
    elementwise,
    host_copies,
    in_place,
    large_products,
    precisions,
    product,
    reduction,
)
from hwdiag.devices.nets import NETS
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, ProcessResult, Turn
from hwdiag.experiment.lever import DEFAULT
from hwdiag.experiment.model import Workload
from hwdiag.experiment.techniques import TECHNIQUES
from hwdiag.experiment.workloads import conv2d
from tests.devices.samples import CPU

SMALL = {"resnet18": {"batch": 4, "side": 48}, "unet-block": {"batch": 4, "side": 8}}
META = {"batch": 1, "tokens": 8, "width": 64, "layers": 3, "heads": 4, "vocabulary": 2000, "positions": 16}


@pytest.fixture
def builders(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """All builders of the agent, in this process."""
    monkeypatch.setattr(techniques, "USED", [])
    monkeypatch.delenv("HWDIAG_MEMORY_LIMIT", raising=False)
    return {**workloads.BUILDERS, **agent_kernels.BUILDERS, **net_workloads.BUILDERS}


def built(builders: dict[str, Any], workload: Workload) -> tuple[Callable[[], Any], Callable[[], tuple[float, float]]]:
    more = {"what": workload.what} if workload.what else {}
    dtype = getattr(torch, workload.dtype)
    step, check = builders[workload.kind](torch, torch.device("cpu"), dtype, **workload.size, **more)
    return step, check


def error_of(builders: dict[str, Any], workload: Workload) -> float:
    """Of one workload, within its tolerance."""
    step, check = built(builders, workload)
    step()
    error, tolerance = check()
    assert error <= tolerance, workload.name
    return error


KERNELS = (
    elementwise(4096),
    reduction(4096),
    attention(CPU),
    *(attention(CPU, b) for b in ATTENTIONS["cpu"]),
    *dispatches(),
)


@pytest.mark.parametrize("workload", KERNELS, ids=lambda w: w.name)
def test_kernels_are_right(builders: dict[str, Any], workload: Workload) -> None:
    assert error_of(builders, workload) <= 1e-4


@pytest.mark.parametrize(
    "workload", [attention(CPU), conv2d(), NETS["resnet18"].workload("inference")], ids=lambda w: w.name
)
def test_operations_are_those_that_torch_counts(builders: dict[str, Any], workload: Workload) -> None:
    step, _ = built(builders, workload)
    # Of attention the counter knows the two products, but not the fused kernel of a CPU.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step()
    assert counter.get_total_flops() == pytest.approx(workload.flops, rel=1e-3)


def test_a_wrong_kernel_is_noticed(builders: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "sum", lambda x: x.sum() * (1 if x.dtype is torch.float64 else 0.999))
    step, check = built(builders, reduction(4096))
    step()
    error, tolerance = check()
    assert error > tolerance


def test_transfers_copy_what_they_should(builders: dict[str, Any]) -> None:
    pageable = [w for w in host_copies() if w.what and "pageable" in w.what]
    assert len(pageable) == 6
    for workload in pageable:
        assert error_of(builders, workload.model_copy(update={"size": {"elements": 1000}})) == 0


class Mapped:
    """torch where the device sees the host's memory at the same addresses, as CUDA does with pinned memory."""

    def __init__(self, copies: bool = False) -> None:
        self.copies = copies

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def rand(self, n: int, *, dtype: torch.dtype, pin_memory: bool) -> torch.Tensor:
        assert pin_memory
        return torch.rand(n, dtype=dtype)

    def as_tensor(self, holder: Any, *, device: torch.device) -> torch.Tensor:
        import numpy

        over = type("Over", (), {"__array_interface__": holder.__cuda_array_interface__})()
        tensor = torch.from_numpy(numpy.asarray(over)).to(device)
        return tensor.clone() if self.copies else tensor


def test_memory_of_the_host_is_read_in_place_or_not_at_all(builders: dict[str, Any]) -> None:
    build, size = builders["in-place"], {"elements": 1000}
    assert (in_place().kind, in_place().bytes) == ("in-place", 64 << 20)
    step, check = build(Mapped(), torch.device("cpu"), torch.float32, **size)
    error, tolerance = check()
    assert error <= tolerance
    assert step().item() == pytest.approx(500, rel=0.2)
    with pytest.raises(RuntimeError, match="torch has copied it"):
        build(Mapped(copies=True), torch.device("cpu"), torch.float32, **size)


def test_products_are_as_large_as_the_time_allows() -> None:
    """4096: 0.137 TFLOP; 10,000: 2 TFLOP."""
    fits, left_out = large_products(1e12, "standard")
    assert [w.name for w in fits] == ["matmul-4096"]
    assert left_out == {product(10000).title: pytest.approx(2.0)}
    assert large_products(1e14, "standard")[1] == {}
    assert [w.name for w in large_products(2e11, "thorough")[0]] == ["matmul-4096", "matmul-10000"]


def test_each_precision_has_the_error_of_its_format(builders: dict[str, Any]) -> None:
    """Between half of and some 30 units in the last place of the operands, as their rounding errors add up."""
    errors = {}
    for workload in precisions(CPU):
        small = workload.model_copy(update={"size": {"n": 128}})
        errors[workload.what] = error_of(builders, small)
    assert errors["fp64"] < 1e-14 < errors["fp32"] < 1e-5 < errors["fp16"] < errors["bf16"] < 0.05
    assert 1e-3 < errors["int8"] < 0.05
    assert errors["bf16"] < errors["fp8"] < 0.1
    assert set(errors) == {"fp64", "fp32", "bf16", "fp16", "int8", "fp8"}


UNET, UNET_STEP = (NETS["unet-block"].workload(mode) for mode in ("inference", "training"))
STEP = NETS["resnet18"].workload("training")
CASES = {
    "default": (UNET, UNET_STEP, STEP),
    "inference-mode": (UNET,),
    "channels-last": (UNET,),
    "autocast-bf16": (UNET, UNET_STEP),
    "bf16": (UNET, UNET_STEP),
    "bf16-channels-last": (UNET,),
    "fused-attention": (UNET,),
    "checkpointing": (STEP,),
    "accumulation": (UNET_STEP,),
}
"""Small nets on which each technique of the CPU is tried; what compiles takes too long for a test."""


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], ProcessResult]:
    """Every technique in a process of its own: what it does to a net may end a process, as any measurement may."""
    plans = {"default": DEFAULT, **{t.name: t.plan for t in TECHNIQUES}}
    todo = {
        name: [w.model_copy(update={"size": SMALL[w.what or ""]}) for w in workloads]
        for name, workloads in CASES.items()
    }
    candidates = {
        name: Candidate(
            plans[name].launch, todo[name], check=True, techniques=plans[name].techniques, accuracy=plans[name].accuracy
        )
        for name in todo
    }
    turn = Turn(warmup_s=0, window_s=0.01, windows=1, min_samples=1)
    InterleavedBlock(sys.executable, turn, timeout_s=120).run([*candidates.values()], device="cpu", seed=1)
    return {(name, w): r for name, p in candidates.items() for w, r in p.results.items()}


@pytest.mark.parametrize("technique", CASES)
def test_a_technique_keeps_the_results(results: dict[tuple[str, str], ProcessResult], technique: str) -> None:
    for workload in CASES[technique]:
        result = results[technique, workload.name]
        assert result.outcome.ok, result.outcome
        assert result.seconds
        assert result.first_s is not None
        assert result.peak_rss_bytes is not None
        assert result.max_error is not None
        if "bf16" in technique:
            assert 1e-4 < result.max_error < 0.1
        else:
            assert result.max_error < 1e-3


def test_every_step_of_training_meets_the_same_weights(builders: dict[str, Any]) -> None:
    workload = NETS["resnet18"].workload("training").model_copy(update={"size": SMALL["resnet18"]})
    step, check = built(builders, workload)
    before = check()
    for _ in range(3):
        step()
    assert check() == pytest.approx(before, rel=0.2, abs=1e-6)


@pytest.mark.parametrize(("used", "least", "most"), [([], 0, 1e-3), (["bf16"], 1e-4, 0.1)])
def test_a_decoding_step_is_compared_with_float64(
    builders: dict[str, Any], monkeypatch: pytest.MonkeyPatch, used: list[str], least: float, most: float
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr(techniques, "USED", used)
    step, check = builders["decode"](torch, torch.device("cpu"), torch.float32, "gpt2", batch=1, tokens=4)
    step()
    assert least <= check()[0] <= most


def test_int8_changes_linear_layers_and_says_where_it_cannot(
    builders: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(techniques, "USED", ["int8"])
    net = NETS["gpt2"].workload("inference").model_copy(update={"size": META})
    if importlib.util.find_spec("torchao"):
        _, check = built(builders, net)
        assert 1e-4 < check()[0] < 0.1
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(Exception, match="int8 needs torchao in that interpreter"):
        built(builders, net)


def test_a_net_without_convolutions_stays_as_it_is(builders: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(techniques, "USED", ["channels-last"])
    assert error_of(builders, NETS["gpt2"].workload("inference").model_copy(update={"size": META})) < 1e-5


def test_compiling_without_a_compiler_is_one_clear_line(
    builders: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(techniques, "USED", ["compile"])
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(Exception, match=r"torch\.compile needs a C\+\+ compiler on the CPU"):
        built(builders, NETS["unet-block"].workload("inference").model_copy(update={"size": SMALL["unet-block"]}))


def test_checkpointing_takes_the_outermost_blocks_of_a_net() -> None:
    net, _ = workloads.resnet18(torch, torch.device("cpu"), torch.float32, batch=1, side=32)
    assert [type(b).__name__ for b in techniques.repeated_blocks(net)] == ["BasicBlock"] * 8  # type: ignore[no-untyped-call]
    plain = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(9)])
    assert techniques.repeated_blocks(plain) == []  # type: ignore[no-untyped-call]


def test_a_batch_is_cut_evenly_or_not_at_all() -> None:
    x = torch.arange(8)
    assert [p[0].tolist() for p in net_workloads.cut((x,), 4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(ValueError, match="a batch of 8 cannot be cut into 3 equal parts"):
        net_workloads.cut((x,), 3)


def test_a_limit_of_memory_holds_for_what_comes_after() -> None:
    code = (
        "import os, torch\nfrom hwdiag.agent import net_workloads\n"
        "os.environ['HWDIAG_MEMORY_LIMIT'] = str(10**8)\nnet_workloads.limit_memory()\n"
        "torch.zeros(5 * 10**6)\nprint('fits', flush=True)\ntorch.zeros(10**9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "fits\n"
    assert "can't allocate memory" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
