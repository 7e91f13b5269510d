"""A fleet as a Parquet file, one row a host, for programs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hwdiag.compare.fleet.model import Fleet
from hwdiag.core.errors import HwdiagError

REMARK = pa.struct(
    [("kind", pa.string()), ("severity", pa.string()), ("text", pa.string()), ("loss", pa.float64()),
     ("since", pa.string())]
)  # fmt: skip
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("severity", pa.string()),
        ("loss", pa.float64()),
        ("status", pa.string()),
        ("machine", pa.string()),
        ("peers", pa.int64()),
        ("records", pa.int64()),
        ("newest", pa.string()),
        ("location", pa.string()),
        ("remarks", pa.list_(REMARK)),
    ]
)


def fleet_table(fleet: Fleet) -> pa.Table:
    """Return the hosts, the worst first; ``severity`` is empty where there is nothing to say, ``loss`` the most of a
    host's remarks."""
    rows = [
        {**host.model_dump(), "severity": host.severity, "loss": max((r.loss for r in host.remarks), default=0.0)}
        for host in fleet.hosts
    ]
    metadata = {"hwdiag_fleet": "1", "made_at": fleet.made_at}
    return pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata))


def write_table(fleet: Fleet, path: Path) -> None:
    """Write the Parquet file, whole or not at all.

    Raises:
        HwdiagError: it could not be written.
    """
    partial = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".fleet-", delete=False) as file:
            partial = Path(file.name)
            pq.write_table(fleet_table(fleet), file, compression="zstd")
        partial.chmod(0o644)
        partial.replace(path)
    except OSError as error:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise HwdiagError(f"cannot write {path}: {error.strerror}") from None
