"""Parameters of watching a person's own work: of a recording of the machine, and of a trace of PyTorch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from hwdiag.core.params import Option
from hwdiag.core.value import Value
from hwdiag.parameters.shared import HostName, OwnCommand, OwnFile, Python


class MonitorParams(Value):
    """All parameters of a recording. A field's text is its help everywhere."""

    host: HostName = "auto"
    hz: float = Field(2.0, ge=1, le=10, description="samples a second, 1 to 10")
    seconds: Annotated[float | None, Option(metavar="S")] = Field(
        None,
        gt=0,
        le=1e6,
        description="how long, then a command is killed; None watches to its end or Ctrl-C, 10 s in the notebook",
    )
    command: OwnCommand = Field(
        None, description="command to start and to watch to its end; None watches what runs anyway"
    )


class ProfileParams(Value):
    """All parameters of a trace. A field's text is its help everywhere."""

    host: HostName = "auto"
    command: OwnCommand = Field(None, description="the command with its arguments")
    workload_file: OwnFile = Field(None, description="Python file with a build(), instead of a command")
    python: Python = Field(None, description="interpreter with torch for the file; None takes the workbook's own")
    seconds: Annotated[float, Option(metavar="S")] = Field(5.0, gt=0, le=600, description="seconds to record at most")
    after: Annotated[float, Option(metavar="S")] = Field(
        0.0, ge=0, le=86400, description="of a command, seconds from the import of torch to the start of the recording"
    )
    events: int = Field(200_000, ge=1000, le=10_000_000, description="events to record at most; 200000 are 60 MB")


class ExplainParams(Value):
    """All parameters of explaining a program. A field's text is its help everywhere."""

    host: HostName = "auto"
    command: OwnCommand = Field(None, description="the command with its arguments, run once as it is")
    pid: Annotated[int | None, Option(metavar="PID")] = Field(
        None, ge=1, le=2**31 - 1, description="a process that runs already, instead of a command"
    )
    seconds: Annotated[float | None, Option(metavar="S")] = Field(
        None,
        gt=0,
        le=1e6,
        description="how long, then a command is killed; None takes 20 s, and all of a command",
    )
    inside: bool = Field(True, description="whether Python processes of the command are looked at from inside too")

    @model_validator(mode="after")
    def _one_program(self) -> ExplainParams:
        if self.pid is not None and self.command:
            raise ValueError("give either --pid or a command")
        return self
