"""Window: the last samples of a recording that is still made, as the rules look at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwdiag.core.finding import Finding
from hwdiag.host.model import Gpu
from hwdiag.host.source import Column
from hwdiag.monitor.model import Summary
from hwdiag.monitor.recording import summary_of
from hwdiag.monitor.rules import crowding, nodes, slowed, waiting

LEAST = 10
"""Samples from which on the rules look at them."""


@dataclass(frozen=True)
class Window:
    """The last samples."""

    columns: Sequence[Column]
    samples: Sequence[Sequence[float]]
    cpus: int
    gpus: Sequence[Gpu] = ()
    command: tuple[str, ...] = ()

    def values(self, name: str) -> np.ndarray | None:
        """Return one column's values; None where there is no such column."""
        at = next((i for i, c in enumerate(self.columns) if c.name == name), None)
        return None if at is None else np.array([sample[at] for sample in self.samples], dtype=float)

    def summary(self, name: str) -> Summary | None:
        """Return the summary of one column; None where nothing was reported."""
        column = next((c for c in self.columns if c.name == name), None)
        values = self.values(name)
        return None if column is None or values is None else summary_of(column, values)

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """Return the summaries of the columns about NUMA nodes, the only ones that a rule goes through."""
        names = (c.name for c in self.columns if c.name.endswith((".hits", ".misses")))
        return tuple(s for s in map(self.summary, names) if s is not None)

    def findings(self) -> tuple[Finding, ...]:
        """Return what is wrong now; nothing where there are too few samples to say."""
        if len(self.samples) < LEAST:
            return ()
        asked = (*crowding(self), *waiting(self), *nodes(self), *self.slowed_gpus())
        return tuple(a for a in asked if isinstance(a, Finding))

    def slowed_gpus(self) -> Iterator[Finding]:
        """Yield a finding for each GPU that was slowed down."""
        for gpu in self.gpus:
            use, reasons = (self.values(f"gpu{gpu.index}.{kind}") for kind in ("use", "reasons"))
            if use is not None and reasons is not None:
                yield from slowed(gpu, use, reasons)
