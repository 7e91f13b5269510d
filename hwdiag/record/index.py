"""Many records as one table: read once, kept as Parquet.

One that is damaged, or of a newer schema, becomes a line that says so; the others are still compared.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sys import intern
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from hwdiag.core.outside import OutsideError
from hwdiag.process.pool import in_processes
from hwdiag.record.model import SCHEMA_VERSION
from hwdiag.record.row import RecordRow, RefusedRecord, row_of
from hwdiag.record.sources import RecordSource, sources
from hwdiag.record.verification_row import VerificationRow, verification_row

INDEX_VERSION = 3
MANY, PIECE = 400, 50
"""Files from which on several processes read them, and of how many one reads at a time."""
SIDE_BY_SIDE = 16
"""Files of servers that are asked for at the same time."""
BATCH = 512
"""Lines of the table that are Python objects at the same time."""
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


def build_index(locations: Sequence[str], keep: Path | None = None) -> pa.Table:
    """Return a table of all records at these locations. An unchanged file that ``keep`` holds is not read again.

    Raises:
        UsageError: there is nothing at a location.
    """
    found = list(sources(locations))
    known = kept(keep)
    old: list[int] = []
    fresh: list[RecordSource] = []
    for source in found:
        index = known[1].get((source.location, source.stamp)) if source.stamp else None
        if index is None:
            fresh.append(source)
        else:
            old.append(index)
    table = read_all(fresh)
    if old:
        table = pa.concat_tables([known[0].take(pa.array(old)), table])
    if keep is not None and fresh:
        save(table, keep)
    return table


def read_all(found: Sequence[RecordSource]) -> pa.Table:
    """Return a table of these files. Many are read in processes of their own, those of a server side by side."""
    here, far = [s for s in found if s.is_local], [s for s in found if not s.is_local]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        lines = list(threads.map(entry, far))
    if len(here) < MANY:
        return as_table([*map(entry, here), *lines])
    pieces = [here[i : i + PIECE] for i in range(0, len(here), PIECE)]
    tables = in_processes(entries, pieces, lost)
    return pa.concat_tables([*tables, as_table(lines)])


def as_table(lines: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(lines, schema=SCHEMA)


def entries(found: Sequence[RecordSource]) -> pa.Table:
    """Return the lines of the table for some files."""
    return as_table([entry(source) for source in found])


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
    for values in lines(table, [n for n in SCHEMA.names if n not in ("stamp", "verification")]):
        if values.pop("refused") is None and values["name"] is not None:
            values["versions"] = as_dict(values["versions"])
            values["facts"] = as_dict(values["facts"])
            with contextlib.suppress(ValidationError):  # an index that somebody else wrote
                yield RecordRow.model_validate(values)


def as_dict(pairs: Iterable[tuple[str, str]] | None) -> dict[str, str]:
    """Return pairs as a dictionary. Most hosts say the same: each text is in memory once."""
    return {intern(name): intern(value) for name, value in pairs or ()}


def lines(table: pa.Table, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the lines of a table, few of them in memory at a time."""
    for batch in table.select(list(names)).to_batches(max_chunksize=BATCH):
        yield from batch.to_pylist()


def verifications(table: pa.Table) -> Iterator[VerificationRow]:
    """Yield the verifications of a table."""
    for values in lines(table, ["verification"]):
        if values["verification"] is not None:
            with contextlib.suppress(ValidationError):
                yield VerificationRow.model_validate_json(values["verification"])


def refused(table: pa.Table) -> list[RefusedRecord]:
    """Return the files that are not compared."""
    some = lines(table, ["location", "refused"])
    return [RefusedRecord(location=v["location"], why=v["refused"]) for v in some if v["refused"] is not None]
