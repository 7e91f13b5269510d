"""Measuring many Launches fairly: interleaved, shuffled blocks of fresh child processes.

A block runs every Launch once, in an order drawn anew; a child runs all workloads, in an order drawn anew.
So drift of the machine meets all alike, and no workload always profits from what ran before it.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hwdiag.measure.budget import Budget
from hwdiag.measure.child import ChildReport, run_child
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Applied, Measurement, Outcome, Phase, Workload
from hwdiag.measure.verify import not_applied

IMPORT = "import torch"
"""What the worker calls its first step."""

Progress = Callable[[str, float], None]
"""Told before each child: what runs now, and the share of the budget that is used, 0..1."""


class Campaign:
    """The children of one run: where they run, how long they may, and all that was measured so far."""

    def __init__(
        self, python: str, budget: Budget, *, seed: int, child_timeout_s: float, progress: Progress | None = None
    ) -> None:
        self.python = python
        self.budget = budget
        self.child_timeout_s = child_timeout_s
        self.progress: Progress = progress or (lambda text, share: None)
        self.measurements: list[Measurement] = []
        self._random = random.Random(seed)
        self._started = time.monotonic()
        self._ids, self._processes = itertools.count(1), itertools.count(1)
        self._checked: set[tuple[str, str, str]] = set()
        self._failed: set[tuple[str, str, str]] = set()

    @property
    def remaining_s(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget.total_s - (time.monotonic() - self._started)

    def run_blocks(
        self, launches: Sequence[Launch], workloads: Sequence[Workload], blocks: int, phase: Phase, leave_s: float = 0
    ) -> int:
        """Run up to ``blocks`` blocks while one more would leave ``leave_s`` seconds of the budget; how many ran.

        The first always runs: a budget that is too short gives few results, not none.
        """
        for block in range(blocks):
            started = time.monotonic()
            for launch in self._random.sample(list(launches), len(launches)):
                self.progress(f"{phase}, block {block + 1} of at most {blocks}: {launch.name}", self._used())
                self.run(launch, workloads, phase, block)
            if self.remaining_s - (time.monotonic() - started) < leave_s:
                return block + 1
        return blocks

    def run(
        self, launch: Launch, workloads: Sequence[Workload], phase: Phase, block: int, device: str = "cpu"
    ) -> list[Measurement]:
        """One pass of the workloads under a Launch: one child, and one more for what a dead one left undone.

        What failed once under this Launch is not tried again: it would fail, or hang, once more.
        """
        todo = [w for w in workloads if (launch.name, w.name, device) not in self._failed]
        todo = self._random.sample(todo, len(todo))
        results: list[Measurement] = []
        while todo:
            report = run_child(launch, self.python, self._task(launch, todo, device), timeout_s=self.child_timeout_s)
            about = {"launch": launch.name, "device": device, "phase": phase, "block": block}
            fresh = list(self._read(report, launch, todo, about))
            self._checked |= {(launch.name, m.workload, device) for m in fresh if m.max_error is not None}
            self._failed |= {(launch.name, m.workload, device) for m in fresh if not m.outcome.ok}
            results += fresh
            todo = [w for w in todo if w.name not in {m.workload for m in fresh}]
        self.measurements += results
        return results

    def _used(self) -> float:
        return min(1.0, 1 - self.remaining_s / self.budget.total_s)

    def _task(self, launch: Launch, workloads: Sequence[Workload], device: str) -> dict[str, Any]:
        """What the worker is told. The first process of each Launch also checks each result against its reference."""
        return {
            "device": device,
            "seed": self._random.randrange(2**31),
            "check": any((launch.name, w.name, device) not in self._checked for w in workloads),
            "sample_s": self.budget.sample_s,
            "min_samples": self.budget.min_samples,
            "workloads": [w.model_dump(include={"name", "kind", "dtype", "size"}) for w in workloads],
        }

    def _read(
        self, report: ChildReport, launch: Launch, todo: Sequence[Workload], about: dict[str, Any]
    ) -> Iterator[Measurement]:
        """The measurements of one child, without those that it did not come to."""
        seen = report.event("applied")
        applied = None if seen is None else Applied.model_validate(seen)
        about |= {"process": next(self._processes), "applied": applied, "disturbance": report.disturbance}
        for workload in todo:
            result = result_of(workload.name, report, None if applied is None else not_applied(launch, applied))
            if result is not None:
                name = f"m{next(self._ids):04d}"
                yield Measurement.model_validate({"id": name, "workload": workload.name, **about, **result})


def result_of(workload: str, report: ChildReport, refused: str | None) -> dict[str, Any] | None:
    """How one workload ended in this child, with its samples; None if the child died before it came to it.

    A child that died before its first workload, or whose Launch did not take effect, failed in all of them.
    """
    if refused is not None:
        return {"outcome": Outcome(kind="not-applied", detail=refused)}
    events = [e for e in report.events if e.get("workload") == workload]
    last = {k: v for k, v in events[-1].items() if k not in ("event", "workload")} if events else {}
    if events and events[-1]["event"] == "done":
        return {"outcome": Outcome(kind="ok"), **last}
    if events and events[-1]["event"] == "failed":
        return {"outcome": Outcome.model_validate(last)}
    began_one = any(e["event"] == "begin" and e["workload"] != IMPORT for e in report.events)
    if events or not began_one or report.outcome.ok:
        return {"outcome": report.outcome}
    return None
