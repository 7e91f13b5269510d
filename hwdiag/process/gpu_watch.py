"""The GPUs while something is measured: their clocks, reasons for a low one, power, use before, and who else uses
them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from hwdiag.agent.tree import below
from hwdiag.host.gpu import open_gpus
from hwdiag.host.model import Gpu
from hwdiag.host.root import Root
from hwdiag.process.model import GpuMeanwhile

EVERY_S = 0.25

Look = Callable[[], Sequence[Gpu]]


class GpuWatch:
    """Looks at all GPUs a few times a second, from a thread of its own. Use it in a ``with`` statement."""

    def __init__(self, look: Look | None = None) -> None:
        """``look`` stands in for the drivers."""
        self._look, self._held = look, ExitStack()
        self._seen: list[Sequence[Gpu]] = []
        self._others: dict[int, set[int]] = {}
        """Ids of others' processes, by GPU; of one whose driver names none there is no entry."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> GpuWatch:
        if self._look is None:
            gpus = self._held.enter_context(open_gpus(Root.live()))
            self._look = lambda: gpus.read()[0]
        self._look_once()
        if self._seen[0]:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._held.close()

    def _watch(self) -> None:
        while not self._over.wait(EVERY_S):
            self._look_once()

    def _look_once(self) -> None:
        assert self._look is not None
        gpus = self._look()
        self._seen.append(gpus)
        for gpu in gpus:
            found = others(gpu.processes)
            if found is not None:
                self._others.setdefault(gpu.index, set()).update(found)

    def found(self) -> tuple[GpuMeanwhile, ...]:
        """Return what each GPU did that did something, or may have."""
        before, *then = [*self._seen]
        return tuple(
            meanwhile(first, mine, self._others.get(first.index))
            for first in before
            if (mine := [g for gpus in then for g in gpus if g.index == first.index and g.utilization != 0])
        )


def others(listed: Sequence[int] | None) -> set[int] | None:
    """Return those of the processes on a GPU that are neither this one nor below it; None where that is not known: none
    are listed, or none that this namespace has."""
    if listed is None:
        return None
    here = {pid for pid in listed if Path("/proc", str(pid)).exists()}
    if listed and not here:
        return None
    return here - {os.getpid()} - below(os.getpid())


def meanwhile(before: Gpu, then: Sequence[Gpu], others_: set[int] | None) -> GpuMeanwhile:
    """Return the summary of one GPU, of the moments at which it worked."""
    clocks = [g.sm_mhz for g in then if g.sm_mhz is not None]
    watts = [g.power_w for g in then if g.power_w is not None]
    reasons = dict.fromkeys(reason for g in then for reason in g.throttle_reasons)
    return GpuMeanwhile(
        index=before.index,
        name=before.name,
        uuid=before.uuid,
        looks=len(then),
        mhz=median(clocks) if clocks else None,
        least_mhz=min(clocks, default=None),
        max_mhz=before.sm_max_mhz,
        watts=max(watts, default=None),
        reasons=tuple(reasons),
        used_before=before.utilization,
        others=None if others_ is None else len(others_),
    )
