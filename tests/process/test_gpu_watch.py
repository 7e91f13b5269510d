"""GPUs while something is measured: what each did, and who else was at work on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hwdiag.devices.others import others
from hwdiag.host.gpu import read_gpus
from hwdiag.host.gpu.nvidia import open_gpus
from hwdiag.host.model import Gpu
from hwdiag.host.root import Root
from hwdiag.process import gpu_watch
from hwdiag.process.gpu_watch import GpuWatch
from hwdiag.process.model import Disturbance, GpuMeanwhile
from tests.devices.samples import GPU, measured, study
from tests.simulation import nvml

AT_REST = {"index": 0, "name": GPU.title, "uuid": "GPU-1", "sm_max_mhz": 1800.0}
AT_WORK = {"sm_mhz": 1440.0, "power_w": 168.0, "throttle_reasons": ("software power cap",)}


def watched(monkeypatch: pytest.MonkeyPatch, before: dict[str, Any], *then: dict[str, Any]) -> tuple[GpuMeanwhile, ...]:
    """What is found of a GPU that is so before, and so in turn while something is measured."""
    monkeypatch.setattr(gpu_watch, "EVERY_S", 0.001)
    seen = [Gpu(**{**AT_REST, **more}) for more in (before, *then)]
    left = iter(seen)
    looks = 0

    def look() -> tuple[Gpu, ...]:
        nonlocal looks
        looks += 1
        return (next(left, seen[-1]),)

    with GpuWatch(look) as watch:
        deadline = time.monotonic() + 30
        while looks < len(seen) and time.monotonic() < deadline:
            time.sleep(0.001)
    return watch.found()


def test_a_gpu_at_work_has_its_clock_power_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = watched(monkeypatch, {"utilization": 3}, {"utilization": 99, **AT_WORK})
    assert (found.mhz, found.watts, found.reasons, found.used_before) == (1440, 168, ("software power cap",), 3)
    assert watched(monkeypatch, {"utilization": 3}, {"utilization": 0}) == ()


def test_a_gpu_whose_use_is_not_known_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML reports no use of a GPU that is cut into slices (MIG)."""
    (found,) = watched(monkeypatch, {}, AT_WORK)
    assert (found.least_mhz, found.reasons, found.used_before) == (1440, ("software power cap",), None)


@pytest.fixture
def own() -> Iterator[int]:
    """A process of this one's."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child.pid
        child.kill()


def test_others_are_counted_and_what_this_run_starts_is_not(monkeypatch: pytest.MonkeyPatch, own: int) -> None:
    def count(*listed: int) -> int | None:
        (found,) = watched(monkeypatch, {}, {**AT_WORK, "processes": listed})
        return found.others

    assert count(os.getpid(), own) == 0
    assert count(own, os.getppid()) == 1
    assert count() == 0
    assert count(2**22 + 1) is None, "a number of another namespace"


def test_processes_come_through_the_library_that_is_asked_in_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pynvml gives them as objects of its own, within a list."""
    from hwdiag.host.library import Library

    state = nvml.GpuState(tmp_path, "RTX 3060")
    state.set(0, processes=f"{os.getpid()} 17")
    monkeypatch.setenv(nvml.STATE, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    library = Library("tests.simulation.nvml")
    opened, why = open_gpus(Root.live(), library)
    assert opened is not None, why
    (gpu,), _ = opened.read(0)
    opened.close()
    library.close()
    assert gpu.processes == (os.getpid(), 17)
    (gpu,), _ = read_gpus(Root.live(), nvml=state.nvml)
    assert gpu.processes == (os.getpid(), 17)


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([{"others": 0}, {"others": 2}], "2 other processes computed on it"),
        ([{"used_before": 64, "others": None}], "in use for 64 % of the time before the first measurement"),
        ([{"used_before": 2, "others": 0}, {"used_before": 99, "others": 0}], "no other process computed on it in 2"),
        ([{}], "its driver lists no processes that are visible here"),
        ([], "its driver lists no processes that are visible here"),
    ],
)  # fmt: skip
def test_others_on_a_gpu_are_a_finding(looks: list[dict[str, Any]], said: str) -> None:
    """Use that is seen before a later block is this run's own."""
    seen = [
        measured("default", "matmul-512", 0.1, block=n, device=GPU.name).model_copy(update={"disturbance": Disturbance(
            gpus=(GpuMeanwhile(index=0, name=GPU.title, looks=1, **look),))})
        for n, look in enumerate(looks)
    ]  # fmt: skip
    (found,) = others(study(devices=[GPU], **({"measurements": seen} if seen else {})))  # type: ignore[arg-type]
    assert said in found.detail.lower()
    assert found.id == "gpu-others:cuda:0"
