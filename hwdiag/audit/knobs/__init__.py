"""Host settings as data: one entry each. From the same entries come audit, findings, scripts and persistence."""

from __future__ import annotations

from hwdiag.audit.knobs import cpu, environment, gpu, io, limits, memory, network, scheduler, zfs
from hwdiag.audit.knobs.model import Knob, KnobCase

KNOBS: tuple[Knob, ...] = (
    *gpu.KNOBS,
    *cpu.KNOBS,
    *memory.KNOBS,
    *io.KNOBS,
    *zfs.KNOBS,
    *network.KNOBS,
    *scheduler.KNOBS,
    *limits.KNOBS,
    *environment.KNOBS,
)
"""In the order in which they are set."""

BY_ID = {knob.id: knob for knob in KNOBS}

__all__ = ["BY_ID", "KNOBS", "Knob", "KnobCase"]
