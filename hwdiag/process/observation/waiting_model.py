"""The waits of a training process, seen from outside."""

from __future__ import annotations

from typing import Literal

from hwdiag.core.value import Value

Doing = Literal["data", "disk", "gpu", "waits", "computes"]
"""What a training's main thread does: waits for its workers, for a file, for a GPU, for something else, or runs."""
DOING: dict[Doing, str] = {
    "data": "waiting for data from its workers",
    "disk": "waiting for a file",
    "gpu": "waiting for a GPU",
    "waits": "waiting for something else, or asleep",
    "computes": "running",
}
"""The same in words."""


class TrainingWaits(Value):
    """The waits of one training process, seen from outside."""

    pid: int
    words: str
    """Its command line, short."""
    workers: int
    seconds: float
    looks: int
    shares: dict[Doing, float]
    """Of the looks at its main thread, 0..1."""
    low: float
    high: float
    """95 % interval of the share of the time in which it waits for data."""
    for_a_cpu: float | None = None
    """Share of the time in which its main thread could run and had no CPU."""
    worker_cpu: float | None = None
    """CPUs that one worker used, in the mean; near 1 it had no time to wait."""
    worker_disk: float | None = None
    """Share of the looks at which a worker waited for a file."""
    gpu: float | None = None
    """Use of the GPUs, 0..1, in the mean; None where there is none that tells."""
    stacks: float | None = None
    """Share of its loop's time in which it is within the DataLoader, by its stacks; None without them."""
    stacks_low: float | None = None
    stacks_high: float | None = None
    """95 % interval of that share; None where it is not known."""
    stacks_by: str = "py-spy"
    """What looked at its stacks."""
    stacks_why: str = ""
    """Why there are none."""
    hidden: str = ""
    """Why what its threads wait for is not known."""

    @property
    def share(self) -> float:
        """Return the share of the time in which it waits for data, 0..1."""
        return self.shares.get("data", 0.0) + self.shares.get("disk", 0.0)
