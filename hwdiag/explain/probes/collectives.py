"""Probe of a training in several ranks: how long each waits in collectives, and for which."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import capitalised, listed
from hwdiag.explain.cpu_use import cpu_use
from hwdiag.explain.model import Answer, Case
from hwdiag.process.observation.inside_model import InsideReport
from hwdiag.report.format import percent

MUCH = 0.1
"""Share of the time in collectives that is worth a word."""
APART = 0.15
"""By so much of the time one rank waits less than the others, from which on it is the slow one."""
CROWDED_OUT = 0.9
"""Share of the time without a CPU from which on a rank that comes late says nothing about the rank."""
MOST_NAMED = 4


def look(case: Case) -> Iterator[Answer]:
    """Yield how long the ranks wait for each other, or that they hardly do."""
    told = [(waits(r), r) for r in case.program.inside if r.traced and (is_in_its_loop(r) or waits(r) >= MUCH)]
    if not told:
        return
    waited = cpu_use(case).wait_share
    if waited is not None and waited >= CROWDED_OUT:
        why = f"its threads waited for a CPU {percent(waited)} of the time in which they could run"
        yield Check(id="collectives", state="unchecked", title="Whether its ranks wait for each other", detail=why)
        return
    ranked = sorted(told, key=lambda pair: (-1 if pair[1].rank is None else pair[1].rank, pair[1].pid))
    shares = listed(f"{name(r)} {percent(share)}" for share, r in ranked[:MOST_NAMED])
    rest = f", and {len(ranked) - MOST_NAMED} more" if len(ranked) > MOST_NAMED else ""
    least, slow = min(told, key=lambda pair: pair[0])
    most = max(share for share, _ in told)
    if most < MUCH:
        title = f"Its ranks hardly wait in collectives: {shares}{rest} of the recorded time"
        yield Check(id="collectives", state="fine", title=title)
        return
    uneven = len(told) > 1 and most - least >= APART
    why = (
        f"{capitalised(name(slow))} waits least: the others wait for it. Look at its data, its CPUs and its part of "
        "the work first."
        if uneven
        else "They wait for the exchange itself, the network, or ranks that were not recorded."
    )
    yield Finding(
        id="collectives",
        severity="warning" if most >= 2 * MUCH else "note",
        title=f"In collectives, computing nothing meanwhile: {shares}{rest} of the recorded time"
        + (f"; {name(slow)} is the slow one" if uneven else ""),
        detail=f"{why} Fewer, larger exchanges help: 'no_sync()' with gradient accumulation, a larger "
        "'bucket_cap_mb', larger batches.",
        evidence=("program.inside",),
    )


def is_in_its_loop(report: InsideReport) -> bool:
    """Return whether a rank's recording has its loop in it: one that ended before says nothing of collectives."""
    return report.rank is not None and report.loop_s > 0


def waits(report: InsideReport) -> float:
    """Return the share of the recorded time in which it waits in collectives, or a GPU runs nothing else."""
    traced = report.traced
    if traced is None:
        return 0.0
    return max(traced.cpu.get("communication", 0.0), *(g.communicating for g in traced.gpus), 0.0)


def name(report: InsideReport) -> str:
    """Return what the process is called: its rank, where it has one."""
    return f"PID {report.pid}" if report.rank is None else f"rank {report.rank} of {report.world}"
