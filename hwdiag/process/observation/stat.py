"""Reading of /proc/PID/stat (proc(5)) by bare system calls, since it is read thousands of times."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
"""In which the kernel counts CPU time, a second."""
PAGE = os.sysconf("SC_PAGE_SIZE")
POLICIES = ("other", "fifo", "rr", "batch", "iso", "idle", "deadline", "ext")
"""By the numbers of <linux/sched.h>."""
WHOLE = 4 << 20
"""Most bytes read of one file."""


class Stat(NamedTuple):
    """One process, all of its threads together, or one thread."""

    name: str
    state: str
    """``R`` runs or wants to, ``D`` waits for a disk, ``Z`` has ended ..."""
    parent: int
    major_faults: int
    ticks: int
    """CPU time."""
    nice: int
    threads: int
    started: int
    """Ticks after the machine's start."""
    mapped: int
    """Bytes of address space."""
    resident: int
    stack: int
    """Address where its stack begins: another one after each exec; 0 where that is not shown."""
    cpu: int
    """The CPU that it runs on, or ran on last."""
    policy: int

    @property
    def cpu_s(self) -> float:
        return self.ticks / TICKS

    @property
    def has_ended(self) -> bool:
        """Return whether the process has ended, and nobody has asked how."""
        return self.state in "ZXx"


def read_bytes(path: str, most: int = WHOLE) -> bytes:
    """Return what a file holds, at most so many bytes; nothing where it is gone. Raises ``PermissionError``."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:
        return b""
    try:
        piece = os.read(handle, 1 << 16)
        pieces, size = [piece], len(piece)
        while piece and size < most:
            piece = os.read(handle, 1 << 16)
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)[:most]
    except PermissionError:
        raise
    except OSError:  # it ended meanwhile
        return b""
    finally:
        os.close(handle)


def read_text(path: str, most: int = WHOLE) -> str:
    """Return what a file holds as text; nothing where it is gone, or not shown."""
    try:
        return read_bytes(path, most).decode(errors="replace")
    except PermissionError:
        return ""


def read_stat(path: str) -> Stat | None:
    """Return what a stat file tells; None where it is gone."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return parse_stat(os.read(handle, 4096))
    except OSError:
        return None
    finally:
        os.close(handle)


def parse_stat(line: bytes) -> Stat | None:
    """Return what a line of a stat file tells; None where it is none. The name in it may hold anything."""
    head, _, tail = line.rpartition(b")")
    fields = tail.split()
    if len(fields) < 39:
        return None
    return Stat(
        name=head.partition(b"(")[2].decode(errors="replace"),
        state=fields[0].decode(),
        parent=int(fields[1]),
        major_faults=int(fields[9]),
        ticks=int(fields[11]) + int(fields[12]),
        nice=int(fields[16]),
        threads=int(fields[17]),
        started=int(fields[19]),
        mapped=int(fields[20]),
        resident=int(fields[21]) * PAGE,
        stack=int(fields[25]),
        cpu=int(fields[36]),
        policy=int(fields[38]),
    )


def ticks_now() -> int:
    """Return the time now as ``Stat.started`` counts it."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS)
