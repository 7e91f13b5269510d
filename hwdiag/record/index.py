"""Many records as one table: read once, kept as Parquet.

One that is damaged, or of a newer schema, becomes a line that says so; the others are still compared.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from hwdiag.core.outside import OutsideError
from hwdiag.record.model import SCHEMA_VERSION
from hwdiag.record.row import RecordRow, RefusedRecord, row_of
from hwdiag.record.sources import RecordSource, sources

INDEX_VERSION = 2
SPEED = pa.struct(
    [(name, pa.string()) for name in ("workload", "version", "family", "device")]
    + [(name, pa.float64()) for name in ("work", "seconds", "low", "high")]
    + [("processes", pa.int64())]
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("location", "stamp", "refused", "name", "host_key", "started_at", "cpu")),
        ("schema_version", pa.int64()),
        ("memory_bytes", pa.int64()),
        ("topics", pa.list_(pa.string())),
        ("cores", pa.int64()),
        ("versions", pa.map_(pa.string(), pa.string())),
        ("facts", pa.map_(pa.string(), pa.string())),
        ("speeds", pa.list_(SPEED)),
    ],
    metadata={"hwdiag_index": str(INDEX_VERSION), "hwdiag_schema": str(SCHEMA_VERSION)},
)


def build_index(locations: Sequence[str], keep: Path | None = None) -> pa.Table:
    """Return a table of all records at these locations. An unchanged file that ``keep`` holds is not read again.

    Raises:
        UsageError: there is nothing at a location.
    """
    found = list(sources(locations))
    known = kept(keep)
    old: list[int] = []
    fresh = []
    for source in found:
        index = known[1].get((source.location, source.stamp))
        if index is None:
            fresh.append(entry(source))
        else:
            old.append(index)
    table = pa.Table.from_pylist(fresh, schema=SCHEMA)
    if old:
        table = pa.concat_tables([known[0].take(pa.array(old)), table])
    if keep is not None and fresh:
        save(table, keep)
    return table


def entry(source: RecordSource) -> dict[str, Any]:
    """Return the line of the table for one file."""
    blank: dict[str, Any] = {"location": source.location, "stamp": source.stamp, "versions": {}, "facts": {}}
    try:
        data = source.read()
    except OutsideError as error:
        return {**blank, "refused": str(error)}
    except Exception as error:  # each protocol has exceptions of its own
        return {**blank, "refused": f"cannot be read: {type(error).__name__}"}
    row = row_of(data, source.location)
    if isinstance(row, RefusedRecord):
        return {**blank, "refused": row.why}
    return {**blank, "refused": None, **row.model_dump(mode="json")}


def kept(path: Path | None) -> tuple[pa.Table, Mapping[tuple[str, str], int]]:
    """Return the kept table and where each file is in it; an empty table where there is none of this version."""
    if path is not None and path.is_file():
        with contextlib.suppress(OSError, pa.ArrowException):
            table = pq.read_table(path)
            if (table.schema.metadata or {}).items() >= (SCHEMA.metadata or {}).items():
                table = table.cast(SCHEMA)
                keys = zip(table["location"].to_pylist(), table["stamp"].to_pylist(), strict=True)
                return table, {key: i for i, key in enumerate(keys)}
    return SCHEMA.empty_table(), {}


def save(table: pa.Table, path: Path) -> None:
    """Write the index whole or not at all; one that cannot be kept is built anew next time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".index-", delete=False) as file:
            pq.write_table(table, file, compression="zstd")
        Path(file.name).replace(path)


def rows(table: pa.Table) -> Iterator[RecordRow]:
    """Yield the records of a table."""
    for values in table.to_pylist():
        if values.pop("refused") is None:
            values.pop("stamp")
            for name in ("versions", "facts"):
                values[name] = dict(values[name] or ())
            with contextlib.suppress(ValidationError):  # an index that somebody else wrote
                yield RecordRow.model_validate(values)


def refused(table: pa.Table) -> list[RefusedRecord]:
    """Return the files that are not compared."""
    some: Iterable[dict[str, Any]] = table.select(["location", "refused"]).to_pylist()
    return [RefusedRecord(location=v["location"], why=v["refused"]) for v in some if v["refused"] is not None]
