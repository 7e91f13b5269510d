"""Tuning: the study of the topic ``tune``, all that the search for the fastest Plan measured and decided."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import model_validator

from hwdiag.core.errors import UsageError
from hwdiag.core.finding import Recommendation
from hwdiag.core.value import TopicStudy
from hwdiag.experiment.ceilings import Ceiling
from hwdiag.experiment.lever import Plan, plan_by_id
from hwdiag.experiment.model import Comparison, Estimate, Measurement, Noise, SearchStep, Workload
from hwdiag.experiment.net_facts import NetFacts
from hwdiag.experiment.operation_times import OperationTimes
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
    steps: tuple[SearchStep, ...] = ()
    """The search, factor by factor."""
    comparisons: tuple[Comparison, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    shares: dict[str, dict[str, float]] = {}
    """By the ids of plans of several levers that were confirmed: what each lever gave in the screening, as a ratio."""
    untried: tuple[str, ...] = ()
    """Titles of levers for which there was no time."""
    open_levers: tuple[str, ...] = ()
    """Titles of levers that may be faster by the least effect, for all that was measured."""
    facts: NetFacts | None = None
    """What is known of a net of the person's own."""
    looks: tuple[OperationTimes, ...] = ()
    """Into what ran far below its ceiling, as it runs today."""

    @model_validator(mode="after")
    def _holds_every_plan(self) -> Tuning:
        known = {plan.id for plan in self.plans}
        lost = next((name for name in self._plans_spoken_of() if name not in known), None)
        if lost is not None:
            raise ValueError(f"no plan has the id {lost!r}")
        return self

    def _plans_spoken_of(self) -> Iterator[str]:
        """Yield the ids of plans in all that was measured and decided."""
        yield from (m.plan for m in self.measurements)
        yield from (e.plan for e in self.estimates)
        for comparison in self.comparisons:
            yield from (comparison.baseline, comparison.candidate)
        for step in self.steps:
            yield from (option.plan for option in step.options)
            yield from () if step.adopted is None else (step.adopted,)


def recommended_plan(record: Record, recommendation: Recommendation) -> Plan | None:
    """Return the plan that a recommendation is about; None where it is to keep what there is.

    Raises:
        UsageError: the record has no such plan.
    """
    if recommendation.plan is None:
        return None
    try:
        return plan_by_id(tuning(record).plans, recommendation.plan)
    except KeyError as error:
        raise UsageError(f"recommendations: {recommendation.id}: {error.args[0]}") from None


def tuning(record: Record) -> Tuning:
    """Return a record's search; an empty one where it has none."""
    return record.study("tune", Tuning) or Tuning(started_at=record.started_at)
