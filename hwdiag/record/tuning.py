"""Tuning: the study of the topic ``tune``, all that the search for the fastest Plan measured and decided."""

from __future__ import annotations

from hwdiag.core.value import TopicStudy
from hwdiag.experiment.ceilings import Ceiling
from hwdiag.experiment.lever import Plan
from hwdiag.experiment.model import Comparison, Estimate, Measurement, Noise, Step, Workload
from hwdiag.record.model import Record


class Tuning(TopicStudy):
    """One search for the fastest way to start a program on one host."""

    plans: tuple[Plan, ...] = ()
    """The first is today's default."""
    workloads: tuple[Workload, ...] = ()
    overall_of: tuple[str, ...] = ()
    """Workloads whose geometric mean is "overall"."""
    measurements: tuple[Measurement, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    noise: Noise | None = None
    steps: tuple[Step, ...] = ()
    """The search, factor by factor."""
    comparisons: tuple[Comparison, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()


def tuning(record: Record) -> Tuning:
    """Return a record's search; an empty one where it has none."""
    return record.study("tune", Tuning) or Tuning(started_at=record.started_at)
