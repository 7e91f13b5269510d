"""Discovery of the devices that torch can use here, and the reasons why it cannot use others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwdiag.devices.model import CPU, Absent, Device
from hwdiag.host.gpu import torch_build
from hwdiag.host.model import Gpu, Host
from hwdiag.process.model import Outcome, Software
from hwdiag.process.software import describe_software

GONE = (
    "no CUDA-capable device",
    "fallen off the bus",
    "device lost",
    "unspecified launch failure",
    "device unavailable",
    "No CUDA GPUs are available",
    "unknown error",
)
"""What CUDA's runtime and driver say of a device that was there before."""


SLICED = "cut into slices (MIG): only the slice that torch sees was measured, and its figures are the slice's"


def find(python: str, host: Host, timeout_s: float) -> tuple[Software, tuple[Device, ...], tuple[Absent, ...]]:
    """Return the torch of ``python``, the devices that it can use, and why it cannot use others that are here."""
    software, devices = describe_software(python, devices=True, timeout_s=timeout_s)
    if not software.outcome.ok:
        return software, (), (Absent(what="all devices", why=software.outcome.detail),)
    return software, *usable(host, software, devices)


def usable(
    host: Host, software: Software, devices: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Device, ...], tuple[Absent, ...]]:
    """Return the CPU and these accelerators, and one line for each that is not used."""
    cpu = Device(name=CPU, title=host.cpu.model or "CPU", memory_bytes=host.memory.total_bytes)
    found = tuple(Device.model_validate(device) for device in devices)
    return (cpu, *found), tuple(absent(host.accelerators, software, found))


def absent(gpus: tuple[Gpu, ...], software: Software, found: tuple[Device, ...]) -> list[Absent]:
    """Return a line for GPUs that are here but not in torch, and for devices that torch was built for but are not
    here."""
    why = why_unused(gpus, software)
    if found:
        rows = [Absent(what=f"{gpu.name} (GPU {gpu.index})", why=SLICED) for gpu in gpus if gpu.mig]
        hidden = len(gpus) - len(found)
        return rows + ([Absent(what=f"{hidden} more of the host's GPUs", why=why)] if hidden > 0 and not rows else [])
    if gpus:
        return [Absent(what=", ".join(gpu.name for gpu in gpus), why=why)]
    return [Absent(what="GPUs", why=why if software.cuda and software.cuda_note else "there is none here")]


def why_unused(gpus: tuple[Gpu, ...], software: Software) -> str:
    """Return the reason why torch does not see a GPU, in one line."""
    builds = {torch_build(gpu) for gpu in gpus}
    if builds and "CUDA" not in builds and not software.cuda_note:
        return f"this torch sees none of them; one built for {' or '.join(sorted(builds))} is at PyTorch's own index"
    visible = software.environment.get("CUDA_VISIBLE_DEVICES")
    driver = next((gpu.cuda for gpu in gpus if gpu.cuda), None)
    if software.cuda is None:
        return "this torch was built without CUDA; one with it is at PyTorch's own index"
    if driver and version(driver)[0] < version(software.cuda)[0]:
        return (
            f"the driver is for CUDA {driver} at most, and this torch was built for {software.cuda}: "
            f"update the driver, or take a torch built for an older CUDA"
        )
    if visible is not None:
        shown = repr(visible) if visible else "empty"
        return f"CUDA_VISIBLE_DEVICES is {shown}, which leaves them out; unset it, or name GPUs that are there"
    return software.cuda_note or "torch does not say why"


def version(text: str) -> tuple[int, ...]:
    """Return a version's numbers, of ``13.0`` (13, 0), or (0,) for what is none."""
    parts = text.split(".")
    return tuple(map(int, parts)) if all(p.isdigit() for p in parts) else (0,)


def is_gone(outcome: Outcome) -> bool:
    """Return whether a device went away meanwhile."""
    return not outcome.ok and any(words in outcome.detail for words in GONE)
