"""Parameters of a compatibility check."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hwdiag.core.params import Option
from hwdiag.core.value import Value
from hwdiag.parameters.shared import ChildTimeout, HostName, Names, Python


class CheckParams(Value):
    """All parameters of a compatibility check. A field's text is its help everywhere."""

    host: HostName = "auto"
    python: Python = Field(None, description="interpreter whose packages are checked; None takes the workbook's own")
    packages: Annotated[Names, Option("--package", metavar="NAME")] = Field(
        (), description="which packages to check; None takes all with native code"
    )
    child_timeout: ChildTimeout = 120.0
