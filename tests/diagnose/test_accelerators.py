"""GPUs in a run: within a share of its time, and no more processes at once than a GPU takes."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.diagnose.accelerators import DEVICES_SHARE, gpu_of_own, measure_devices
from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import MOST_AT_ONCE, at_once
from hwdiag.experiment.workloads import matmul
from hwdiag.host.model import Gpu
from hwdiag.tune.user_workloads import file_workload
from tests.conftest import make_host


class Clocked:
    """A campaign whose blocks take so long."""

    def __init__(self, block_s: float) -> None:
        self.budget, self.block_s, self.ran = BUDGETS["quick"], block_s, list[str]()

    @property
    def remaining_s(self) -> float:
        return self.budget.total_s - self.block_s * len(self.ran)

    def run(self, *_: Any, device: str) -> None:
        self.ran.append(device)


@pytest.mark.parametrize(
    ("devices", "block_s", "blocks", "left_out"),
    [
        (1, 2.0, 3, ""),
        (8, 0.5, 24, ""),
        (8, 4.0, 4, "the workloads on cuda:4, cuda:5, cuda:6 and cuda:7"),
        (1, 100.0, 1, ""),  # one always runs: nobody knows before how long it takes
        (0, 1.0, 0, ""),
    ],
)
def test_gpus_have_a_share_of_the_time(devices: int, block_s: float, blocks: int, left_out: str) -> None:
    campaign: Any = Clocked(block_s)
    said = measure_devices(campaign, [f"cuda:{i}" for i in range(devices)], [])
    assert (len(campaign.ran), ", ".join(said)) == (blocks, left_out)
    assert blocks < 2 or blocks * block_s <= DEVICES_SHARE * campaign.budget.total_s
    assert len(set(campaign.ran)) == min(blocks, devices), "each has its turn before any has two"


@pytest.mark.parametrize(
    ("mode", "device_bytes", "most"),
    [
        ("Default", None, MOST_AT_ONCE),
        (None, None, MOST_AT_ONCE),
        ("Exclusive_Process", None, 1),
        ("Exclusive_Thread", None, 1),
        ("Default", 5 << 30, 2),  # a slice of an A100
        ("Default", 1 << 30, 1),
    ],
)
def test_a_gpu_has_no_more_processes_than_it_takes(mode: str | None, device_bytes: int | None, most: int) -> None:
    host = make_host()
    plenty = host.memory.model_copy(update={"available_bytes": 64 << 30, "total_bytes": 64 << 30})
    host = host.model_copy(update={"memory": plenty})
    gpu = Gpu(index=0, name="NVIDIA A100", compute_mode=mode)
    assert at_once(host, [matmul("float32", 4)], gpu=gpu, device_bytes=device_bytes) == most


def test_a_file_of_ones_own_heeds_an_exclusive_gpu(tmp_path: Any) -> None:
    gpu = Gpu(index=0, name="NVIDIA A100", compute_mode="Exclusive_Process")
    host = make_host().model_copy(update={"gpus": (gpu,)})
    assert gpu_of_own(host, [file_workload(tmp_path / "own.py")]) == gpu
    assert gpu_of_own(host, []) is None
