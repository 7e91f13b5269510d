"""Many local files read by several processes: what kills one of them takes only its own line along.

As a program (``python -m hwdiag.record.reading``) it is one of these: names of files come in, a line each with its
stamp, and lines of the index go out, in pieces of an Arrow stream.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from hwdiag.record.entries import SCHEMA, as_table, entry, lost
from hwdiag.record.sources import RecordSource, local_source

MOST = 8
"""Processes at the same time."""
PIECE = 50
"""Files of which the lines come together."""
MEMORY = 4 << 30
"""Bytes that one process may map: a file of the largest size takes a quarter."""


def read_in_processes(found: Sequence[RecordSource]) -> list[pa.Table]:
    """Return the lines for these local files, read by as many processes as this one may use CPUs."""
    count = min(MOST, len(os.sched_getaffinity(0)), len(found))
    with ThreadPoolExecutor(count) as threads:
        shares = threads.map(read_share, [found[i::count] for i in range(count)])
        return [table for share in shares for table in share]


def read_share(found: Sequence[RecordSource]) -> list[pa.Table]:
    """Return the lines for these files, read by one process, or by one more for each that dies."""
    tables: list[pa.Table] = []
    piece, done = PIECE, 0
    until = len(found)
    while done < len(found):
        told = read_by_child(found[done:until], piece)
        tables += told
        done += sum(table.num_rows for table in told)
        if done < until and piece > 1:  # one of the next PIECE files: one at a time
            piece, until = 1, min(len(found), done + PIECE)
        elif done < until:
            tables.append(lost(found[done]))
            done += 1
        else:
            piece, until = PIECE, len(found)
    return tables


def read_by_child(found: Sequence[RecordSource], piece: int) -> list[pa.Table]:
    """Return the lines that a process gives for these files: of all of them, or as far as it came."""
    tables: list[pa.Table] = []
    with tempfile.TemporaryFile() as names:
        names.writelines(b"%s\0%s\0" % (os.fsencode(s.path or ""), s.stamp.encode()) for s in found)
        names.seek(0)
        command = [sys.executable, "-m", __name__, str(piece)]
        root = str(Path(__file__).parents[2])
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
        with subprocess.Popen(
            command, stdin=names, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        ) as child:
            try:
                assert child.stdout is not None
                for batch in pa.ipc.open_stream(child.stdout):
                    tables.append(pa.Table.from_batches([batch], schema=SCHEMA))
            except (pa.ArrowException, OSError):  # it died
                pass
            finally:
                child.kill()
    return tables


def asked(stream: BinaryIO) -> Iterator[RecordSource]:
    """Yield the files that are asked for."""
    words = iter(stream.read().split(b"\0")[:-1])
    for location in words:
        yield local_source(os.fsdecode(location), next(words).decode())


def main() -> None:
    """Read the files and write their lines."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    gc.disable()  # nothing of what is read has cycles
    piece = int(sys.argv[1])
    found = list(asked(sys.stdin.buffer))
    out = sys.stdout.buffer
    with pa.ipc.new_stream(out, SCHEMA) as stream:
        for i in range(0, len(found), piece):
            table = as_table([entry(source) for source in found[i : i + piece]]).combine_chunks()
            stream.write_table(table, max_chunksize=max(1, table.num_rows))
            out.flush()


if __name__ == "__main__":
    main()
