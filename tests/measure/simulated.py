"""A machine that is not there: children that report times from a response surface instead of measuring."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from hwdiag.measure import campaign
from hwdiag.measure.budget import Budget
from hwdiag.measure.child import ChildReport
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Disturbance, Outcome

BUDGET = Budget(total_s=1000, screen_blocks=3, confirm_blocks=8, finalists=2, sample_s=0.1, min_samples=3)
APPLIED = {"threads": 4, "interop_threads": 1, "cpus": [0, 1, 2, 3], "memory_policy": "default", "preloaded": []}


def simulate(
    monkeypatch: pytest.MonkeyPatch,
    seconds: Callable[[Launch, str], float],
    *,
    noise: float = 0.01,
    seed: int = 5,
    dies_in: Callable[[Launch, str], bool] = lambda launch, workload: False,
) -> list[tuple[Launch, dict[str, Any]]]:
    """Replace children by a simulation; gives the list of what was started, as it grows."""
    started: list[tuple[Launch, dict[str, Any]]] = []
    random_ = random.Random(seed)

    def run_child(launch: Launch, python: str, task: dict[str, Any], *, timeout_s: float) -> ChildReport:  # noqa: ARG001
        started.append((launch, task))
        applied = {**APPLIED, "threads": launch.threads or 4, "cpus": launch.cpus or APPLIED["cpus"]}
        events: list[dict[str, Any]] = [{"event": "begin", "workload": "import torch"}, {"event": "applied", **applied}]
        for spec in task["workloads"]:
            events.append({"event": "begin", "workload": spec["name"]})
            if dies_in(launch, spec["name"]):
                dead = Outcome(kind="signal", detail=f"killed by SIGILL in {spec['name']}")
                return ChildReport(dead, tuple(events), Disturbance())
            median = seconds(launch, spec["name"]) * random_.lognormvariate(0, noise)
            error = {"max_error": 1e-7, "tolerance": 1e-5} if task["check"] else {"max_error": None, "tolerance": None}
            events.append({"event": "done", "workload": spec["name"], "seconds": [median] * 3, "warmup": 2, **error})
        events.append({"event": "end", "cpu_s": 1.0})
        return ChildReport(Outcome(kind="ok"), tuple(events), Disturbance(steal=0.0, other_cpu=0.0))

    monkeypatch.setattr(campaign, "run_child", run_child)
    return started
