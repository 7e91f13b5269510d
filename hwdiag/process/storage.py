"""Reading speed of a large file that is not in memory: in order as programs do, and past the file cache."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path

from hwdiag.core.value import Value

LEAST_BYTES = 32 << 20
"""A smaller file says more about starting than about reading."""
MOST_BYTES = 256 << 20
"""Of each way."""
SECONDS = 2.0
"""Of each way, at most."""
MAX_NAMES = 5000
PIECE = 1 << 20
"""Bytes of one read() in order, as Python's and safetensors' readers ask for about as much."""
DIRECT_PIECE = 8 << 20


class ReadSpeed(Value):
    """Two speeds of one file, each of its own half, in B/s."""

    path: str
    disk: str | None = None
    """Name under /sys/block; None where it is no single disk."""
    buffered: float
    """In order, with the kernel's read-ahead."""
    direct: float | None = None
    """In large pieces past the cache (O_DIRECT); None where the file system has no such way."""


def read_speed(folder: Path) -> ReadSpeed | None:
    """Measure with the largest file below a folder; None where there is none that can be read from the disk.

    Reads only. The file's pages are dropped from the file cache before and after; nothing else is.
    """
    largest = max(_files(folder), key=lambda f: f[1], default=None)
    if largest is None or largest[1] < LEAST_BYTES:
        return None
    path, size = largest
    half = min(size // 2, MOST_BYTES) // DIRECT_PIECE * DIRECT_PIECE
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        if _in_memory(handle, (0, half // 2)):
            return None  # another program holds it there
        buffered = _speed(_in_order(handle, half))
        direct = None
        with contextlib.suppress(OSError):
            direct = _speed(_past_cache(path, half))
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        return ReadSpeed(path=str(path), disk=_disk(os.fstat(handle).st_dev), buffered=buffered, direct=direct)
    except OSError:
        return None
    finally:
        os.close(handle)


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield plain files and their sizes, of the first few thousand names."""
    left = MAX_NAMES
    for here, _, names in os.walk(folder):
        for name in names:
            left -= 1
            if left < 0:
                return
            path = Path(here, name)
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    yield path, path.stat().st_size


def _in_memory(handle: int, places: tuple[int, ...]) -> bool:
    """Return whether some of these bytes can be had without waiting for the disk."""
    for place in places:
        try:
            if os.preadv(handle, [bytearray(1)], place, os.RWF_NOWAIT):
                return True
        except BlockingIOError:
            continue
        except OSError:
            return False  # the file system cannot tell
    return False


def _in_order(handle: int, size: int) -> Iterator[int]:
    buffer = memoryview(bytearray(PIECE))
    for place in range(0, size, PIECE):
        yield os.preadv(handle, [buffer], place)


def _past_cache(path: Path, start: int) -> Iterator[int]:
    """Read the second half past the file cache, so that neither way finds what the other read, and yield the bytes of
    each piece."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    try:
        buffer = mmap.mmap(-1, DIRECT_PIECE)  # aligned to a page, as O_DIRECT wants it
        for place in range(start, 2 * start, DIRECT_PIECE):
            yield os.preadv(handle, [buffer], place)
    finally:
        os.close(handle)


def _speed(pieces: Iterator[int]) -> float:
    """Return the bytes a second over all pieces, or over as many as the time allows."""
    began, total = time.perf_counter(), 0
    for size in pieces:
        total += size
        if time.perf_counter() - began > SECONDS:
            break
    return total / (time.perf_counter() - began)


def _disk(device: int) -> str | None:
    """Return the disk that a file system lies on, itself or as its partition."""
    place = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    try:
        real = Path(place).resolve(strict=True)
    except OSError:
        return None
    return real.parent.name if (real / "partition").exists() else real.name
