"""Parameters of an estimate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from hwdiag.agent.nets import DECODERS, NAMES
from hwdiag.core.choices import DType
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
    batch: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(
        (1,), min_length=1, description="batch sizes of these nets"
    )
    tokens: int | None = Field(
        None, ge=1, le=2**24, description="length of their prompt, or context when decoding; None takes the net's own"
    )
    decode: bool = Field(False, description="count one token more of them, with the context in the cache")
    parts: Annotated[Names, Option("--part", metavar="NAME")] = Field(
        (), description="parts of the catalogue, YAML files or records; None takes all, in the notebook its three"
    )
    dtype: DType | None = Field(
        None, description="type to estimate in - float32, bfloat16 or int8; None takes bfloat16, in the notebook int8"
    )
    budget: Budget = Field(
        "standard",
        description="of the check on this host - quick leaves it out; standard takes twenty minutes, thorough forty",
    )

    @model_validator(mode="after")
    def _nets_take_it(self) -> EstimateParams:
        for net in self.nets:
            if self.decode and net in NAMES and net not in DECODERS:
                raise ValueError(f"{net} does not decode (those that do: {', '.join(DECODERS)})")
            if ":" in net and (self.batch != (1,) or self.tokens is not None or self.decode):
                raise ValueError(f"{net} brings its own inputs: batch, tokens and decode are for nets with a name")
        return self
