"""Parameters of a fleet."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hwdiag.core.params import Option
from hwdiag.core.value import Value
from hwdiag.parameters.shared import MinEffect, Names


class FleetParams(Value):
    """All parameters of looking at a fleet. A field's text is its help everywhere. No profile is read."""

    records: Annotated[Names, Option(positional=True, metavar="PATH")] = Field(
        (), description="folders, files or URLs of records and verifications; None takes all in outputs/"
    )
    min_effect: MinEffect = Field(5.0, description="least change of speed worth a word, in percent")
    top: Annotated[int, Option(metavar="N")] = Field(
        40, ge=1, le=1_000_000, description="how many hosts to print, the worst first"
    )
