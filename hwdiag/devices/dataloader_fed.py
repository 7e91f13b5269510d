"""A training that a DataLoader feeds, on one device: its wait for data, and what is at work meanwhile."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hwdiag.core.errors import UsageError
from hwdiag.devices.model import DataloaderFed, DataloaderFedRun, Device
from hwdiag.process.agent import Agent
from hwdiag.process.trace import GpuTime, analyse, read_trace

BATCH, SIDE, SIDE_ON_CPU = 32, 224, 96
"""The guide's batch, and its side; on a CPU a step of that would take seconds."""
MOST_WORKERS = 8
"""The guide's: ``num_workers=min(8, os.cpu_count())``."""


def feed(python: str, device: Device, *, cpus: int, processes: int, seconds: float, timeout_s: float) -> DataloaderFed:
    """Run it in so many processes, one after the other; ``cpus`` are those that it may use."""
    found = DataloaderFed(device=device.name, batch=BATCH, side=SIDE_ON_CPU if device.is_cpu else SIDE,
              workers=max(1, min(MOST_WORKERS, cpus)))  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="hwdiag-") as folder:
        for n in range(processes):
            trace = None if device.is_cpu else Path(folder, f"{n}.json")
            task = {**found.model_dump(include={"device", "batch", "side", "workers"}), "seconds": seconds,
                    "trace": trace and str(trace)}  # fmt: skip
            with Agent(python) as agent:
                outcome = agent.once({"do": "dataloader_fed.train", **task}, timeout_s)
                told = agent.event("dataloader_fed")
            if told is None:
                return found.model_copy(update={"outcome": outcome})
            found = found.model_copy(update={"runs": (*found.runs, run_of(told, cpus, trace))})
    return found


def run_of(told: dict[str, float], cpus: int, trace: Path | None) -> DataloaderFedRun:
    """Return the figures of one process, with what its trace says of the device."""
    gpu = None if trace is None else gpu_time(trace)
    return DataloaderFedRun.model_validate(
        {
            "wait_s": told["wait_s"],
            "step_s": told["step_s"],
            "cpu_use": told["cpu_s"] / told["seconds"] / cpus,
            "ways": told["ways"],
            "gpu_use": gpu and gpu.busy,
            "idle": gpu.idle if gpu else {},
        }
    )


def gpu_time(trace: Path) -> GpuTime | None:
    """Return the time of a trace's busiest device by what it did, or None where the profiler saw none."""
    try:
        return max(analyse(read_trace(trace)).gpus, key=lambda g: g.busy, default=None)
    except UsageError:
        return None
