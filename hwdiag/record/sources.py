"""Locations of records: folders, files and the URLs that fsspec knows. They are found here and read by the caller."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from hwdiag.core.errors import UsageError
from hwdiag.core.outside import OutsideError, read_file, size
from hwdiag.record.convert import OLD_FILES
from hwdiag.record.store import FILE, MAX_BYTES
from hwdiag.record.verification import FILE as VERIFICATION
from hwdiag.record.web import web_files

FILES = (FILE, VERIFICATION, *OLD_FILES)
"""Names of records, of verifications, and of what older versions wrote in their place."""


@dataclass(frozen=True)
class RecordSource:
    """One file: where it is, and what tells whether it has changed."""

    location: str
    stamp: str
    read: Any
    """Gives its bytes."""
    path: str | None = None
    """Of a file of this machine, as the file system has it."""

    @property
    def is_verification(self) -> bool:
        """Return whether its name says that it is a verification."""
        return self.location.rpartition("/")[2] == VERIFICATION


def sources(locations: Sequence[str]) -> Iterator[RecordSource]:
    """Yield all records and verifications in folders, files and URLs.

    Raises:
        UsageError: there is nothing at a location, or it cannot be reached.
    """
    for location in locations:
        found = list(found_at(location))
        if not found:
            raise UsageError(f"no record at {location}")
        yield from found


def found_at(location: str) -> Iterator[RecordSource]:
    """Yield the records at one location."""
    if location.startswith(("http://", "https://")):
        return (RecordSource(f.url, f.stamp, f.read) for f in web_files(location, FILES, MAX_BYTES))
    return remote(location) if "://" in location else local(Path(location))


def local(path: Path) -> Iterator[RecordSource]:
    """Yield the records in a folder and all below it. Links to folders are not followed."""
    try:
        seen = path.stat()
    except (OSError, ValueError) as error:
        raise UsageError(f"no record at {path}: {getattr(error, 'strerror', 'no name of a file')}") from None
    if stat.S_ISREG(seen.st_mode):
        yield local_file(str(path), seen)
    elif not stat.S_ISDIR(seen.st_mode):
        raise UsageError(f"no record at {path}: not a regular file")
    else:
        for folder, inner, files in os.walk(path):
            inner.sort()
            there = set(files)
            for found in (known for known in FILES if known in there):
                name = os.path.join(folder, found)  # noqa: PTH118 - ten thousand of them
                with contextlib.suppress(OSError):
                    yield local_file(name, os.stat(name))  # noqa: PTH116


def local_file(name: str, seen: os.stat_result) -> RecordSource:
    return local_source(name, f"{seen.st_size} {seen.st_mtime_ns}")


def local_source(name: str, stamp: str) -> RecordSource:
    """Return a file of this machine."""
    location = name.encode(errors="backslashreplace").decode()  # a name that is no Unicode
    return RecordSource(location, stamp, partial(read_file, name, MAX_BYTES), name)


def remote(url: str) -> Iterator[RecordSource]:
    """Yield the records at a URL of any protocol that fsspec knows here."""
    try:
        system, path = url_to_fs(url)
        infos = [system.info(path)] if system.isfile(path) else list(system.find(path, detail=True).values())
    except ImportError as error:
        raise UsageError(f"{url}: its protocol needs a package that is not installed: {error}") from None
    except Exception as error:  # each protocol has exceptions of its own
        raise UsageError(
            f"{url} cannot be read: {' '.join(str(error).split())[:200] or type(error).__name__}"
        ) from None
    for info in infos:
        name = str(info["name"])
        if name.rpartition("/")[2] in FILES or len(infos) == 1:
            stamp = f"{info.get('size')} {info.get('mtime') or info.get('LastModified') or info.get('ETag') or ''}"

            def read(system: Any = system, name: str = name) -> bytes:
                data: bytes = system.read_block(name, 0, MAX_BYTES + 1)
                if len(data) > MAX_BYTES:
                    raise OutsideError(f"larger than {size(MAX_BYTES)}")
                return data

            yield RecordSource(system.unstrip_protocol(name), stamp, read)
