"""Records read fast: the parts that a row is made of, checked by types; all else is checked as JSON and skipped.

Hosts of a fleet have most parts in common, byte for byte: each of those is parsed once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType
from pydantic import TypeAdapter

from hwdiag.record.convert import SCHEMA
from hwdiag.record.loose import MAX_TEXT, MEASURED, LooseRecord, LooseWorkload
from hwdiag.record.model import Topic

MOST_KNOWN = 256
"""Parts that are remembered of each sort."""
LARGEST_KNOWN = 1 << 16
"""Bytes of one of them, at most."""

_Text = Annotated[str, Meta(max_length=MAX_TEXT)]
_Seconds = Annotated[float, Meta(ge=1e-12, lt=1e9)]


class KnownPart(dict[str, Any]):
    """A part of a host that other hosts may have as well. It is not changed."""

    lines: tuple[tuple[str, str], ...] | None = None
    """Its facts, once somebody asked for them."""


class _Measurement(msgspec.Struct):
    disturbance: Any = None


class _Seen(msgspec.Struct):
    median: _Seconds
    low: _Seconds
    high: _Seconds
    processes: int = 0


class _Estimate(msgspec.Struct):
    workload: _Text
    plan: _Text
    seconds: _Seen
    device: _Text = "cpu"


class _Study(msgspec.Struct):
    workloads: Raw = Raw(b"[]")
    estimates: list[_Estimate] = []
    measurements: list[_Measurement] = []


class LeanStudy(msgspec.Struct):
    """A study with speeds, as ``LooseStudy``."""

    workloads: tuple[LooseWorkload, ...]
    estimates: list[_Estimate]
    disturbances: list[Any]


_STUDIES: Any = msgspec.defstruct(
    "_Studies", [(t, _Study | UnsetType if t in MEASURED else Raw | UnsetType, UNSET) for t in get_args(Topic)]
)


class _Lean(msgspec.Struct):
    schema_version: int
    name: _Text
    started_at: _Text
    host: dict[str, Raw]
    versions: dict[_Text, _Text] = {}
    software: Raw = Raw(b"{}")
    studies: _STUDIES | UnsetType = UNSET
    complete: bool = False


_RECORD = msgspec.json.Decoder(_Lean)
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_VALUE = msgspec.json.Decoder()
_WORKLOADS = TypeAdapter(tuple[LooseWorkload, ...])


def lean_record(data: bytes, without: frozenset[str]) -> LooseRecord | None:
    """Return the part of a record of today's schema that its row is made of.

    None: it is damaged, hostile, of another schema or has another form than such records have. Whoever reads all of it
    finds out which.

    Args:
        data: the file.
        without: names of facts, two levels below the host at most, that become None.
    """
    try:
        if not data.isascii():
            data.decode()  # texts that are skipped are no Unicode otherwise
        record = _RECORD.decode(data)
        if record.schema_version != SCHEMA:
            return None
        studies = {} if record.studies is UNSET else msgspec.structs.asdict(record.studies)
        measured = tuple(_study(studies[t]) for t in MEASURED if studies.get(t, UNSET) is not UNSET)
        host = {k: _part(v, k, without) for k, v in record.host.items()}
        software = _part(record.software, "software", frozenset())
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if not isinstance(software, dict):
        return None
    found = LooseRecord.model_construct(
        name=record.name,
        started_at=record.started_at,
        versions=record.versions,
        host=host,
        software=software,
        studies={topic: None for topic, study in studies.items() if study is not UNSET},
        complete=record.complete,
    )
    found.__dict__["measured"] = measured
    return found


def _study(study: _Study) -> LeanStudy:
    raw = bytes(study.workloads)
    workloads = _known_workloads(raw) if len(raw) <= LARGEST_KNOWN else _WORKLOADS.validate_python(_VALUE.decode(raw))
    return LeanStudy(workloads, study.estimates, [m.disturbance for m in study.measurements])


@lru_cache(MOST_KNOWN)
def _known_workloads(raw: bytes) -> tuple[LooseWorkload, ...]:
    return _WORKLOADS.validate_python(_VALUE.decode(raw))


def _part(raw: Raw, name: str, without: frozenset[str]) -> Any:
    """Return one part of the host, with less in it."""
    data = bytes(raw)
    if not data.startswith(b"{"):
        return _VALUE.decode(data)
    return _known_part(data, name, without) if len(data) <= LARGEST_KNOWN else _object(data, without)


@lru_cache(MOST_KNOWN)
def _known_part(data: bytes, name: str, without: frozenset[str]) -> KnownPart:  # noqa: ARG001 - each has its own lines
    return _object(data, without)


def _object(data: bytes, without: frozenset[str]) -> KnownPart:
    return KnownPart((k, None if k in without else _VALUE.decode(v)) for k, v in _OBJECT.decode(data).items())
