"""Discovery of the devices that torch can use here, and the reasons why it cannot use others."""

from __future__ import annotations

from hwdiag.devices.kernels import dispatches
from hwdiag.devices.model import CPU, Absent, Device
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, Turn
from hwdiag.host.gpu import torch_build
from hwdiag.host.model import Gpu, Host
from hwdiag.process.launch import Launch
from hwdiag.process.model import Outcome, Software
from hwdiag.process.software import probe_software
from hwdiag.process.torch_builds import driver_in, too_old, without_kernels

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
    software = probe_software(python, timeout_s=timeout_s)
    if not software.outcome.ok:
        return software, (), (Absent(what="all devices", why=software.outcome.detail),)
    return software, *usable(host, software)


def usable(host: Host, software: Software) -> tuple[tuple[Device, ...], tuple[Absent, ...]]:
    """Return the CPU and the accelerators that torch can use, and one line for each that is not used."""
    cpu = Device(name=CPU, title=host.cpu.model or "CPU", memory_bytes=host.memory.total_bytes)
    told = software.accelerators
    seen = tuple(Device.model_validate(d.model_dump(exclude={"architecture", "architectures"})) for d in told)
    found = tuple(device for device, d in zip(seen, told, strict=True) if d.has_kernels)
    driver = next((gpu.cuda for gpu in host.accelerators if gpu.cuda), None)
    refused = [
        Absent(what=f"{d.title} ({d.name})", why=without_kernels(d, software.torch_version, driver))
        for d in told
        if not d.has_kernels
    ]
    return (cpu, *found), (*refused, *absent(host.accelerators, software, seen))


def gpu_of(host: Host, device: Device) -> Gpu | None:
    """Return the host's GPU that torch calls so; CUDA numbers them in its own order, and a variable may hide some."""
    gpus = host.accelerators
    by_id = [g for g in gpus if device.uuid and g.uuid and g.uuid.endswith(device.uuid)]
    alike = [g for g in gpus if g.name == device.title]
    found = by_id or (alike if len(alike) == 1 else gpus if len(gpus) == 1 else ())
    return found[0] if found and not device.is_cpu else None


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
    gpu = next((gpu for gpu in gpus if gpu.cuda), None)
    if software.cuda is None:
        return "this torch was built without CUDA; one with it is at PyTorch's own index"
    driver, cuda, capability = (gpu.driver, gpu.cuda, gpu.compute_capability) if gpu else (None, None, None)
    old = too_old(driver, cuda or driver_in(software.cuda_note), software.cuda, capability)
    if old:
        return old
    if gpus and all(gpu.compute_mode == "Prohibited" for gpu in gpus):
        return "its compute mode is Prohibited, so no program may compute on it: sudo nvidia-smi -c DEFAULT allows it"
    if visible is not None:
        shown = repr(visible) if visible else "empty"
        return f"CUDA_VISIBLE_DEVICES is {shown}, which leaves them out; unset it, or name GPUs that are there"
    return software.cuda_note or "torch does not say why"


def is_gone(outcome: Outcome) -> bool:
    """Return whether an outcome speaks of a device that went away meanwhile."""
    return not outcome.ok and any(words in outcome.detail for words in GONE)


def is_left(python: str, device: Device, timeout_s: float) -> bool:
    """Return whether a fresh process can still compute on a device: many errors end a process's use of it alone."""
    workload = next(iter(dispatches()))
    candidate = Candidate(Launch(), [workload], check=False)
    turn = Turn(warmup_s=0.0, window_s=0.0, windows=1, min_samples=1)
    InterleavedBlock(python, turn, timeout_s=timeout_s).run([candidate], device=device.name, seed=1)
    return candidate.results[workload.name].outcome.ok
