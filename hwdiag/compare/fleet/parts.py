"""Parts of a machine: what it is in words, and what differs from before or from others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hwdiag.compare.fleet.model import Remark
from hwdiag.record.row import RecordRow
from hwdiag.report.format import size

DIMM = 0.025
"""Share of the memory from which on its lack is told: one of 32 modules is 3 %, and kernels of one version reserve
alike to within 1 %."""


def same_cores(first: RecordRow, second: RecordRow) -> bool:
    """Return whether two machines have the same processors."""
    return cores_of(first) == cores_of(second)


def cores_of(row: RecordRow) -> tuple[str | None, int | None, int | None, int | None]:
    """Return the processors of a machine: model, sockets, cores and threads."""
    i = row.identity
    return (i.cpu, i.sockets, i.cores, i.threads)


def machine_text(row: RecordRow) -> str:
    """Return what a machine is: ``2x AMD EPYC 9654, 192 cores, 755 GiB, 8x NVIDIA H100``."""
    i = row.identity
    cpu = f"{i.sockets}x {i.cpu or 'unknown CPU'}" if i.sockets and i.sockets > 1 else i.cpu or "unknown CPU"
    told = [cpu, f"{i.cores} cores" if i.cores else "", size(i.memory_bytes) if i.memory_bytes else "", gpu_text(row)]
    return ", ".join(filter(None, told))


def gpu_text(row: RecordRow) -> str:
    """Return the GPUs: ``8x NVIDIA H100``; empty for none."""
    return " + ".join(f"{n}x {name}" for name, n in sorted(Counter(row.gpus).items()))


def changed_parts(before: RecordRow, after: RecordRow) -> Iterator[Remark]:
    """Yield which parts of one host are others than in the record before."""
    between = f"between {before.started_at} and {after.started_at}"

    def told(text: str, *, lost: bool = False) -> Remark:
        return Remark(
            kind="parts", severity="problem" if lost else "note", text=f"{text} {between}", since=after.started_at
        )

    if None in (before.identity.sockets, after.identity.sockets):
        return  # one of an old form, which says little of its machine
    if before.identity.cpu != after.identity.cpu or before.identity.sockets != after.identity.sockets:
        yield told(f"processor changed: {before.cpu} -> {after.cpu}")
    elif (before.identity.cores, before.identity.threads) != (after.identity.cores, after.identity.threads):
        fewer = (after.identity.threads or 0) < (before.identity.threads or 0)
        yield told(f"CPUs: {before.identity.threads} -> {after.identity.threads}", lost=fewer)
    if less_memory(before.memory_bytes, after.memory_bytes):
        yield told(f"memory: {size(before.memory_bytes)} -> {size(after.memory_bytes)}", lost=True)
    elif less_memory(after.memory_bytes, before.memory_bytes):
        yield told(f"memory: {size(before.memory_bytes)} -> {size(after.memory_bytes)}")
    if Counter(before.gpus) != Counter(after.gpus):
        text = f"GPUs: {gpu_text(before) or 'none'} -> {gpu_text(after) or 'none'}"
        yield told(text, lost=len(after.gpus) < len(before.gpus))


def less_memory(one: float | None, other: float | None) -> bool:
    """Return whether the second has less memory than the first, by a module or more."""
    return bool(one and other) and (other or 0) < (one or 0) * (1 - DIMM)
