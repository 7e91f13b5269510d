"""Findings, checks and recommendations, each pointing at its evidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar, get_args

from hwdiag.core.choices import Accuracy
from hwdiag.core.interval import Interval
from hwdiag.core.value import Value

Severity = Literal["problem", "warning", "note"]
"""The worst first."""


class Finding(Value):
    """Something wrong or notable."""

    id: str
    """Stable slug: ``inherited-openblas-coretype``."""
    severity: Severity
    title: str
    detail: str
    """Why it matters and what to do, in sentences."""
    evidence: tuple[str, ...] = ()
    """Measurement ids (``m017``) of its study, or dotted paths into the record (``host.limits.cpu_quota``)."""
    topic: str = ""
    """The study that it belongs to, said where it is put into a record."""


class Recommendation(Value):
    """A Plan for one workload or for all, or "keep what you have"."""

    id: str
    """Slug, unique in a record: ``launch-overall``, ``launch-gpt2``."""
    scope: str
    """Workload name or ``overall``."""
    plan: str | None
    """Id of the Plan to use; None: keep what you have."""
    title: str
    """One sentence with the figure: ``Run gpt2 with 4 threads: 1.31x as fast (1.27 to 1.36)``."""
    why: str
    speedup: Interval | None = None
    instances: int = 1
    """Processes at the same time, whose total throughput the speed-up is about."""
    accuracy: Accuracy = "same"
    """What its plan does to results."""
    shares: dict[str, float] = {}
    """What each lever of the plan gave in the screening, as a ratio of speeds, by its title."""
    risk: str = ""
    offered: bool = False
    """Left to the person to choose: it was shown to be faster, but carries a risk that nobody takes unasked."""
    undo: str = ""
    evidence: tuple[str, ...] = ()
    """Measurement ids of its study."""
    topic: str = ""
    """As of a ``Finding``."""

    @property
    def is_of_other_accuracy(self) -> bool:
        """Return whether it is the best of another accuracy than was asked for, told beside the recommendation."""
        return self.id.startswith("accuracy-")

    @property
    def is_taken_on(self) -> bool:
        """Return whether its script is written where nobody chose: there is a plan, without a risk of its own."""
        return self.plan is not None and (not self.offered or self.is_of_other_accuracy)


class Check(Value):
    """Something that was looked at and is fine, or that could not be looked at."""

    id: str
    state: Literal["fine", "unchecked"]
    title: str
    detail: str = ""
    topic: str = ""
    """As of a ``Finding``."""


Said = TypeVar("Said", Finding, Recommendation, Check)


def of_topic(topic: str, said: Iterable[Said]) -> tuple[Said, ...]:
    """Return these with the study that they belong to."""
    return tuple(s.model_copy(update={"topic": topic}) for s in said)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return problems, then warnings, then notes, each in the order in which they came."""
    order = get_args(Severity)
    return tuple(sorted(findings, key=lambda f: order.index(f.severity)))
