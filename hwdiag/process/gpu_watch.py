"""The GPUs while something is measured: their clocks, reasons for a low one, power, and their use before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median

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
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> GpuWatch:
        if self._look is None:
            gpus = self._held.enter_context(open_gpus(Root.live()))
            self._look = lambda: gpus.read()[0]
        self._seen.append(self._look())
        if self._seen[0]:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._held.close()

    def _watch(self) -> None:
        assert self._look is not None
        while not self._over.wait(EVERY_S):
            self._seen.append(self._look())

    def found(self) -> tuple[GpuMeanwhile, ...]:
        """Return what each GPU did that did something."""
        before, *then = [*self._seen]
        return tuple(
            meanwhile(first, mine)
            for first in before
            if (mine := [g for gpus in then for g in gpus if g.index == first.index and g.utilization])
        )


def meanwhile(before: Gpu, then: Sequence[Gpu]) -> GpuMeanwhile:
    """Return the summary of one GPU, of the moments at which it worked."""
    clocks = [g.sm_mhz for g in then if g.sm_mhz is not None]
    watts = [g.power_w for g in then if g.power_w is not None]
    reasons = dict.fromkeys(reason for g in then for reason in g.throttle_reasons)
    return GpuMeanwhile(
        index=before.index,
        name=before.name,
        looks=len(then),
        mhz=median(clocks) if clocks else None,
        least_mhz=min(clocks, default=None),
        max_mhz=before.sm_max_mhz,
        watts=max(watts, default=None),
        reasons=tuple(reasons),
        used_before=before.utilization,
    )
