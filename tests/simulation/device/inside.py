"""Runs in a child: builds and measures workloads on simulated GPUs as the agent does, and prints what it says of each,
beside the model's truth, as JSON. ``python -m tests.simulation.device.inside`` with a list of cases on its input.
"""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

import torch

from hwdiag.agent import dataloader_fed, device_time, measure, switches, techniques
from tests.simulation.device import backend, tensors
from tests.simulation.device.model import Clock

FLAGS = (*switches.NAMES, "grad", "threads", "precision", "device", "stream", "allocated")


def state() -> dict[str, Any]:
    """Return all that a workload may leave changed."""
    found: dict[str, Any] = {}
    for path in switches.NAMES:
        place = switches.holder_of(torch, path)
        found[path] = False if place is None else getattr(*place)  # what is imported later is off by default
    gc.collect()
    found |= {
        "grad": torch.is_grad_enabled(), "threads": torch.get_num_threads(), "dtype": str(torch.get_default_dtype()),
        "precision": torch.get_float32_matmul_precision(), "stream": [id(d.stream) for d in tensors.DEVICES],
        "allocated": [d.allocated for d in tensors.DEVICES],
    }  # fmt: skip
    return found


def truth(step: Any, device: Any) -> dict[str, float]:
    """Return what one call takes the host and the device, with what calls before it left in the cache."""
    for _ in range(3):
        step()
    device.synchronise()
    begun, busy = Clock.now, device.busy_s + device.copied_s
    step()
    host = Clock.now - begun
    device.synchronise()
    return {"host": host, "device": device.busy_s + device.copied_s - busy}


def measured(case: dict[str, Any]) -> dict[str, Any]:
    """Return what the agent says of a case, and the truth."""
    workload, device = case["workload"], case.get("device", "sim:0")
    techniques.USED[:] = case.get("used", [])
    restore = switches.kept(torch)
    torch.manual_seed(1)
    before = state()
    try:
        found = measure.Prepared(torch, device, workload, check=case.get("check", True), warmup_s=0.003,
                                 accuracy=case.get("accuracy", "same"))  # fmt: skip
    except Exception as error:
        restore()
        return {"failed": f"{type(error).__name__}: {error}"}
    samples = sorted(found.sample(0.01, 3))
    used = tensors.DEVICES[case.get("on", tensors.CURRENT[0])]
    told = {
        "seconds": samples[len(samples) // 2], "loops": found.loops, "max_error": found.max_error,
        "tolerance": found.tolerance, "device": tensors.CURRENT[0], "peak": found.accelerator.peak_bytes(),
        "left": max(d.streams[0].end for d in tensors.DEVICES) - Clock.now,
        **device_time.timed(torch, found.accelerator, found.step, found.loops),
        "truth": truth(found.step, used), "launches": [d.launches for d in tensors.DEVICES],
    }  # fmt: skip
    del found
    restore()
    after = state()
    return {**told, "changed": {k: [before[k], after[k]] for k in before if before[k] != after[k]}}


class SlowData:
    """A Dataset whose items take so long by the virtual clock; it notes what the device had been given before each."""

    def __init__(self, side: int, seconds: float) -> None:
        self.side, self.seconds = side, seconds
        self.given: list[tuple[int, float]] = []

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        device = tensors.DEVICES[0]
        self.given.append((device.launches, device.busy_s + device.copied_s))
        Clock.now += self.seconds
        return torch.zeros(3, self.side, self.side), index % 1000


def fed(case: dict[str, Any]) -> dict[str, Any]:
    """Return what the agent says of a training that waits for such data, and what one step gives the device."""
    task = {"device": "sim:0", "batch": 2, "side": 32, "workers": 0, "seconds": 0.02, "trace": None}
    data = SlowData(32, case["fed"])
    found = dataloader_fed.training(torch, data, task)
    first, last = data.given[2 * dataloader_fed.WARM], data.given[-2]
    steps = len(data.given) // 2 - dataloader_fed.WARM - 1
    return {**found, "launches": (last[0] - first[0]) / steps, "device": (last[1] - first[1]) / steps}


def main() -> None:
    """Install what is asked for, and answer each case."""
    task = json.load(sys.stdin)
    torch.set_num_threads(1)
    backend.install(**task["install"])
    torch.empty(1, device="sim:0")  # the clock is virtual from here on
    gc.collect()
    gc.freeze()  # each case collects what it left, not all of torch
    print(json.dumps([fed(case) if "fed" in case else measured(case) for case in task["cases"]]))


if __name__ == "__main__":
    main()
