"""Parameters of a verification."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hwdiag.core.params import Option
from hwdiag.core.value import Value
from hwdiag.parameters.shared import Python


class VerifyParams(Value):
    """All parameters of a verification. No profile is read: a prolog has no folder of a workbook."""

    record: Annotated[str | None, Option(metavar="PATH")] = Field(
        None,
        description="record to hold the host against, its folder, or a folder with one folder a host; "
        "None takes outputs/",
    )
    name: Annotated[str | None, Option("--host", metavar="NAME")] = Field(
        None, max_length=100, description="the host's folder there; None takes this machine's name"
    )
    python: Python = Field(None, description="interpreter whose torch is measured; None takes the record's")
    loss: Annotated[float, Option(metavar="PERCENT")] = Field(
        13.5, ge=1, le=90, description="least loss of speed that is reported, in percent; twice as much is critical"
    )
    timeout: Annotated[float, Option(metavar="S")] = Field(
        14.0, gt=0, le=600, description="seconds after which the verdict is there, whatever hangs"
    )
    facts_only: bool = Field(False, description="whether to compare facts alone, in a second, and measure nothing")
