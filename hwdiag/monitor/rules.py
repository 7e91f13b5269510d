"""Rules on a recording of the machine: what is wrong, in plain sentences, and nothing that it did not see."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import plural
from hwdiag.host.activity import Activity
from hwdiag.host.gpu import reason_names
from hwdiag.host.model import Gpu, Host
from hwdiag.monitor.model import COMMAND_FAILED, Monitored, Summary
from hwdiag.monitor.recording import read_columns
from hwdiag.process.gpu_symptoms import ALARMS, BUSY, REASONS, Answer, trouble
from hwdiag.process.symptoms import Seen, gpu_clocks, swapping

IDLE_GPU = 50
"""Percent of utilisation that a GPU stays below, on average, where a command is said to leave it idle."""
WAITED = 1.0
"""Percent of the time waited for memory, or stopped by a quota or a hypervisor, from which on it is worth a word."""
WAITED_MUCH = 10.0
WAITED_IO = 20.0
"""The same for disks, where some waiting is usual."""
WAITED_CPU = 20.0
"""The same for CPUs: a program that ends its turn early waits now and then on an idle machine, too."""
CROWDED = 1.5
"""Threads that run or want to, over CPUs, from which on they are in each other's way."""
ASKED = (-signal.SIGINT, 128 + signal.SIGINT)
"""Exit statuses of a command that a person ended by Ctrl-C."""
MISSED = 0.01
"""Share of pages from another node than wanted from which on it is worth a word."""


class Summarised(Protocol):
    """Samples by their summaries: a whole recording, or the last samples while it is made."""

    @property
    def cpus(self) -> int: ...
    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def summaries(self) -> tuple[Summary, ...]: ...
    def summary(self, name: str) -> Summary | None: ...


def answers(done: Monitored, path: Path, host: Host) -> tuple[Answer, ...]:
    """Return the findings and checks of a recording."""
    seen = Seen(host=host, activity=activity_of(done, path, host), others={})
    asked = (
        *ended(done),
        *crowding(done),
        *(gpu_clocks(seen) if seen.activity.gpus else ()),
        *(swapping(seen) if done.summary("swap.in") else ()),
        *(trouble(gap) for gap in done.lost if gap.kind),
        *throttling(done, path),
        *idle_gpus(done),
        *waiting(done),
        *nodes(done),
    )
    return tuple(a.model_copy(update={"evidence": (path.name,)}) if isinstance(a, Finding) else a for a in asked)


def activity_of(done: Monitored, path: Path, host: Host) -> Activity:
    """Return the recording as the activity that the symptoms look at: the sums of it, and each GPU when it was
    busiest."""
    swapped, stall = done.summary("swap.in"), done.summary("pressure.memory.some")
    pages = None if swapped is None else round(swapped.mean * done.seconds / os.sysconf("SC_PAGE_SIZE"))
    return Activity(
        seconds=done.seconds,
        swapped_in_pages=pages,
        memory_stall=None if stall is None else min(stall.mean / 100, 1.0),
        gpus=tuple(g for g in (busiest(gpu, done, path) for gpu in host.gpus) if g is not None),
    )


def busiest(gpu: Gpu, done: Monitored, path: Path) -> Gpu | None:
    """Return this GPU at the moment of its highest utilisation; None where that was not told."""
    names = [c.name for c in done.columns if c.name.startswith(f"gpu{gpu.index}.")]
    values = {name.partition(".")[2]: column for name, column in read_columns(path, names)}
    use = values.get("use")
    if use is None or np.isnan(use).all():
        return None
    at = int(np.nanargmax(use))
    then = {name: float(column[at]) for name, column in values.items() if not np.isnan(column[at])}
    return gpu.model_copy(
        update={
            "utilization": round(then["use"]),
            "sm_mhz": then.get("clock"),
            "power_w": then.get("power"),
            "temperature_c": then.get("temperature"),
            "throttle_reasons": reason_names(gpu.vendor, int(then.get("reasons", 0))),
        }
    )


def throttling(done: Monitored, path: Path) -> Iterator[Answer]:
    """Yield a finding for each GPU that was slowed down, with its share of the working time, and why."""
    for gpu in done.gpus:
        columns = dict(read_columns(path, names_of(done, f"gpu{gpu.index}.use", f"gpu{gpu.index}.reasons")))
        if len(columns) < 2:
            continue
        yield from slowed(gpu, *columns.values())


def slowed(gpu: Gpu, use: Any, reasons: Any) -> Iterator[Finding]:
    """Yield a finding for each reason that slowed a GPU down while it worked, with its share of the samples."""
    busy = reasons[(use >= BUSY) & ~np.isnan(reasons)].astype(int)
    for name in ALARMS:
        share = float(np.mean([name in reason_names(gpu.vendor, int(b)) for b in busy])) if len(busy) else 0.0
        if share > 0:
            yield Finding(
                id=f"gpu-slowed:GPU {gpu.index}:{name.replace(' ', '-')}",
                severity="warning",
                title=f"GPU {gpu.index} ({gpu.name}) was slowed down in {share:.0%} of the samples in which it "
                f"worked: {name}",
                detail=f"{REASONS[name]}. {plural(len(busy), 'sample')} at {BUSY} % utilisation or more.",
            )


