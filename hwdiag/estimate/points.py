"""Speeds that others measured and published, one YAML file each: what the constants of an estimate are fitted to."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from hwdiag.catalogue.parts import QUICK
from hwdiag.core.choices import EstimateType, Software
from hwdiag.core.errors import UsageError
from hwdiag.core.value import Value
from hwdiag.experiment.net_count import NetSpec

FOLDER = Path(__file__).parent / "published"
MAX_BYTES = 8 * 2**10


class PublishedPoint(Value):
    """One published speed of a net on a part of the catalogue."""

    part: str
    """Key of the catalogue."""
    net: str
    batch: int = Field(ge=1)
    """Samples at the same time, of one device."""
    phase: Literal["prefill", "decode"] = "prefill"
    tokens: int | None = Field(None, ge=1)
    """Of the prompt; when decoding, in the cache."""
    new_tokens: int | None = Field(None, ge=1)
    """Tokens that are generated after the prompt, whose time is part of the figure."""
    side: int | None = None
    dtype: EstimateType
    weight_bits: float | None = Field(None, gt=0, le=32)
    """Of one weight, where the format has others than its type: Q4_K_M has 4.9."""
    software: Software
    stack: str
    """The software's name and version, and the benchmark's."""
    devices: int = Field(1, ge=1)
    """Sockets or GPUs that the figure is of, each with samples of its own."""
    figure: float = Field(gt=0)
    unit: Literal["samples/s", "tokens/s", "new tokens/s", "ms"]
    source: str = Field(min_length=8)
    date: str = Field(pattern=r"^20\d\d-\d\d$")
    note: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> PublishedPoint:
        if (self.unit == "new tokens/s") != (self.new_tokens is not None):
            raise ValueError("new_tokens belongs to a figure in new tokens/s, and to no other")
        if self.unit == "tokens/s" and self.tokens is None:
            raise ValueError("a figure in tokens/s needs tokens")
        return self

    @property
    def spec(self) -> NetSpec:
        """Return the run that is counted: the prompt, or a decoding step."""
        return NetSpec(net=self.net, batch=self.batch, phase=self.phase, tokens=self.tokens, side=self.side)

    @property
    def following(self) -> NetSpec | None:
        """Return a decoding step in the middle of what is generated; None where nothing is."""
        if self.new_tokens is None:
            return None
        context = (self.tokens or 1) + self.new_tokens // 2
        return NetSpec(net=self.net, batch=self.batch, phase="decode", tokens=context)

    @property
    def seconds(self) -> float:
        """Return the seconds that one run takes by the figure: of a batch, a prompt, a step, or a prompt with what
        follows."""
        each = self.figure / self.devices
        if self.unit == "ms":
            return self.figure / 1e3
        if self.unit == "samples/s":
            return self.batch / each
        if self.unit == "new tokens/s":
            return self.batch * (self.new_tokens or 1) / each
        return self.batch * (1 if self.phase == "decode" else self.tokens or 1) / each


def read_point(path: Path) -> PublishedPoint:
    """Return one file's point.

    Raises:
        UsageError: it is no point; in one line.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path.name} is larger than {MAX_BYTES // 1024} KiB: not a published figure")
        return PublishedPoint.model_validate(yaml.load(path.read_text(encoding="utf-8"), QUICK))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise UsageError(f"{path.name}: {where + ': ' if where else ''}{first['msg']}") from None


@cache
def published_points() -> dict[str, PublishedPoint]:
    """Return all published points by their file's name. Raises ``UsageError`` for the first file that is wrong."""
    return {path.stem: read_point(path) for path in sorted(FOLDER.glob("*.yaml"))}
