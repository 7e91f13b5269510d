"""The least that a record has of what comparisons use; later fields have defaults, so that older ones are read."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_TEXT = 300
Family = Literal["compute", "memory", "model", "own", "transfer", "latency"]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Seconds = Annotated[float, Field(ge=1e-12, lt=1e9)]
MEASURED = ("verify", "tune", "devices")
"""Topics whose studies have speeds, in the order in which a speed is taken from them."""


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class LooseWorkload(_Loose):
    name: Text
    kind: Text
    family: Family
    dtype: Text
    what: Text | None = None
    size: dict[Text, int] = {}
    flops: float = Field(0, ge=0)
    bytes: float = Field(0, ge=0)
    version: int | str | None = None

    @cached_property
    def told_version(self) -> str:
        """Return what identifies its work. The arrays of copy and triad follow a host's caches and are left out: their
        rate compares."""
        size = {k: v for k, v in self.size.items() if self.family != "memory"}
        told = ", ".join(f"{k}={v}" for k, v in sorted(size.items()))
        work = "" if self.family == "memory" else f", {self.flops:.6g} FLOP"
        version = "" if self.version is None else f", version {self.version}"
        what = f" {self.what}" if self.what else ""
        return f"{self.kind}{what} {self.dtype} {told}{work}{version}"[:MAX_TEXT]


class LooseInterval(_Loose):
    median: Seconds
    low: Seconds
    high: Seconds
    processes: int = 0


class LooseEstimate(_Loose):
    workload: Text
    plan: Text
    device: Text = "cpu"
    seconds: LooseInterval


class LooseStudy(_Loose):
    """A study with speeds: a reference, a search, or a study of devices."""

    workloads: tuple[LooseWorkload, ...] = ()
    estimates: tuple[LooseEstimate, ...] = ()
    measurements: tuple[dict[str, Any], ...] = ()

    @property
    def disturbances(self) -> list[Any]:
        """Return what disturbed each measurement, as the file has it."""
        return [m.get("disturbance") for m in self.measurements]


class LooseRecord(_Loose):
    """The least that a record has; later fields have defaults, so that older ones are read."""

    name: Text
    started_at: Text
    versions: dict[Text, Text] = {}
    host: dict[str, Any]
    software: dict[str, Any] = {}
    studies: dict[str, Any] = {}
    complete: bool = False

    @cached_property
    def measured(self) -> tuple[LooseStudy, ...]:
        """Return the studies that have speeds."""
        return tuple(LooseStudy.model_validate(self.studies[t]) for t in MEASURED if t in self.studies)
