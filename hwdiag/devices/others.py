"""Others who used a GPU while it was measured: its figures are then lower than it reaches alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import capitalised, plural
from hwdiag.devices.model import Device, Study
from hwdiag.experiment.model import Measurement
from hwdiag.process.model import GpuMeanwhile

BUSY = 10
"""Percent of use before anything was measured, from which on others are at work."""


def others(study: Study) -> Iterator[Finding | Check]:
    """Yield for each GPU whether others used it."""
    for device in study.devices:
        if not device.is_cpu:
            measured = [m for m in study.measurements if m.device == device.name]
            yield of_device(device, looks_at(study, device, measured), [m.id for m in measured[:1]])


def of_device(device: Device, looks: Sequence[GpuMeanwhile], evidence: Sequence[str]) -> Finding | Check:
    """Return what was seen of others in these looks, the first of which began before anything ran."""
    id_, whose = f"gpu-others:{device.name}", f"{device.name} ({device.title})"
    counts = [look.others for look in looks if look.others is not None]
    used = looks[0].used_before if looks else None
    most = max(counts, default=0)
    if most or (used is not None and used >= BUSY):
        seen = f"{plural(most, 'other process', 'other processes')} computed on it" if most else (
            f"it was in use for {used} % of the time before the first measurement")  # fmt: skip
        return Finding(
            id=id_,
            severity="warning",
            title=f"{whose} was used by others while it was measured",
            detail=f"{capitalised(seen)}, so its figures may be lower than it reaches alone. "
            "'nvidia-smi' lists programs on NVIDIA's GPUs. Run 'hwdiag devices' again when they have ended.",
            evidence=tuple(evidence),
        )
    title = f"Others on {whose} while it was measured"
    if not counts:
        return Check(
            id=id_, state="unchecked", title=title, detail="its driver lists no processes that are visible here"
        )
    return Check(
        id=id_, state="fine", title=title, detail=f"no other process computed on it in {plural(len(counts), 'block')}"
    )


def looks_at(study: Study, device: Device, measured: Iterable[Measurement]) -> list[GpuMeanwhile]:
    """Return what was seen of a GPU while each block of its measurements ran, in order."""
    blocks = {(m.phase, m.block): m.disturbance.gpus for m in measured}
    seen = [gpu for gpus in blocks.values() for gpu in gpus if is_it(gpu, device)]
    return [*seen, *(s.gpu for s in study.sustained if s.device == device.name and s.gpu is not None)]


def is_it(gpu: GpuMeanwhile, device: Device) -> bool:
    """Return whether the host's GPU is the one that torch calls so."""
    if device.uuid and gpu.uuid:
        return gpu.uuid.endswith(device.uuid)
    return gpu.name == device.title
