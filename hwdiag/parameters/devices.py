"""Parameters of a study of devices."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from hwdiag.core.params import Option, one_of
from hwdiag.core.value import Value
from hwdiag.parameters.shared import Budget, ChildTimeout, HostName, MinEffect, Minutes, Names, Python, Seed


class DevicesParams(Value):
    """All parameters of a study of devices. A field's text is its help everywhere."""

    host: HostName = "auto"
    python: Python = None
    nets: Annotated[Names, Option("--net", metavar="NAME")] = Field(
        (), description="nets to try techniques on, such as vit-b; None takes what the budget gives"
    )
    budget: Budget = Field(
        "standard", description="how long to measure - quick, standard or thorough; about 1, 4 or 60 minutes"
    )
    minutes: Minutes = Field(
        None, description="time for the techniques on each device; None takes what the budget gives"
    )
    min_effect: MinEffect = 3.0
    child_timeout: ChildTimeout = 120.0
    seed: Seed = 1

    @field_validator("nets")
    @classmethod
    def _known(cls, names: Names) -> Names:
        from hwdiag.devices.nets import NETS

        return tuple(one_of(name, NETS, "net") for name in names)
