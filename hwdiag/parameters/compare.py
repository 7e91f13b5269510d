"""Parameters of a comparison of records."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hwdiag.core.params import Option
from hwdiag.core.value import Value
from hwdiag.parameters.shared import MinEffect, Names


class CompareParams(Value):
    """All parameters of a comparison. A field's text is its help everywhere. No profile is read: hosts are compared."""

    records: Annotated[Names, Option(positional=True, metavar="RECORD")] = Field(
        (), description="folders, record files or fsspec URLs; None takes all records in outputs/"
    )
    parts: Annotated[Names, Option("--part", metavar="NAME")] = Field(
        (), description="parts of the catalogue to stand beside them; None adds none"
    )
    hosts: Annotated[Names, Option("--host", metavar="NAME")] = Field(
        (), description="names of the hosts to compare; None takes all"
    )
    min_effect: MinEffect = Field(3.0, description="least change of speed worth a word, in percent")
