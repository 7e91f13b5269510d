"""Looks into what runs far below its ceiling today, so that the report can say why."""

from __future__ import annotations

import time

from hwdiag.experiment.campaign import Progress
from hwdiag.experiment.operation_times import OperationTimes, look_into
from hwdiag.record.tuning import Tuning
from hwdiag.tune.below_ceiling import far_below

LEAST_S = 4.0
"""Importing torch and building one workload."""


def causes_of(python: str, study: Tuning, seconds: float, progress: Progress) -> tuple[OperationTimes, ...]:
    """Return a look into each workload far below its ceiling on the CPU, the farthest first, as the time goes."""
    low = [workload for workload, _, device in far_below(study) if device == "cpu" and workload.family != "own"]
    if not low or seconds < LEAST_S:
        return ()
    progress("why below the ceiling", 1.0)
    end = time.monotonic() + seconds
    found = look_into(python, low, seconds)
    return tuple(x for x in found if x.outcome.ok or time.monotonic() < end)
