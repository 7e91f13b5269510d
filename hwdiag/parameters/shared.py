"""Parameters that several topics have: type, bounds and meaning are declared here once, and composed into each.

A topic gives the default, and a description of its own where it means something more special.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from hwdiag.core.choices import BudgetName
from hwdiag.core.choices import Role as RoleName
from hwdiag.core.params import Option

HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def host_name(value: str) -> str:
    """Return the name itself. Raises ``ValueError`` where it cannot name a file and a folder."""
    if not HOST_NAME.fullmatch(value):
        raise ValueError("must be letters, digits, - and _ only, since it names a folder")
    return value


HostName = Annotated[
    str,
    AfterValidator(host_name),
    Field(description="profile in params/ and folder in outputs/; None takes auto, with this machine's name"),
    Option(metavar="NAME"),
]
Python = Annotated[
    str | None,
    Field(description="interpreter whose torch is measured; None takes the workbook's own"),
    Option(metavar="PATH"),
]
Budget = Annotated[BudgetName, Field(description="how long to measure - quick, standard or thorough")]
Minutes = Annotated[
    float | None,
    Field(gt=0, le=7 * 24 * 60, description="time for all measurements; None takes what the budget gives"),
    Option(metavar="M"),
]
MinEffect = Annotated[
    float, Field(gt=0, le=100, description="least gain worth a change, in percent"), Option(metavar="PERCENT")
]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1, description="seed of the order of measurements")]
ChildTimeout = Annotated[
    float,
    Field(gt=0, le=24 * 3600, description="seconds after which a hanging child process is killed"),
    Option(metavar="S"),
]
Snapshot = Annotated[
    str | None,
    Field(description="snapshot of another host to show instead of this one; nothing is measured then"),
    Option(metavar="FILE"),
]
Role = Annotated[RoleName, Field(description="what else the host does - desktop, headless or shared")]
OwnFile = Annotated[
    str | None,
    Field(description="Python file of your own whose build() gives what is measured"),
    Option("--file", metavar="FILE"),
]
OwnCommand = Annotated[
    tuple[str, ...] | None,
    Field(min_length=1, description="command of your own that is measured"),
    Option(positional=True, metavar="COMMAND", command=True),
]
Names = tuple[str, ...]
"""A list of names; empty where none was given."""
