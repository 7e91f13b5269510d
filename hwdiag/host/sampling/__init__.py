"""Samples of what the machine is doing: columns of numbers from files that stay open, and from GPUs."""

from __future__ import annotations

import math
from typing import Any

from hwdiag.host.gpu import gpu_sources
from hwdiag.host.model import Gap
from hwdiag.host.root import Root
from hwdiag.host.sampling.kernel import KERNEL


class Sampler:
    """All that this machine tells, read in one go. What is missing stays out, with the reason in ``absent``."""

    def __init__(self, root: Root, *, nvml: Any = None) -> None:
        """Open all sources and read them once, so that the first sample has something to count from."""
        self.root = root
        self.absent: list[Gap] = []
        self.sources = [s for s in (make(root, self.absent) for make in KERNEL) if s is not None]
        self.sources += gpu_sources(root, self.absent, nvml)
        self.columns = tuple(c for s in self.sources for c in s.columns)
        self.read(math.nan)

    def read(self, elapsed: float) -> list[float]:
        """Return one sample, given the seconds since the last one."""
        values: list[float] = []
        for source in self.sources:
            try:
                values += source.read(elapsed)
            except (OSError, ValueError, IndexError) as error:  # it went away: a disk, a group, a module
                self.root.note(source.columns[0].name, f"could not be read at all times: {error}")
                values += [math.nan] * len(source.columns)
        return values

    def close(self) -> None:
        """Close all files and drivers."""
        for source in self.sources:
            source.close()
