"""The figures that a guide for an old Xeon with an RTX 3060 sets as targets: does this host reach them, and why not?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwdiag.devices.model import Device, Study, Target
from hwdiag.devices.nets import decoding
from hwdiag.estimate.model import Count, NetSpec
from hwdiag.measure.model import Interval

COUNTED = {"resnet18": NetSpec(net="resnet18"), "gpt2-decode": NetSpec(net="gpt2", phase="decode", tokens=64)}
"""Nets whose operations say what bounds a target."""


@dataclass(frozen=True)
class Latency:
    """A net's latency that is wanted."""

    name: str
    workload: str
    most_s: float
    count: str


LATENCIES = (
    Latency("ResNet-18, one image", "resnet18-inference", 15e-3, "resnet18"),
    Latency("GPT-2 small, a token", decoding().name, 30e-3, "gpt2-decode"),
)
NOT_HERE = (
    ("Data loading, a batch", "< 5 ms", "depends on your data set: measure your own script with hwdiag profile"),
    ("GPU use", "> 80 %", "of your own job: watch it with hwdiag monitor"),
    ("CPU use", "60 to 80 %", "of your own job: watch it with hwdiag monitor"),
)


def targets(study: Study, counts: Mapping[str, Count]) -> tuple[Target, ...]:
    """Every target on every device."""
    found = [latency(study, device, wanted, counts) for wanted in LATENCIES for device in study.devices]
    found += [
        Target(name=name, wanted=wanted, device="-", measured="-", passed=None, reason=why)
        for name, wanted, why in NOT_HERE
    ]
    return tuple(found)


def latency(study: Study, device: Device, wanted: Latency, counts: Mapping[str, Count]) -> Target:
    """One latency on one device: it passes if the whole interval does, and fails if the whole of it does."""
    measured = study.estimate(wanted.workload, device.name)
    limit = f"< {wanted.most_s * 1e3:g} ms"
    if measured is None:
        failed = study.failures(device.name).get(wanted.workload)
        why = failed.detail if failed else "its turn did not come"
        return Target(name=wanted.name, wanted=limit, device=device.name, measured="-", passed=None, reason=why)
    passed = True if measured.high < wanted.most_s else False if measured.low >= wanted.most_s else None
    count = counts.get(wanted.count)
    reason = bound(study, device, count, measured) if count else "not known: its operations could not be counted here"
    return Target(
        name=wanted.name,
        wanted=limit,
        device=device.name,
        measured=f"{measured.median * 1e3:.3g} ms ({measured.low * 1e3:.3g} to {measured.high * 1e3:.3g})",
        passed=passed,
        reason=reason if passed is not None else f"the interval holds the limit; {reason}",
    )


def bound(study: Study, device: Device, count: Count, measured: Interval) -> str:
    """What takes the time: the largest of arithmetic, memory and starting kernels, each at the speed seen here."""
    compute = [c.value for c in study.ceilings if (c.device, c.kind, c.dtype) == (device.name, "compute", "float32")]
    memory = [c.value for c in study.ceilings if (c.device, c.kind) == (device.name, "memory")]
    start = study.estimate("launch-queued", device.name)
    if not compute or not memory or start is None:
        return "not known: the profile of this device is not whole"
    kernels = count.calls
    takes = {
        "compute-bound": count.flops / max(compute),
        "memory-bound": count.least_bytes / max(memory),
        "launch-bound": kernels * start.median,
    }
    name = max(takes, key=takes.__getitem__)
    share = takes[name] / measured.median
    at_least = f"{kernels} kernels take" if name == "launch-bound" else "its roof takes"
    return f"{name}: {at_least} {takes[name] * 1e3:.2g} ms of it ({share:.0%})"
