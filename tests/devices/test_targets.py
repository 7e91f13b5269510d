"""The guide's targets: pass or fail by the whole interval, and the reason from the profile of the same device."""

from __future__ import annotations

import pytest

from hwdiag.devices.kernels import dispatches, precision
from hwdiag.devices.model import Study, Target
from hwdiag.devices.targets import targets
from hwdiag.experiment.model import Workload
from hwdiag.experiment.net_count import Count, NetSpec, Operation
from hwdiag.experiment.workloads import memory_workloads
from hwdiag.process.model import Outcome
from tests.conftest import make_host
from tests.devices.samples import RESNET, measured, study

COMPUTE, MEMORY = precision("fp32", 768), memory_workloads(make_host())[0]
QUEUED, _ = dispatches()
KNOWN = (COMPUTE, MEMORY, QUEUED, RESNET)


def count(flops: float, weights: float, kernels: int) -> Count:
    each = Operation(kind="gemm", name="addmm", dtype="float32", flops=flops / kernels, weight_bytes=0, read_bytes=0,
                     written_bytes=0, times=kernels)  # fmt: skip
    about = {
        "parameters": 1, "weights_bytes": weights, "touched_bytes": weights, "kv_bytes": 0, "took_s": 0, "cpu_s": 0,
        "peak_rss_bytes": 0,
    }  # fmt: skip
    return Count.model_validate({"spec": NetSpec(net="resnet18"), "operations": (each,), **about})


def profiled(net_s: list[float], *, net: Outcome | None = None) -> Study:
    """A device of 100 GFLOP/s and 10 GB/s that starts a kernel in 10 us."""
    seconds = (COMPUTE.flops / 100e9, MEMORY.bytes / 10e9, 1e-5)
    seen = [measured("default", w.name, s, block=b) for b in range(3) for w, s in zip(KNOWN, seconds, strict=False)]
    seen += [measured("default", RESNET.name, s, block=b) for b, s in enumerate(net_s)]
    seen += [] if net is None else [measured("default", RESNET.name, 0, outcome=net)]
    known: tuple[Workload, ...] = KNOWN[:3]
    return study(seen, known)


def resnet(found: Study, counted: Count | None) -> Target:
    return targets(found, {} if counted is None else {"resnet18-inference": counted})[0]


@pytest.mark.parametrize(
    ("seconds", "passed"), [([0.010, 0.011, 0.012], True), ([0.03, 0.04, 0.05], False), ([0.010, 0.014, 0.02], None)]
)
def test_only_a_whole_interval_passes_or_fails(seconds: list[float], passed: bool | None) -> None:
    target = resnet(profiled(seconds), count(1e9, 1e6, 10))
    assert target.passed is passed
    assert target.reason.startswith("the interval holds the limit") is (passed is None)


@pytest.mark.parametrize(
    ("counted", "reason"),
    [
        (count(2e9, 1e6, 10), "compute-bound: its roof takes 20 ms of it (50%)"),
        (count(1e8, 3e8, 10), "memory-bound: its roof takes 30 ms of it (75%)"),
        (count(1e8, 1e6, 1000), "launch-bound: 1000 kernels take 10 ms of it (25%)"),
        (None, "not known: its operations could not be counted here"),
    ],
)
def test_a_failure_has_its_reason(counted: Count | None, reason: str) -> None:
    assert resnet(profiled([0.04] * 3), counted).reason == reason


def test_what_was_not_measured_is_neither_passed_nor_failed() -> None:
    assert resnet(profiled([]), None).reason == "its turn did not come"
    died = resnet(profiled([], net=Outcome(kind="out-of-memory", detail="killed by the kernel")), None)
    assert (died.passed, died.reason) == (None, "killed by the kernel")
    assert {t.passed for t in targets(profiled([]), {})[2:]} == {None}
