"""The constants of an estimate, and the error that they have on devices that they were not fitted to.

``constants.json`` is written by ``python -m hwdiag.estimate.fit`` from the published points beside it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hwdiag.catalogue.parts import DeviceClass
from hwdiag.core.choices import Software
from hwdiag.core.value import Value
from hwdiag.estimate.model import HoldoutError, WorkKind
from hwdiag.estimate.types import Width
from hwdiag.estimate.work import Constants
from hwdiag.experiment.net_count import Count

FILE = Path(__file__).parent / "constants.json"
ENOUGH = 10
"""Points of a class and a kind of work, without which the error of all work of its class is told."""


class Fitted(Value):
    """The constants of one class of devices, one kind of software, one width of numbers."""

    device_class: DeviceClass
    software: Software
    width: Width
    constants: Constants


class FittedConstants(Value):
    """All that was fitted."""

    fitted: tuple[Fitted, ...]
    evidence: tuple[HoldoutError, ...]
    points: int
    devices: int
    ranked: float
    """Share of the pairs of devices on the same work, more than 25 % apart, whose order is right without either."""
    held_out: dict[str, float]
    """Of each published point by its file's name: predicted over published speed, less one, its device left out."""


@cache
def fitted_constants() -> FittedConstants:
    """Return what comes with hwdiag."""
    return FittedConstants.model_validate_json(FILE.read_bytes())


@cache
def constants_of(device_class: DeviceClass, software: Software, width: Width) -> Constants:
    """Return the constants of this class."""
    wanted = (device_class, software, width)
    return next(f.constants for f in fitted_constants().fitted if (f.device_class, f.software, f.width) == wanted)


@cache
def evidence_of(device_class: DeviceClass, work: WorkKind) -> HoldoutError:
    """Return the narrowest evidence that has enough points: of the class and this work, the class, its wider group."""
    known = fitted_constants().evidence
    for group in (device_class, wider(device_class), "all devices"):
        for kind in (work, None):
            found = next((e for e in known if e.device_class == group and e.work == kind), None)
            if found is not None and found.points >= ENOUGH and found.devices > 2:
                return found
    return next(e for e in known if e.device_class == "all devices" and e.work is None)


def wider(device_class: DeviceClass) -> str:
    """Return the group of classes that a class belongs to."""
    if "CPU" in device_class:
        return "CPUs"
    return "datacenter GPUs" if device_class == "datacenter GPU" else "consumer GPUs and SoCs"


def work_kind(count: Count) -> WorkKind:
    """Return what most of a net's arithmetic is; ``decoding`` where each step reads all weights for a token."""
    if count.spec.phase == "decode":
        return "decoding"
    convolutions = sum(o.flops * o.times for o in count.operations if o.kind == "conv")
    return "convolutions" if convolutions > count.flops / 2 else "products"
