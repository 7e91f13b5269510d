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
    if waited.workers and not waited.hidden and waited.looks:
        if waited.low >= INPUT_BOUND:
            return "input-bound"
        return "not input-bound" if waited.high < INPUT_BOUND else "undecided"
    if waited.stacks is not None:
        return "input-bound" if waited.stacks >= INPUT_BOUND else "not input-bound"
    return "unknown"


def verdict(waited: TrainingWaits, failed: str = "") -> str:
    """Return the verdict in one sentence.

    What failed did not do the work by which it would be judged: it is never called "not input-bound".
    """
    word = bound(waited)
    who = f"PID {waited.pid} ({waited.words})"
    if failed and word != "input-bound":
        return (
            f"Whether {who} is input-bound cannot be told: it was looked at for {waited.seconds:.1f} s, and the "
            f"command failed: {failed}. 'hwdiag explain -- COMMAND' says why it failed."
        )
    if word == "unknown":
        return f"Whether {who} is input-bound cannot be told: {why_unknown(waited)}."
    if waited.workers and not waited.hidden and waited.looks:
        share, interval = waited.share, f" ({waited.low:.0%} to {waited.high:.0%})"
        what = "waits for data"
    else:
        share, interval = waited.stacks or 0.0, ""
        what = "is in its DataLoader"
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
    return f"{own}; {waited.stacks_why or 'its stacks would tell'}"


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
        found.append(f"Its main thread is within the DataLoader in {waited.stacks:.0%} of its stacks (py-spy).")
    return found
