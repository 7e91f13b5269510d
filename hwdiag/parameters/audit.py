"""Parameters of an audit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hwdiag.core.params import Option
from hwdiag.core.value import Value
from hwdiag.parameters.shared import HostName, Names, Role, Snapshot


class AuditParams(Value):
    """All parameters of an audit. A field's text is its help everywhere."""

    host: HostName = "auto"
    snapshot: Snapshot = Field(None, description="snapshot of another host to audit instead of this one")
    role: Role = "headless"
    knobs: Annotated[Names, Option("--knob", metavar="NAME[=VALUE]", whole=True)] = Field(
        (),
        description="settings to write scripts for - names, groups, names with a value; None leaves it to symptoms",
    )
    models: Annotated[str | None, Option(metavar="FOLDER")] = Field(
        None, description="folder that models are loaded from, to see how fast it is read"
    )
    watch: Annotated[float, Option(metavar="S")] = Field(
        2.0, ge=0, le=600, description="seconds to watch the machine, best while it works"
    )
