"""Lines of the index: one for each file, what it says or why it is refused."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from hwdiag.core.outside import OutsideError
from hwdiag.record.model import SCHEMA_VERSION
from hwdiag.record.row import RefusedRecord, row_of
from hwdiag.record.sources import RecordSource
from hwdiag.record.verification_row import verification_row

INDEX_VERSION = 3
SPEED = pa.struct(
    [(name, pa.string()) for name in ("workload", "version", "family", "device")]
    + [(name, pa.float64()) for name in ("work", "seconds", "low", "high")]
    + [("processes", pa.int64())]
)
IDENTITY = pa.struct(
    [(name, pa.string()) for name in ("cpu", "family", "product", "machine")]
    + [(name, pa.int64()) for name in ("sockets", "cores", "threads", "nodes", "memory_bytes")]
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("location", "stamp", "refused", "name", "host_key", "started_at", "cpu")),
        ("verification", pa.string()),
        ("schema_version", pa.int64()),
        ("memory_bytes", pa.int64()),
        ("topics", pa.list_(pa.string())),
        ("cores", pa.int64()),
        ("identity", IDENTITY),
        ("gpus", pa.list_(pa.string())),
        ("versions", pa.map_(pa.string(), pa.string())),
        ("facts", pa.map_(pa.string(), pa.string())),
        ("speeds", pa.list_(SPEED)),
    ],
    metadata={"hwdiag_index": str(INDEX_VERSION), "hwdiag_schema": str(SCHEMA_VERSION)},
)


def as_table(lines: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(lines, schema=SCHEMA)


def lost(source: RecordSource) -> pa.Table:
    """Return the line for a file that ended the process that read it."""
    return as_table([{**blank(source), "refused": "the process that read it was killed, as by a lack of memory"}])


def blank(source: RecordSource) -> dict[str, Any]:
    """Return a line that tells no more than where a file is."""
    return {"location": source.location, "stamp": source.stamp, "versions": {}, "facts": {}}


def entry(source: RecordSource) -> dict[str, Any]:
    """Return the line of the table for one file."""
    try:
        data = source.read()
    except OutsideError as error:
        return {**blank(source), "refused": str(error)}
    except Exception as error:  # each protocol has exceptions of its own
        return {**blank(source), "refused": f"cannot be read: {type(error).__name__}"}
    if source.is_verification:
        told = verification_row(data, source.location)
        if isinstance(told, RefusedRecord):
            return {**blank(source), "refused": told.why}
        return {**blank(source), "verification": told.model_dump_json()}
    row = row_of(data, source.location)
    if isinstance(row, RefusedRecord):
        return {**blank(source), "refused": row.why}
    return {**blank(source), **row.model_dump(mode="json")}
