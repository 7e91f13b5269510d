"""The rate that each GPU reached against the one its data sheet gives: a slow state that its clock does not show."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hwdiag.catalogue.parts import Part, catalogue
from hwdiag.core.finding import Check, Finding
from hwdiag.devices.model import Device, Study

FAR_BELOW = 0.4
"""Share of the peak that the best product of any precision stays below only on a GPU that is held back: healthy ones
reach 60 to 95 % with large products."""


def achieved(study: Study) -> Iterator[Finding | Check]:
    """Yield for each GPU of the catalogue whether its best product is as fast as its kind is."""
    for device in study.devices:
        if device.is_cpu:
            continue
        id_, title = f"gpu-rate:{device.name}", f"Rate of {device.name} ({device.title}) against its data sheet"
        part = part_of_gpu(device)
        if part is None:
            yield Check(id=id_, state="unchecked", title=title, detail="the catalogue has no such GPU")
            continue
        best = best_share(study, device, part)
        if best is None:
            yield Check(id=id_, state="unchecked", title=title, detail="no product was measured on it")
            continue
        share, told, evidence = best
        if share >= FAR_BELOW:
            yield Check(id=id_, state="fine", title=title, detail=told)
        else:
            yield Finding(
                id=id_,
                severity="problem",
                title=f"{device.name} ({device.title}) reaches {share:.0%} of its peak at best: it is held back",
                detail=f"{told}. Its clock may look normal all the same. {remedy(device)}",
                evidence=(evidence,),
            )


def best_share(study: Study, device: Device, part: Part) -> tuple[float, str, str] | None:
    """Return the highest share of a peak that a product reached, in words too, and the measurement behind it."""
    found = []
    for ceiling in study.ceilings:
        peak = part.peak(ceiling.dtype, "max") if (ceiling.device, ceiling.kind) == (device.name, "compute") else None
        if peak:
            share = ceiling.value / peak
            told = f"{ceiling.value / 1e12:.1f} of {peak / 1e12:.1f} TFLOP/s in {ceiling.dtype}"
            found.append((share, told, ceiling.measurement))
    return max(found, default=None)


def remedy(device: Device) -> str:
    """Return what ends such a state."""
    if "GB10" in model(device.title):
        return (
            "On a GB10 the power supply's negotiation may have gone wrong: unplug it for a minute, then measure again; "
            "update its firmware if it comes back."
        )
    return (
        "Look for other programs on it ('nvidia-smi'), for a power limit or a lock ('hwdiag audit' while it works), "
        "and at its memory's clock; then reset it, or boot again."
    )


NO_MODEL = re.compile(r"\d{1,2}|\d*GB|PCIE|SXM\d?|HBM\d?E?|NVL|GENERATION|TESLA|NVIDIA|GEFORCE|AMD|RADEON|INTEL")
"""Words of a GPU's name that tell maker, memory and slot, not the model."""


def model(name: str) -> frozenset[str]:
    """Return the words of a GPU's name that tell its model: ``RTX`` and ``3060``; a laptop's or a slice has more."""
    plain = re.sub(r"\(.*?\)|-", " ", name.upper())
    return frozenset(word for word in plain.split() if not NO_MODEL.fullmatch(word))


def part_of_gpu(device: Device) -> Part | None:
    """Return the catalogue's GPU of this model; of several the one with the lowest peak."""
    fitting = [p for p in catalogue().values() if p.kind == "gpu" and model(p.name) == model(device.title)]
    return min(fitting, key=lambda p: p.peak("float32", "max") or 0, default=None)
