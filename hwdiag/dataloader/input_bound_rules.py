"""Verdict on whether a running training is input-bound, with what speaks for it and what it cannot tell."""

from __future__ import annotations

from typing import Literal

from hwdiag.process.observation.waiting_model import TrainingWaits

INPUT_BOUND = 0.05
"""Share of the time from which on a training is called input-bound: faster input could win 5 % and more."""
BUSY_WORKER = 0.8
"""CPUs that one worker uses, from which on it has hardly time for anything else."""
DISK_WORKER = 0.2
CROWDED = 0.1
"""Share of the time without a CPU that is worth a word."""

Bound = Literal["input-bound", "not input-bound", "undecided", "unknown"]


def bound(waited: TrainingWaits) -> Bound:
    """Return whether faster input would make the training faster."""
    interval = share_interval(waited)
    if interval is None:
        return "unknown"
    low, high = interval
    if low >= INPUT_BOUND:
        return "input-bound"
    return "not input-bound" if high < INPUT_BOUND else "undecided"


def share_interval(waited: TrainingWaits) -> tuple[float, float] | None:
    """Return the interval of the share of the time that goes to data: by its stacks where they have one, by what its
    main thread waits for, else by its stacks alone, of which a half more or less is taken; None where nobody saw it."""
    if waited.stacks_low is not None and waited.stacks_high is not None:
        return waited.stacks_low, waited.stacks_high
    if by_waits(waited):
        return waited.low, waited.high
    return None if waited.stacks is None else (waited.stacks / 1.5, waited.stacks * 1.5)


def by_waits(waited: TrainingWaits) -> bool:
    """Return whether what its main thread waits for tells how long it waits for data."""
    return bool(waited.workers and not waited.hidden and waited.looks)


def verdict(waited: TrainingWaits, failed: str = "") -> str:
    """Return the verdict in one sentence.

    What failed did not do the work by which it would be judged: it is never called "not input-bound".
    """
    word = bound(waited)
    who = f"PID {waited.pid} ({waited.words})"
    if failed and word != "input-bound":
        return (
            f"Whether {who} is input-bound is not known: it was looked at for {waited.seconds:.1f} s, and the "
            f"command failed: {failed}. 'hwdiag explain -- COMMAND' says why it failed."
        )
    if word == "unknown":
        return f"Whether {who} is input-bound is not known: {why_unknown(waited)}."
    inside = waited.stacks_low is not None or not by_waits(waited)
    share = (waited.stacks or 0.0) if inside else waited.share
    what = "is in its DataLoader" if inside else "waits for data"
    low, high = share_interval(waited) or (0.0, 1.0)
    interval = "" if inside and waited.stacks_low is None else f" ({low:.0%} to {high:.0%})"
    if word == "undecided":
        return f"Undecided whether {who} is input-bound: it {what} {share:.0%} of the time{interval}. Look longer."
    most = f"{1 / (1 - share):.2f}x as fast" if share < 1 else "faster by any factor"
    gain = (
        f"faster input could make it {most} at most" if word == "input-bound" else "faster input wins hardly anything"
    )
    return f"{who} is {word}: it {what} {share:.0%} of the time{interval}; {gain}."


def why_unknown(waited: TrainingWaits) -> str:
    """Return what is missing for a verdict."""
    if waited.hidden:
        return f"{waited.hidden}; {waited.stacks_why or 'no stacks were seen'}"
    if not waited.looks:
        return "it ended before it could be looked at"
    own = "it has no DataLoader workers, so it loads by itself, and from outside loading looks like computing"
    return f"{own}; {waited.stacks_why or 'its stacks would show it'}"


def reasons(waited: TrainingWaits) -> list[str]:
    """Return the reasons for the verdict, and what to do."""
    found = []
    if waited.worker_cpu is not None and waited.workers:
        if waited.worker_cpu >= BUSY_WORKER:
            busy = "they have no time to wait: more workers, or less work for each sample (a cache, another decoder)"
        elif (waited.worker_disk or 0) >= DISK_WORKER:
            busy = f"and wait for files at {waited.worker_disk:.0%} of the looks: the storage is what is slow"
        elif bound(waited) == "input-bound":
            busy = "and wait mostly for something else than a disk: a network, a lock, or a CPU that is taken"
        else:
            busy = "the rest of the time they wait for the training"
        found.append(f"Each of its {waited.workers} workers uses {waited.worker_cpu:.2f} CPUs; {busy}.")
    if waited.for_a_cpu is not None and waited.for_a_cpu >= CROWDED:
        found.append(
            f"Its main thread could run and had no CPU {waited.for_a_cpu:.0%} of the time: too many run beside it."
        )
    if waited.gpu is not None:
        found.append(f"The GPUs had work {waited.gpu:.0%} of the time.")
    if waited.stacks is not None:
        found.append(
            f"Its loop is within the DataLoader {waited.stacks:.0%} of the time (its stacks, {waited.stacks_by})."
        )
    return found