def idle_gpus(done: Monitored) -> Iterator[Answer]:
    """Yield a finding where a command left a GPU idle."""
    if not done.command:
        return
    for gpu in done.gpus:
        use = done.summary(f"gpu{gpu.index}.use")
        if use is None:
            continue
        told = f"a kernel ran in {use.mean:.0f} % of the time on average, {use.median:.0f} % in the middle"
        if use.most == 0:
            yield Check(
                id=f"gpu-idle:GPU {gpu.index}",
                state="fine",
                title=f"GPU {gpu.index} was not used",
                detail="no kernel ran on it while the command did",
            )
        elif use.mean < IDLE_GPU:
            yield Finding(
                id=f"gpu-idle:GPU {gpu.index}",
                severity="note",
                title=f"GPU {gpu.index} ({gpu.name}) was idle most of the time: {told}",
                detail="The recording does not show why. 'hwdiag profile -- COMMAND' does: input, launches or copies.",
            )
        else:
            yield Check(id=f"gpu-idle:GPU {gpu.index}", state="fine", title=f"GPU {gpu.index} was at work", detail=told)


def ended(done: Monitored) -> Iterator[Answer]:
    """Yield whether the command ended well."""
    if done.command and done.outcome and done.status not in ASKED:
        by_itself = done.status is not None
        yield Finding(
            id=COMMAND_FAILED,
            severity="problem" if by_itself else "note",
            title=f"The command {'failed' if by_itself else 'did not end by itself'}: {done.outcome}",
            detail="A recording of the machine does not show why; its last output may. 'hwdiag explain -- COMMAND' "
            "runs it again and names the limit, the signal or the message.",
        )
    elif done.command and done.status == 0:
        yield Check(id=COMMAND_FAILED, state="fine", title="The command's end", detail="exit status 0")


def crowding(done: Summarised) -> Iterator[Answer]:
    """Yield whether more threads wanted to run than there are CPUs."""
    waited, running = done.summary("pressure.cpu.some"), done.summary("cpu.running")
    if waited is None and running is None:
        return
    share = None if waited is None else f"{waited.mean:.0f} % of the time"
    threads = None if running is None else f"{running.mean:.1f} threads wanted to run on {plural(done.cpus, 'CPU')}"
    told = "; ".join(words for words in (share, threads) if words)
    who = "'hwdiag explain -- COMMAND' names them." if done.command else "'top -H' shows whose they are."
    crowded = running is None or running.mean >= CROWDED * max(1, done.cpus)
    waits = waited is None or waited.mean >= WAITED_CPU
    if crowded and waits:
        yield Finding(
            id="waited:pressure.cpu.some",
            severity="note" if waited is not None and waited.mean < 2 * WAITED_CPU else "warning",
            title=f"Programs waited for a CPU: {told}",
            detail="More threads than CPUs are in each other's way: those of several programs, or too many of one. "
            f"{who}",
        )
    else:
        yield Check(id="waited:pressure.cpu.some", state="fine", title="Waiting for CPUs", detail=told)


def waiting(done: Summarised) -> Iterator[Answer]:
    """Yield findings where programs waited for memory, disks, a quota or a hypervisor."""
    questions = (
        (
            "pressure.memory.some", "Waiting for memory", WAITED, "Programs waited for memory",
            "More memory than there is was wanted: a smaller batch, fewer worker processes or fewer programs at the "
            "same time help.",
        ),
        (
            "pressure.io.some", "Waiting for disks", WAITED_IO, "Programs waited for disks",
            "Data that comes from a faster disk, or that is read ahead by more worker processes, is waited for less.",
        ),
        (
            "cgroup.stopped", "CPU quota", WAITED, "Its CPU quota stopped it",
            "Over all its CPUs. Fewer threads than the quota has CPUs are not stopped.",
        ),
        (
            "cpu.steal", "Time that the hypervisor took", WAITED, "The hypervisor gave the CPUs to others",
            "Times measured here differ for that; only who runs the host can change it.",
        ),
    )  # fmt: skip
    for column, question, least, title, detail in questions:
        summary = done.summary(column)
        if summary is None:
            continue
        share = f"{summary.mean:.1f} % of the time, {summary.p95:.0f} % at the 95th percentile"
        if summary.mean >= least:
            severity = "warning" if summary.mean >= max(WAITED_MUCH, 2 * least) else "note"
            yield Finding(id=f"waited:{column}", severity=severity, title=f"{title}: {share}", detail=detail)
        else:
            yield Check(id=f"waited:{column}", state="fine", title=question, detail=share)


def nodes(done: Summarised) -> Iterator[Answer]:
    """Yield a finding where memory came from another NUMA node than wanted."""
    misses = [s for s in done.summaries if s.name.endswith(".misses")]
    hits = [s for s in done.summaries if s.name.endswith(".hits")]
    missed, all_of_them = sum(s.mean for s in misses), sum(s.mean for s in (*misses, *hits))
    if len(misses) < 2 or not all_of_them:
        return
    share = missed / all_of_them
    if share >= MISSED:
        yield Finding(
            id="numa-misses",
            severity="note",
            title=f"{share:.0%} of new memory came from another NUMA node than wanted",
            detail="The wanted node was full. Bind to a node with free memory, or interleave.",
        )
    else:
        title = "Memory came from the wanted NUMA nodes"
        yield Check(id="numa-misses", state="fine", title=title, detail=f"{1 - share:.1%} of it")


def names_of(done: Monitored, *names: str) -> list[str]:
    """Return those of these columns that were recorded."""
    have = {c.name for c in done.columns}
    return [name for name in names if name in have]
