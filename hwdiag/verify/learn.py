"""Learning: the measurements of a reference, which later verifications are held against."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from hwdiag.core.errors import HwdiagError
from hwdiag.core.text import now, plural
from hwdiag.experiment.estimates import estimates
from hwdiag.experiment.lever import BASELINE
from hwdiag.experiment.model import Measurement, Workload
from hwdiag.experiment.statistics import MIN_PAIRS
from hwdiag.experiment.workloads import SMALLEST_ARRAY, matmul, memory_workloads, resnet18
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.parameters.verify import VerifyParams
from hwdiag.process.software import probe_software
from hwdiag.record.model import Record
from hwdiag.verify.model import Reference
from hwdiag.verify.speeds import measure
from hwdiag.workbook.records import record_of

PROCESSES = 20
"""Twice as many as a verification, so that its own are what it is uncertain by."""
SECONDS = 240.0
CACHE_TIMES = 2
"""The arrays of the triad together hold at least so many times the last-level caches, so that a sweep over them finds
next to nothing there. STREAM takes six times as much; to fill that takes longer than all else in a process."""
LARGEST_BYTES = 4 * 2**30
"""Of a workload's operands: to fill more takes too much of a verification's time."""


def micro_workloads(host: Host) -> tuple[Workload, ...]:
    """Return the workloads that a verification has time for: compute, memory, and a net that uses both."""
    product = matmul("float32", 4, n=1024)
    able = (short_triad(host), product.model_copy(update={"name": "matmul-1024"}), resnet18())
    return tuple(w for w in able if w.bytes <= LARGEST_BYTES)


def short_triad(host: Host) -> Workload:
    """Return the triad over smaller arrays than a search takes, under a name of its own as its rate may differ."""
    _, triad = memory_workloads(host)
    wanted = max(SMALLEST_ARRAY, CACHE_TIMES * host.cpu.llc_bytes // 3) // 8
    elements = min(triad.size["elements"], wanted)
    return triad.model_copy(
        update={
            "name": "triad-short",
            "title": f"Memory triad a = b + s c, float64, arrays of {elements * 8 / 2**20:.0f} MiB",
            "size": {"elements": elements},
            "flops": 2 * elements,
            "bytes": 24 * elements,
            "note": None,
        }
    )


def learn(params: VerifyParams, doing: Callable[[str], None]) -> Record:
    """Measure this host's reference speeds and return them as a record.

    Raises:
        HwdiagError: too few processes ended well.
    """
    started_at, host = now(), read_host(Root.live())
    python = params.python or sys.executable
    doing("asking the interpreter what it has")
    software = probe_software(python)
    if not software.outcome.ok:
        raise HwdiagError(f"{python} cannot measure: {software.outcome.detail}")
    workloads = micro_workloads(host)
    doing(f"measuring {', '.join(w.name for w in workloads)} in {PROCESSES} fresh processes")
    measured = measure(python, host, workloads, SECONDS, PROCESSES).measurements
    study = reference(started_at, workloads, measured)
    least = min((e.seconds.processes for e in study.estimates), default=0)
    if least < MIN_PAIRS or len(study.estimates) < len(workloads):
        raise HwdiagError(
            f"only {plural(least, 'process', 'processes')} ended well in {SECONDS:g} s: {MIN_PAIRS} are needed"
        )
    name = params.name or ""
    verdict = f"Reference speeds of {', '.join(w.name for w in workloads)} for later verifications."
    return record_of("verify", study, host=host, verdict=verdict, software=software, name=name)


def reference(started_at: str, workloads: tuple[Workload, ...], measured: Sequence[Measurement]) -> Reference:
    """Return the study of these measurements, all of which are today's default."""
    plain = tuple(m.model_copy(update={"plan": BASELINE}) for m in measured)
    return Reference(started_at=started_at, workloads=workloads, measurements=plain, estimates=estimates(plain))
