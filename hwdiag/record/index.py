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

from hwdiag.record.entries import SCHEMA, as_table, entry
from hwdiag.record.reading import read_in_processes
from hwdiag.record.row import RecordRow, RefusedRecord
from hwdiag.record.sources import RecordSource, sources
from hwdiag.record.verification_row import VerificationRow

MANY = 400
"""Local files from which on several processes read them."""
SIDE_BY_SIDE = 16
"""Files of servers that are asked for at the same time."""
BATCH = 512
"""Lines of the table that are Python objects at the same time."""


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
    here, far = [s for s in found if s.path is not None], [s for s in found if s.path is None]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        lines = list(threads.map(entry, far))
    if len(here) < MANY:
        return as_table([*map(entry, here), *lines])
    return pa.concat_tables([*read_in_processes(here), as_table(lines)])


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
