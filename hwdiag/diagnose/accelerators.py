"""Measurement of the catalogue's workloads on each accelerator, within a share of a run's time."""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag.core.text import listed
from hwdiag.experiment.campaign import EXCLUSIVE, Campaign
from hwdiag.experiment.lever import DEFAULT
from hwdiag.experiment.model import Workload
from hwdiag.host.model import Gpu, Host
from hwdiag.process.model import Software

DEVICE_BLOCKS = 3
"""Processes per GPU: enough to see whether they agree."""
DEVICES_SHARE = 0.25
"""Of the time, for all GPUs together: the search for the fastest way to start has the rest."""


def gpu_of_own(host: Host, own: Sequence[Workload]) -> Gpu | None:
    """Return a GPU that takes one process alone, where a file of the person's own may compute on it."""
    exclusive = (gpu for gpu in host.accelerators if gpu.compute_mode in EXCLUSIVE)
    return next(exclusive, None) if any(w.kind == "file" for w in own) else None


def usable_devices(software: Software) -> tuple[str, ...]:
    """Return the accelerators that this torch has kernels for, of whichever maker."""
    return tuple(device.name for device in software.accelerators if device.has_kernels)


def measure_devices(campaign: Campaign, devices: Sequence[str], workloads: Sequence[Workload]) -> tuple[str, ...]:
    """Measure on each device, block by block, for a share of the time; return in words what there was none for."""
    begun, longest_s = campaign.remaining_s, 0.0
    left_out: list[str] = []
    for n in range(DEVICE_BLOCKS):
        for device in devices:
            before = campaign.remaining_s
            if begun - before + longest_s > DEVICES_SHARE * campaign.budget.total_s:
                left_out += [device] if n == 0 else []
                continue
            campaign.run([DEFAULT], workloads, "device", device=device)
            longest_s = max(longest_s, before - campaign.remaining_s)
    return (f"the workloads on {listed(left_out)}",) if left_out else ()
