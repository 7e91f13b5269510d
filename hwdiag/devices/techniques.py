"""Applicability of techniques: the nets, modes and devices in which one can change anything."""

from __future__ import annotations

from hwdiag.devices.model import Device
from hwdiag.devices.nets import NETS
from hwdiag.experiment.model import Workload
from hwdiag.experiment.techniques import Technique


def applies(technique: Technique, workload: Workload, device: Device) -> bool:
    """Return whether a technique can change anything there."""
    net = NETS[workload.what or ""]
    here = technique.cpu if device.is_cpu else technique.accelerator
    return (
        here
        and (not technique.cuda or device.name.startswith("cuda"))
        and workload.kind in technique.modes
        and (not technique.needs or bool(getattr(net, technique.needs)))
        and technique.copies_inputs == bool(workload.size.get("copies_inputs"))
        and (workload.kind != "training" or technique.name != "accumulation" or workload.size["batch"] % 4 == 0)
    )
