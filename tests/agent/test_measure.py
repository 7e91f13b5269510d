"""The agent with real torch: small sizes, every workload, and results that are wrong on purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from hwdiag.agent import measure, workloads
from hwdiag.agent.failures import WrongResult
from hwdiag.experiment.budget import Budget
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.interleaved import Turn
from hwdiag.experiment.lever import DEFAULT, Lever, Plan
from hwdiag.experiment.model import Workload
from hwdiag.experiment.workloads import catalogue, conv2d, gpt2, matmul, memory_workloads, resnet18
from hwdiag.host.model import Host
from hwdiag.process.launch import Launch
from hwdiag.tune.placement import with_threads
from hwdiag.tune.runtime import find_allocators
from tests.conftest import make_host, make_software

torch = pytest.importorskip("torch")

SIZES = {
    "matmul": {"n": 96},
    "onednn": {"n": 96},
    "numpy": {"n": 96},
    "conv2d": {"batch": 2, "channels": 3, "side": 20, "filters": 4, "kernel": 7, "stride": 2},
    "copy": {"elements": 5000},
    "triad": {"elements": 5000},
    "resnet18": {"batch": 1, "side": 64},
    "gpt2": {"batch": 1, "tokens": 5, "width": 32, "layers": 2, "heads": 4, "vocabulary": 50, "positions": 16},
}
TINY = Budget(
    total_s=60,
    noise_blocks=1,
    rounds=1,
    most_pairs=1,
    finalists=1,
    turn=Turn(warmup_s=0.0, window_s=0.0, windows=3, min_samples=1),
)


def small(host: Host) -> list[Workload]:
    return [w.model_copy(update={"size": SIZES[w.kind]}) for w in catalogue(host)]


SMALL_NETS = {
    "resnet18": {"batch": 1, "side": 32},
    "gpt2": {"batch": 1, "tokens": 4, "width": 32, "layers": 1, "heads": 2, "vocabulary": 50, "positions": 8},
}


def test_every_workload_runs_and_agrees_with_its_reference() -> None:
    campaign = Campaign(sys.executable, TINY, seed=1, child_timeout_s=60)
    results = campaign.run([DEFAULT], small(make_host()), "confirm")
    assert len(results) == len(SIZES) + 1  # the matrix product in two types
    for m in results:
        assert m.outcome.ok, m.outcome.detail
        assert len(m.seconds) >= 3
        assert min(m.seconds) > 0
        assert m.max_error is not None
        assert m.tolerance is not None
        assert m.max_error <= m.tolerance
        assert (m.peak_rss_bytes or 0) > 50 << 20
    assert {m.process for m in results} == {1}


def test_a_launch_is_seen_from_inside() -> None:
    campaign = Campaign(sys.executable, TINY, seed=1, child_timeout_s=60)
    cpu = max(os.sched_getaffinity(0))
    lever = with_threads("x", 1, make_software(), cpus=(cpu,))
    (m,) = campaign.run([Plan.of(lever)], small(make_host())[:1], "screen")
    assert m.outcome.ok, m.outcome.detail
    assert m.applied is not None
    assert (m.applied.threads, m.applied.cpus) == (1, (cpu,))


@pytest.mark.skipif(not find_allocators(None), reason="no other allocator is installed")
def test_an_allocator_is_loaded() -> None:
    allocator = find_allocators(None)[0]
    campaign = Campaign(sys.executable, TINY, seed=1, child_timeout_s=60)
    lever = Lever(id="heap", factor="heap", title=allocator.name, launch=Launch(allocator=allocator))
    (m,) = campaign.run([Plan.of(lever)], small(make_host())[:1], "screen")
    assert m.outcome.ok, m.outcome.detail
    assert m.applied is not None
    assert any(allocator.name in path for path in m.applied.preloaded)


@pytest.mark.parametrize("kind", SIZES)
def test_a_wrong_result_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check is given a result that is off by a little more than rounding."""
    build = workloads.BUILDERS[kind]

    def spoiled(*args: Any, **size: Any) -> Any:
        step, check = build(*args, **size)
        cells = dict(zip(check.__code__.co_freevars, check.__closure__ or (), strict=True))
        if "step" in cells:  # the check calls the step itself
            good = cells["step"].cell_contents
            cells["step"].cell_contents = lambda: good() * 1.01
            return step, check
        result = cells[{"matmul": "out", "numpy": "out", "copy": "target", "triad": "a"}[kind]].cell_contents

        def run() -> Any:
            step()
            result.mul_(1.01)

        return run, check

    monkeypatch.setitem(workloads.BUILDERS, kind, spoiled)
    spec = {"name": kind, "kind": kind, "dtype": "float32", "size": SIZES[kind]}
    with pytest.raises(WrongResult, match="relative error"):
        measure.Prepared(torch, "cpu", spec, check=True, warmup_s=0.0)


def test_memory_that_cannot_be_had_is_out_of_memory_and_the_rest_goes_on() -> None:
    first, *rest = (w for w in small(make_host()) if w.kind in ("copy", "triad"))
    huge = first.model_copy(update={"size": {"elements": 2**50}})
    campaign = Campaign(sys.executable, TINY, seed=1, child_timeout_s=60)
    kinds = {m.workload: m.outcome.kind for m in campaign.run([DEFAULT], [huge, *rest], "screen")}
    assert kinds == {"copy": "out-of-memory", "triad": "ok"}


def test_flops_agree_with_torchs_own_counter() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    for workload in (resnet18(), gpt2(), conv2d(), matmul("float32", 4, n=128)):
        step, _ = workloads.BUILDERS[workload.kind](torch, torch.device("cpu"), torch.float32, **workload.size)
        # torch 2.13 does not count its fused attention on the CPU; the plain one is counted.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
            step()
        assert counted.get_total_flops() == workload.flops, workload.name


def test_arrays_are_four_times_the_caches_or_say_that_they_are_not() -> None:
    copy, triad = memory_workloads(make_host(nodes=2, llc_bytes=64 << 20))
    assert copy.size["elements"] * 8 == 4 * 2 * (64 << 20)
    assert (copy.bytes / copy.size["elements"], triad.bytes / triad.size["elements"]) == (16, 24)
    assert copy.note is None
    cramped = make_host(llc_bytes=512 << 20)
    memory = cramped.memory.model_copy(update={"available_bytes": 3 << 30})
    small_copy, _ = memory_workloads(cramped.model_copy(update={"memory": memory}))
    assert 3 * small_copy.size["elements"] * 8 <= 0.25 * (3 << 30)
    assert "0.5 times the last-level cache" in (small_copy.note or "")


def test_units() -> None:
    assert matmul("float32", 4).value(1.0) == pytest.approx(2 * 2048**3 / 1e9)
    assert resnet18().value(0.02) == pytest.approx(20)
    assert memory_workloads(make_host())[0].unit == "GB/s"


@pytest.mark.parametrize("kind", ["gpt2", "resnet18"])
def test_measuring_a_net_imports_no_compiler(kind: str) -> None:
    """Each process of each trial imported torch's compiler to see whether a switch of it was on, 1.7 s, and sympy to
    give GPT-2 its memory, 0.9 s: half of a quick run."""
    code = (
        "import sys, torch; from hwdiag.agent import switches, workloads\n"
        "restore = switches.kept(torch)\n"
        f"workloads.BUILDERS[{kind!r}](torch, torch.device('cpu'), torch.float32, **{SMALL_NETS[kind]!r})[0]()\n"
        "restore(); print({'sympy', 'torch._inductor'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "set()\n"
