"""A small study, made up of round figures, and a host's GPU as NVML tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwdiag.devices.gains import claim_of
from hwdiag.devices.kernels import precision
from hwdiag.devices.model import Device, Study
from hwdiag.devices.nets import NETS
from hwdiag.experiment.ceilings import ceilings
from hwdiag.experiment.estimates import estimates
from hwdiag.experiment.judge import Claim
from hwdiag.experiment.lever import BASELINE, DEFAULT
from hwdiag.experiment.model import Measurement, Phase, Workload
from hwdiag.experiment.techniques import BY_NAME
from hwdiag.experiment.workloads import matmul
from hwdiag.process.model import Outcome

CPU = Device(name="cpu", title="Xeon E5-2680 v2", memory_bytes=64 << 30)
GPU = Device(name="cuda:0", title="NVIDIA GeForce RTX 3060", memory_bytes=12 << 30, capability="8.6")
OK = Outcome(kind="ok")
RESNET = NETS["resnet18"].workload("inference")
PRODUCT = matmul("float32", 4, 512).model_copy(update={"name": "matmul-512"})


def measured(
    plan: str, workload: str, seconds: float, *, block: int = 1, phase: Phase = "device", device: str = "cpu",
    outcome: Outcome = OK, **more: object,
) -> Measurement:  # fmt: skip
    """One process's measurement."""
    values = {
        "id": f"m{block}", "plan": plan, "workload": workload, "device": device, "phase": phase, "block": block,
        "process": block, "outcome": outcome, "seconds": (seconds,) if outcome.ok else (),
    }  # fmt: skip
    return Measurement.model_validate({**values, **more})


def pairs(
    technique: str, ratio: float, *, workload: str = RESNET.name, count: int = 9, phase: Phase = "confirm",
    default: bool = True, **more: Any,
) -> list[Measurement]:  # fmt: skip
    """So many blocks in which the default takes 10 ms, and a technique as much as its ratio says.

    Without ``default`` only the technique's processes, to be added to blocks that have it.
    """
    found = []
    for block in range(count):
        wobble = 1 + 0.002 * (block % 3)
        if default:
            found.append(measured(BASELINE, workload, 0.01 * wobble, block=block, phase=phase))
        found.append(measured(technique, workload, 0.01 / ratio, block=block, phase=phase, **more))
    return found


def planned(*techniques: str, workload: Workload = RESNET, device: Device = CPU) -> list[Claim]:
    """That each of these techniques is faster than going without it."""
    return [claim_of(BY_NAME[name], workload, device) for name in techniques]


def study(
    measurements: Sequence[Measurement] = (), workloads: Sequence[Workload] = (), devices: Sequence[Device] = (CPU,),
    **more: object,
) -> Study:  # fmt: skip
    """A study of these measurements."""
    known = tuple(workloads) or (PRODUCT, precision("fp32", 768), precision("bf16", 768))
    seen = measurements or [
        measured("default", w.name, w.flops / rate / 1e9, block=block, max_error=1e-6)
        for block in range(3)
        for w, rate in zip(known, (100, 100, 400), strict=True)
    ]
    of_known = [m for m in seen if m.workload in {w.name for w in known}]
    return Study.model_validate(
        {
            "started_at": "2026-11-20T20:00:00Z", "cpu": "Xeon E5-2680 v2", "software": "2.13.0", "budget": "standard",
            "seed": 1, "min_effect": 0.03, "devices": tuple(devices), "workloads": known,
            "plans": (DEFAULT, *(t.plan for t in BY_NAME.values())), "measurements": tuple(seen),
            "estimates": estimates(seen), "ceilings": ceilings(of_known, known), **more,
        }
    )  # fmt: skip
