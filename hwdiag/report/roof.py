"""The roofline of a Record: the speed that the measured ceilings of a device allow a workload.

Williams, Waterman, Patterson, "Roofline: an insightful visual performance model" (CACM 2009): attainable FLOP/s are
the least of the compute ceiling and arithmetic intensity times the memory ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hwdiag.experiment.ceilings import Ceiling
from hwdiag.experiment.lever import BASELINE, Plan
from hwdiag.experiment.model import Estimate, Workload


class Rated(Protocol):
    """Speeds and ceilings of a Record, or of a study of devices."""

    @property
    def plans(self) -> tuple[Plan, ...]: ...
    @property
    def workloads(self) -> tuple[Workload, ...]: ...
    @property
    def estimates(self) -> tuple[Estimate, ...]: ...
    @property
    def ceilings(self) -> tuple[Ceiling, ...]: ...


@dataclass(frozen=True)
class Roof:
    """The ceilings of one device."""

    device: str
    compute: dict[str, Ceiling]
    """The highest one of each type of number, in FLOP/s."""
    memory: Ceiling | None
    """The highest one, in bytes/s, read plus written."""

    def attainable(self, workload: Workload) -> float | None:
        """Return the FLOP/s that the roof allows, or None where a ceiling is missing or the workload has no
        operations."""
        compute = self.compute.get(workload.dtype)
        if compute is None or self.memory is None or workload.flops <= 0 or workload.bytes <= 0:
            return None
        return min(compute.value, workload.intensity * self.memory.value)

    def share(self, workload: Workload, seconds: float) -> float | None:
        """Return the share of the ceiling that a workload of this time reaches, by bytes for memory and by operations
        otherwise."""
        if seconds <= 0:
            return None
        if workload.family == "memory":
            return None if self.memory is None else workload.bytes / seconds / self.memory.value
        attainable = self.attainable(workload)
        return None if attainable is None else workload.flops / seconds / attainable


def roof_of(record: Rated, device: str) -> Roof:
    """Return the highest measured ceilings of a device."""
    mine = sorted((c for c in record.ceilings if c.device == device and c.value > 0), key=lambda c: c.value)
    memory = [c for c in mine if c.kind == "memory"]
    return Roof(device, {c.dtype: c for c in mine if c.kind == "compute"}, memory[-1] if memory else None)


def default_estimates(record: Rated, device: str | None = None) -> list[tuple[Workload, Estimate]]:
    """Return each workload under today's default, in the order of the workloads, device by device."""
    if not record.plans:
        return []
    found = {(e.device, e.workload): e for e in record.estimates if e.plan == BASELINE}
    devices = dict.fromkeys(d for d, _ in found) if device is None else [device]
    return [(w, found[d, w.name]) for d in devices for w in record.workloads if (d, w.name) in found]
