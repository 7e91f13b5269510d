"""Samples into a Parquet file, a group of rows at a time, so that memory stays as it is however long it takes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.host.source import Column
from hwdiag.monitor.model import Summary

ROWS = 1024
"""Rows of a group: 8.5 minutes at 2 Hz. Each group costs some 100 bytes a column in the file's own index."""
INDEX_BYTES = 200
"""Room for what the file's index says of one column of one group."""
TIME, MARK = "seconds", "mark"
"""The first column, seconds since the start, and the last, the marks since the sample before."""


class Recorder:
    """Takes samples and writes them. ``full`` says why no more are taken: the disk is full, or the folder is gone."""

    def __init__(self, path: Path, columns: Sequence[Column], about: dict[str, str]) -> None:
        """``about`` goes into the file's metadata. Raises ``HwdiagError`` where the file cannot be written."""
        import pyarrow as pa
        from pyarrow import parquet

        self.path, self.full, self.written = path, "", 0
        self._rows = np.full((ROWS, len(columns)), np.nan, dtype=np.float32)
        self._times = np.zeros(ROWS)
        self._marks: list[str | None] = [None] * ROWS
        self._filled = 0
        self._schema = pa.schema(
            [
                pa.field(TIME, pa.float64(), metadata={"unit": "s", "title": "since the start"}),
                *(pa.field(c.name, pa.float32(), metadata={"unit": c.unit, "title": c.title}) for c in columns),
                pa.field(MARK, pa.string(), metadata={"title": "what happened since the sample before"}),
            ],
            metadata=about,
        )
        try:
            self._file = path.open("wb", buffering=0)
            self._reserve()
            self._writer = parquet.ParquetWriter(
                self._file, self._schema, compression="zstd", use_dictionary=False, write_statistics=False
            )
        except OSError as error:
            raise HwdiagError(f"cannot write {path}: {error.strerror or error}") from None

    def add(self, seconds: float, values: Sequence[float], mark: str | None = None) -> None:
        """Add one sample."""
        if self.full:
            return
        self._times[self._filled], self._rows[self._filled], self._marks[self._filled] = seconds, values, mark
        self._filled += 1
        if self._filled == ROWS:
            self._flush()

    def close(self) -> int:
        """Write what is left and the file's index; gives the file's size in bytes.

        Raises:
            HwdiagError: that failed; there is no file then.
        """
        try:
            if self._filled:
                self._flush()
            self._writer.close()
            size = self._file.tell()
            self._file.truncate(size)  # without the reserve
            self._file.close()
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise HwdiagError(f"cannot write {self.path}: {error.strerror or error}; it is removed") from None
        return size

    def _flush(self) -> None:
        """Write the rows so far; where the disk gets full meanwhile, they go into the reserve, and are the last."""
        import pyarrow as pa

        try:
            self._reserve()
        except OSError as error:
            self.full = error.strerror or str(error)
        rows = self._rows[: self._filled]
        columns = [pa.array(self._times[: self._filled])]
        columns += [pa.array(np.ascontiguousarray(rows[:, i])) for i in range(rows.shape[1])]
        columns.append(pa.array(self._marks[: self._filled], pa.string()))
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self.written += self._filled
        self._filled, self._marks = 0, [None] * ROWS

    def _reserve(self) -> None:
        """Keep room on the disk for the next group and the index, so that the file can be closed when it gets full."""
        columns = len(self._schema.names)
        room = (1 << 20) + 8 * ROWS * columns + INDEX_BYTES * columns * (self.written // ROWS + 2)
        os.posix_fallocate(self._file.fileno(), self._file.tell(), room)


def read_columns(path: Path, names: Iterable[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield each column of numbers of a recording, with its name, one at a time.

    Raises:
        UsageError: there is no recording there.
    """
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            for name in names if names is not None else file.schema_arrow.names:
                if name != MARK:
                    yield name, file.read([name]).column(0).to_numpy()
    except (OSError, ArrowException, KeyError, IndexError) as error:
        raise UsageError(f"{path} is not a recording: {str(error).splitlines()[0]}") from None


def summaries(path: Path, columns: Sequence[Column], began: float, ended: float) -> tuple[Summary, ...]:
    """Return the summary of each column between these seconds, with one column in memory at a time. Columns that told
    nothing are left out."""
    ((_, times),) = read_columns(path, [TIME])
    inside = (times > began) & (times <= ended)
    by_name = {c.name: c for c in columns}
    found = (summary_of(by_name[name], values[inside]) for name, values in read_columns(path, list(by_name)))
    return tuple(s for s in found if s is not None)


def summary_of(column: Column, values: Any) -> Summary | None:
    """Return the summary of one column's values; None where nothing was reported."""
    known = values[~np.isnan(values)].astype(float)
    if not len(known):
        return None
    low, middle, high = np.percentile(known, (5, 50, 95))
    return Summary(
        name=column.name,
        unit=column.unit,
        title=column.title,
        samples=len(known),
        mean=math.fsum(known) / len(known),
        p5=low,
        median=middle,
        p95=high,
        most=known.max(),
    )
