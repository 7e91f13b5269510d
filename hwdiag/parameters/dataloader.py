"""Parameters of an input pipeline's run, and of looking at a training that runs already."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from hwdiag.core.params import Option
from hwdiag.core.value import Value
from hwdiag.parameters.shared import Budget, ChildTimeout, HostName, MinEffect, Minutes, OwnCommand, Python, Seed

MOST_SECONDS = 1e6


class FeedParams(Value):
    """All parameters of an input pipeline's run. A field's text is its help everywhere."""

    host: HostName = "auto"
    data_dir: Annotated[str | None, Option("--data", metavar="FOLDER")] = Field(
        None, description="folder of JPEG and PNG pictures; None makes a set on the spot"
    )
    dataset_file: Annotated[str | None, Option("--file", metavar="FILE")] = Field(
        None, description="Python file whose build_dataset() gives a Dataset of your own"
    )
    python: Python = Field(None, description="interpreter with torch that loads; None takes the workbook's own")
    budget: Budget = "standard"
    batch_size: int = Field(32, ge=1, le=65536, description="samples of one batch")
    batch_sizes: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(
        (), description="other sizes to try, though they change the training"
    )
    cache_dir: Annotated[str | None, Option("--cache", metavar="FOLDER")] = Field(
        None, description="folder on a local disk for a cache of samples; None takes ~/.cache/hwdiag"
    )
    step_ms: Annotated[float | None, Option(metavar="MS")] = Field(
        None, gt=0, le=3.6e6, description="time of one training step; None looks for the highest throughput"
    )
    picture_size: int = Field(224, ge=8, le=4096, description="pixels to a side that pictures are resized to")
    pictures: int = Field(240, ge=1, le=20000, description="pictures in the set that is made on the spot")
    min_effect: MinEffect = 3.0
    minutes: Minutes = None
    child_timeout: ChildTimeout = Field(30.0, description="seconds that one batch, or the folder, is waited for")
    seed: Seed = Field(1, description="seed of the order of measurements, and of the set made on the spot")

    @model_validator(mode="after")
    def _one_source(self) -> FeedParams:
        if self.data_dir is not None and self.dataset_file is not None:
            raise ValueError("give either a folder as data_dir or a dataset_file, and not both of them")
        return self


class WaitingParams(Value):
    """Parameters of looking at a running training: ``hwdiag dataloader --pid`` and ``hwdiag dataloader -- COMMAND``."""

    pid: Annotated[int | None, Option(metavar="PID")] = Field(
        None, ge=1, le=2**31 - 1, description="a running training: does it wait for its data?"
    )
    seconds: Annotated[float | None, Option(metavar="S")] = Field(
        None, gt=0, le=MOST_SECONDS, description="how long to look; None takes 20 s, and all of a command"
    )
    command: OwnCommand = Field(None, description="a training to start and to look at")

    @model_validator(mode="after")
    def _one_training(self) -> WaitingParams:
        if self.pid is not None and self.command:
            raise ValueError("give either --pid or a command")
        return self
