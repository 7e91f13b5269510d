"""Parameters of an estimate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from hwdiag.agent.nets import DECODERS, NAMES
from hwdiag.core.choices import EstimateType, Software
from hwdiag.core.params import Option
from hwdiag.core.value import Value
from hwdiag.parameters.shared import Budget, HostName, Names, Python


class EstimateParams(Value):
    """All parameters of an estimate. A field's text is its help everywhere."""

    host: HostName = "auto"
    python: Python = Field(
        None, description="interpreter with torch and transformers that counts; None takes the workbook's own"
    )
    nets: Annotated[Names, Option(positional=True, metavar="NET")] = Field(
        (), description="nets of your choice, by name or as module:function"
    )
    batch: tuple[Annotated[int, Field(ge=1, le=65536)], ...] | None = Field(
        None, min_length=1, description="batch sizes of these nets; None takes 1, and of your own nets theirs"
    )
    tokens: int | None = Field(
        None, ge=1, le=2**24, description="length of their prompt, or context when decoding; None takes the net's own"
    )
    decode: bool = Field(False, description="count the next token, with the context in the cache")
    parts: Annotated[Names, Option("--part", metavar="NAME")] = Field(
        (), description="parts of the catalogue, YAML files or records; None takes all, in the notebook its three"
    )
    dtype: EstimateType | None = Field(
        None,
        description="float32, bfloat16, float16, float8, int8, int8-weights or int4-weights; None takes bfloat16",
    )
    software: Software | None = Field(
        None,
        description="what runs the nets - eager, compiled, engine or llama.cpp; None takes the usual one",
    )
    budget: Budget = Field(
        "standard",
        description="time of the check here - quick leaves it out; standard takes half an hour, thorough an hour",
    )
    minutes: float | None = Field(
        None,
        gt=0,
        le=1440,
        description="minutes after which the check on this host pauses; the next run goes on; None checks all",
    )

    @model_validator(mode="after")
    def _nets_take_it(self) -> EstimateParams:
        for net in self.nets:
            if self.decode and net in NAMES and net not in DECODERS:
                raise ValueError(f"{net} does not decode (those that do: {', '.join(DECODERS)})")
        return self
