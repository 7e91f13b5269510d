"""Probe of the input: the share of a training's time in which it waits for data, or makes them itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hwdiag.core.finding import Check, Finding
from hwdiag.explain.model import Answer, Case
from hwdiag.process.observation.inside_model import INPUT, InsideReport, ThreadActivity
from hwdiag.process.observation.model import ObservedProcess
from hwdiag.process.observation.waiting_model import TrainingWaits
from hwdiag.report.format import clean, percent

WORTH = 0.05
"""Share of the time from which on faster input could win 5 % and more."""
MUCH = 0.2
LEAST_LOOKS = 100
LEAST_S = 2.0
WIDEST = 0.4
"""An interval of the share that is wider says too little."""
BUSY_WORKER = 0.8
"""CPUs that one worker uses, from which on it has hardly time for anything else."""
DISK_WORKER = 0.2
OWN, WORKERS, LIBRARY = "input", "input: workers", "input: library"


def look(case: Case) -> Iterator[Answer]:
    """Yield whether each training is input-bound, from inside where it was looked at there."""
    told = False
    for report in case.program.inside:
        loop = report.loop
        if loop is None or not (report.loaders or loop.input):
            continue
        told = True
        yield from judged(case, report, loop)
    seen = {r.pid for r in case.program.inside if r.loop is not None}
    for waited in case.program.waits:
        if waited.pid in seen or waited.looks < LEAST_LOOKS:
            continue
        if waited.workers:
            told = True
            yield from from_outside(case, waited)
        elif waited.stacks is not None:
            told = True
            yield from by_stacks(case, waited, waited.stacks)
    if not told:
        none = (w.stacks_why for w in case.program.waits if w.stacks_why)
        why = (
            next(none, "")
            or case.program.inside_note
            or "no training was seen that takes data from a DataLoader, or makes them itself"
        )
        yield Check(id="input-bound", state="unchecked", title="Whether it waits for data", detail=why)


def judged(case: Case, report: InsideReport, loop: ThreadActivity) -> Iterator[Answer]:
    """Yield the verdict on one process that was looked at from inside."""
    title = f"Whether PID {report.pid} waits for data"
    if loop.looks < LEAST_LOOKS or loop.seconds < LEAST_S or loop.high - loop.low > WIDEST:
        why = f"too little was seen of its loop: {loop.looks} looks in {loop.seconds:.1f} s"
        yield Check(id=f"input-bound:{report.pid}", state="unchecked", title=title, detail=why)
        return
    interval = f"{loop.low:.0%} to {loop.high:.0%}"
    if loop.low < WORTH or loop.input < WORTH:
        if loop.high >= WORTH:
            why = f"undecided: {loop.input:.0%} of its loop is input ({interval})"
            yield Check(id=f"input-bound:{report.pid}", state="unchecked", title=title, detail=why)
        else:
            yield Check(
                id=f"input-bound:{report.pid}",
                state="fine",
                title=f"PID {report.pid} is not input-bound: {percent(loop.input)} of its loop is input ({interval})",
            )
        return
    process = next((p for p in case.program.processes if p.pid == report.pid), None)
    waited = next((w for w in case.program.waits if w.pid == report.pid), None)
    yield Finding(
        id=f"input-bound:{report.pid}",
        severity="warning" if loop.input >= MUCH else "note",
        title=f"Input-bound: PID {report.pid} spends {percent(loop.input)} of its loop on data ({interval}), "
        f"{what(loop.shares)}",
        detail=f"{gain(loop.input)} {remedy(case, report, loop, process, waited)}",
        evidence=("program.inside",),
    )


def gain(share: float) -> str:
    """Return how much faster input could make it at most."""
    return (
        f"Faster input could make it {1 / (1 - share):.2f}x as fast at most." if share < 1 else "It does nothing else."
    )


def what(shares: Mapping[str, float]) -> str:
    """Return where the data are made, by the kind of input that takes longest."""
    kind = max((k for k in shares if k.startswith(INPUT)), key=shares.__getitem__)
    if kind == WORKERS:
        return "waiting for its DataLoader's workers"
    if kind == OWN:
        return "loading them in its own process, in the DataLoader, while nothing is computed"
    if kind == LIBRARY:
        return "in a library that reads or decodes them"
    return f"in {clean(kind[len(INPUT) + 2 :])}"


def remedy(
    case: Case,
    report: InsideReport,
    loop: ThreadActivity,
    process: ObservedProcess | None,
    waited: TrainingWaits | None,
) -> str:
    """Return what to do, by who makes the data."""
    cpus = len(process.allowed) if process is not None else len(case.program.own_allowed)
    count = max(1, min(cpus, 8))
    hot = next((name for name, share in loop.places.items() if share >= MUCH and "__getitem__" in name), "")
    place = f" Most of it is in {clean(hot)}: less work there, or a cache of what it makes, helps too." if hot else ""
    workers = max((loader.workers or 0 for loader in report.loaders), default=0)
    if not report.loaders:
        return (
            "It has no DataLoader: put what makes the data into a torch.utils.data.Dataset, and let "
            f"'DataLoader(..., num_workers={count})' make them in processes of their own meanwhile."
        )
    if not workers:
        return (
            f"Its DataLoader has no workers: 'DataLoader(..., num_workers={count}, persistent_workers=True)' makes the "
            f"data in processes of their own meanwhile; {cpus} CPUs are there for them and the training.{place}"
        )
    return workers_remedy(workers, cpus, waited)


def workers_remedy(workers: int, cpus: int, waited: TrainingWaits | None) -> str:
    """Return what to do where workers make the data."""
    if waited is not None and (waited.worker_disk or 0) >= DISK_WORKER:
        return (
            f"Its {workers} workers wait for files at {waited.worker_disk:.0%} of the looks: the storage is slow. Put "
            "the data on a local disk or into few large files, or use more workers, so that more reads are under way."
        )
    if waited is not None and waited.worker_cpu is not None and waited.worker_cpu < BUSY_WORKER and workers < cpus:
        return (
            f"Each of its {workers} workers uses {waited.worker_cpu:.2f} CPUs: they wait for a network, a lock or a "
            f"CPU. Try more of them ('num_workers={cpus}') and 'prefetch_factor=4'."
        )
    if workers < cpus:
        return f"Its {workers} workers are fewer than the {cpus} CPUs: use more workers, 'num_workers={cpus}'."
    return (
        f"Its {workers} workers have no more than {cpus} CPUs: less work for each sample helps (a cache, smaller or "
        "already decoded files, a faster decoder); more workers do not."
    )


def by_stacks(case: Case, waited: TrainingWaits, share: float) -> Iterator[Answer]:
    """Yield the verdict on one training without workers, by the stacks that py-spy read: a half more or less is taken,
    since it looks as often while nothing is computed."""
    name = f"input-bound:{waited.pid}"
    if share / 1.5 >= WORTH:
        process = next((p for p in case.program.processes if p.pid == waited.pid), None)
        cpus = len(process.allowed) if process is not None else len(case.program.own_allowed)
        yield Finding(
            id=name,
            severity="warning" if share >= MUCH else "note",
            title=f"Input-bound: PID {waited.pid} is within its DataLoader {percent(share)} of the time, in its own "
            "process, while nothing is computed",
            detail=f"{gain(share)} Its DataLoader has no workers: 'DataLoader(..., num_workers={max(1, min(cpus, 8))}, "
            "persistent_workers=True)' makes the data in processes of their own meanwhile.",
            evidence=("program.waits",),
        )
    elif share * 1.5 < WORTH:
        title = f"PID {waited.pid} is not input-bound: it is within a DataLoader {percent(share)} of the time"
        yield Check(id=name, state="fine", title=title, detail="by its stacks, which py-spy read")
    else:
        why = f"undecided: it is within its DataLoader {percent(share)} of the time by its stacks. Look longer."
        yield Check(id=name, state="unchecked", title=f"Whether PID {waited.pid} waits for data", detail=why)


def from_outside(case: Case, waited: TrainingWaits) -> Iterator[Answer]:
    """Yield the verdict on one training with workers that was looked at from outside alone."""
    if waited.hidden:
        return
    interval = f"{waited.low:.0%} to {waited.high:.0%}"
    name = f"input-bound:{waited.pid}"
    if waited.low >= WORTH:
        process = next((p for p in case.program.processes if p.pid == waited.pid), None)
        cpus = len(process.allowed) if process is not None else len(case.program.own_allowed)
        yield Finding(
            id=name,
            severity="warning" if waited.share >= MUCH else "note",
            title=f"Input-bound: PID {waited.pid} waits for its workers {percent(waited.share)} of the time "
            f"({interval})",
            detail=f"{gain(waited.share)} {workers_remedy(waited.workers, cpus, waited)}",
            evidence=("program.waits",),
        )
    elif waited.high < WORTH:
        title = (
            f"PID {waited.pid} is not input-bound: it waits for data {percent(waited.share)} of the time ({interval})"
        )
        yield Check(id=name, state="fine", title=title)
    else:
        why = f"undecided: it waits for data {waited.share:.0%} of the time ({interval})"
        yield Check(id=name, state="unchecked", title=f"Whether PID {waited.pid} waits for data", detail=why)
