"""Lever and Plan: one thing that can be changed to make a program faster, and levers that are pulled together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import Field, model_validator

from hwdiag.core.choices import ACCURACIES, Accuracy
from hwdiag.core.value import Value
from hwdiag.process.launch import Launch

BASELINE = "default"
"""Id of the Plan without levers: how it runs today."""


class Lever(Value):
    """One change, and what to set for it. Most levers set one of process, loader and technique."""

    id: str = Field(min_length=1)
    """Stable and unique among all levers: ``threads=4``, ``heap.kept``, ``loader.workers=2``."""
    factor: str
    """What it decides, such as ``placement`` or ``heap``. A Plan has at most one lever of each factor."""
    title: str
    """As people read it: ``glibc keeps its heap``."""
    launch: Launch = Launch()
    """What it sets of the process."""
    loader: dict[str, Any] = {}
    """What it sets of a DataLoader, by field of ``LoaderSetting``."""
    techniques: tuple[str, ...] = ()
    """What it changes within the process, by names of ``agent/techniques.py``."""
    accuracy: Accuracy = "same"
    """What it does to results."""
    risk: str = ""
    """What speaks against it, in a sentence. Only who chose to take it is recommended a lever with a risk."""

    def __hash__(self) -> int:
        return hash(self.id)


class Plan(Value):
    """Levers taken together: what is measured, recommended and handed over."""

    id: str
    """Made of the ids of its levers, whatever their order; never taken apart again."""
    levers: tuple[Lever, ...] = ()
    """In the order in which they were taken on."""

    @model_validator(mode="before")
    @classmethod
    def _id_is_made_of_levers(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        levers = values.get("levers", ())
        ids = [lever.id if isinstance(lever, Lever) else dict(lever).get("id") for lever in levers]
        made = "+".join(sorted(map(str, ids))) or BASELINE
        if values.get("id", made) != made:
            raise ValueError(f"the id of a plan with these levers is {made!r}, not {values['id']!r}")
        return {**values, "id": made}

    def __hash__(self) -> int:
        return hash(self.id)

    @classmethod
    def of(cls, *levers: Lever) -> Plan:
        """Return the plan of these levers."""
        return cls.model_validate({"levers": levers})

    @property
    def title(self) -> str:
        """Return the title that people read: ``2 threads + glibc keeps its heap``."""
        return " + ".join(lever.title for lever in self.levers) or BASELINE

    @property
    def is_default(self) -> bool:
        """Return whether the plan changes nothing."""
        return not self.levers

    @cached_property
    def launch(self) -> Launch:
        """Return the Launch that starts a process with all levers."""
        whole = Launch()
        for lever in self.levers:
            whole = whole.plus(lever.launch)
        return whole

    def describe(self) -> str:
        """Return what it sets, of the process and within it."""
        inside = [lever.title for lever in self.levers if lever.techniques]
        return ", ".join([*([] if self.launch.is_default and inside else [self.launch.describe()]), *inside])

    @property
    def loader(self) -> dict[str, Any]:
        """Return the DataLoader's arguments that the levers set."""
        return {name: value for lever in self.levers for name, value in lever.loader.items()}

    @cached_property
    def techniques(self) -> tuple[str, ...]:
        """Return the techniques that the plan uses within the process. The agent knows their order."""
        return tuple(dict.fromkeys(name for lever in self.levers for name in lever.techniques))

    @property
    def accuracy(self) -> Accuracy:
        """Return the accuracy of the results: the weakest that one of the levers leaves."""
        return max((lever.accuracy for lever in self.levers), key=ACCURACIES.index, default="same")

    @property
    def risk(self) -> str:
        """Return the risks of the levers, in sentences."""
        return " ".join(lever.risk for lever in self.levers if lever.risk)

    @property
    def lever_ids(self) -> tuple[str, ...]:
        """Return the ids of its levers."""
        return tuple(lever.id for lever in self.levers)

    def plus(self, lever: Lever) -> Plan:
        """Return this plan with one more lever, in place of the one of the same factor if it has one."""
        return Plan.of(*(x for x in self.levers if x.factor != lever.factor), lever)

    def lever_of(self, factor: str) -> Lever | None:
        """Return its lever of this factor, if it has one."""
        return next((lever for lever in self.levers if lever.factor == factor), None)


DEFAULT = Plan.of()
"""Changes nothing: today's way."""
CONTROL = Plan.of(Lever(id="control", factor="control", title="default, a second time"))
"""Today's way once more, for an A/A control: what it seems to gain is noise."""


@dataclass(frozen=True)
class Factor:
    """One thing to decide: levers of which at most one is taken on."""

    name: str
    levers: tuple[Lever, ...]
    refine: Callable[[Plan], Sequence[Lever]] = lambda best: ()
    """Further levers, once the best Plan of the first is known."""
    effect: float = 0.1
    """Standard deviation of its levers' effects, on the logarithm of the speed, that is reckoned with."""
    slow_s: float = 0.0
    """Seconds that the first call of a process takes under one of its levers, roughly, where that is much."""
    interacts: Mapping[str, float] = field(default_factory=dict)
    """By the names of other factors: standard deviation of what its levers give beside theirs, over what both give by
    themselves. With factors that are not named, effects are taken to multiply."""


def within(accuracy: Accuracy, limit: Accuracy) -> bool:
    """Return whether results of this accuracy do for who asks for that one."""
    return ACCURACIES.index(accuracy) <= ACCURACIES.index(limit)


def plan_by_id(plans: Sequence[Plan], wanted: str) -> Plan:
    """Return the plan with this id. Raises ``KeyError`` if there is none: nothing stands in for it."""
    found = next((plan for plan in plans if plan.id == wanted), None)
    if found is None:
        raise KeyError(f"no plan has the id {wanted!r}")
    return found
