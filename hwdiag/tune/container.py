"""Parts that the files of all containers share: sizes, and what of a Plan an image must have."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.tune.way import Start

SHARED_MEMORY = 2**30
"""Bytes of /dev/shm where the host's own is not known to be smaller: engines give 64 MiB, over which two workers of a
DataLoader already fail with a bus error."""
OPEN_FILES = 65536
"""A DataLoader keeps a file open for each tensor that a worker hands over."""
ROOM = 1.5
"""Memory that a container may take, of the most that a process was seen to take."""
LEAST_MEMORY = 2 * 2**30


def shared_memory(start: Start) -> int:
    """Return the bytes of /dev/shm."""
    told = start.host.limits.shared_memory_bytes
    return min(SHARED_MEMORY, told) if told else SHARED_MEMORY


def open_files(start: Start) -> int:
    """Return the limit of open files: no more than the measured process could have, as an engine without root cannot
    raise it."""
    hard = (start.host.limits.nofile or (None, None))[1]
    return min(OPEN_FILES, hard) if hard else OPEN_FILES


def memory_bytes(start: Start) -> int:
    """Return the bytes of memory that one process may take, its shared memory among them, in whole GiB."""
    wanted = max(LEAST_MEMORY, int((start.peak_bytes or 0) * ROOM)) + shared_memory(start)
    return -(-wanted // 2**30) * 2**30


def image_notes(start: Start) -> Iterator[str]:
    """Yield what the image must have for the Plan, a sentence each."""
    if start.launch.allocator is not None:
        yield f"The image must have {start.launch.allocator.path}: without it the program runs, and ld.so warns."
    beside = [path for path in (*start.libraries, start.python_path) if path.startswith(str(start.scripts))]
    if beside:
        yield f"The container must see {start.scripts} at the same path."


def mounted(start: Start) -> bool:
    """Return whether the program needs files of the run's folder of scripts."""
    return bool(start.launch.preload or start.launch.python_path)
