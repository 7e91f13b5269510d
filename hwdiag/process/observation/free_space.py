"""Free space of the file systems that a program uses: /dev/shm as it sees it, and the disks that it works on.

A process may have mounts of its own; /proc/PID/root shows them while it lives. The file systems are asked in a thread
of its own, since one whose server is gone never answers. The thread is there from the beginning: a limit on processes
that the program reaches may hold for hwdiag, too.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading

from hwdiag.process.observation.model import SharedMemory

SHM = "/dev/shm"
FULL_SHARE, FULL_BYTES = 0.01, 64 << 20
"""A file system with less than both left is full."""
MOST_FILES = 256
"""Open files of a process that are looked at."""
MOST_PLACES = 32
READ_ONLY = os.ST_RDONLY
PATIENCE_S = 1.0


class FreeSpace:
    """Free space of the file systems, and those that become full."""

    def __init__(self, proc: str = "/proc") -> None:
        self.proc = proc
        self.shared = SharedMemory()
        self._places: dict[int, str] = {}
        """A folder on each file system, by its device."""
        self._full: dict[str, None] = {}
        self._tasks: queue.SimpleQueue[tuple[str, list[str]] | None] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._answer, daemon=True).start()

    def glance(self, pid: int) -> None:
        """Look at the shared memory that a process sees."""
        try:
            found = os.statvfs(f"{self.proc}/{pid}/root{SHM}")
        except OSError:
            return
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        size = found.f_blocks * found.f_frsize
        before = self.shared
        if before.size_bytes is None or used > (before.peak_bytes or 0) or size < before.size_bytes:
            least = size if before.size_bytes is None else min(size, before.size_bytes)
            self.shared = SharedMemory(size_bytes=least, peak_bytes=max(used, before.peak_bytes or 0))

    def look(self, pid: int, folders: tuple[str, ...]) -> None:
        """Look at the file systems of these folders, and of the files that a process writes, as soon as they answer."""
        if self._idle.is_set():
            self._idle.clear()
            self._tasks.put((f"{self.proc}/{pid}/root", [*folders, *written(pid, self.proc)]))

    def _answer(self) -> None:
        while (task := self._tasks.get()) is not None:
            self._look(*task)
            self._idle.set()

    def _look(self, root: str, paths: list[str]) -> None:
        for path in paths:
            with contextlib.suppress(OSError):
                device = os.stat(root + path).st_dev
                if device not in self._places and len(self._places) < MOST_PLACES:
                    self._places[device] = path
                if is_full(os.statvfs(root + path)):
                    self._full[mount_of(root, path, device)] = None

    def finish(self) -> tuple[str, ...]:
        """Return the mount points that were full at a look, or are now; it is the last look."""
        if self._idle.wait(PATIENCE_S):
            self._idle.clear()
            self._tasks.put(("", [*self._places.values()]))
            self._idle.wait(PATIENCE_S)
        self._tasks.put(None)
        return tuple(self._full)


def is_full(found: os.statvfs_result) -> bool:
    """Return whether a file system can take hardly anything more, or no more files."""
    if found.f_flag & READ_ONLY or not found.f_blocks:
        return False
    free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return free < min(FULL_SHARE * size, FULL_BYTES) or (found.f_files > 0 and found.f_favail == 0)


def mount_of(root: str, path: str, device: int) -> str:
    """Return the highest folder above a path that is on the same file system."""
    place = path if os.path.isdir(root + path) else os.path.dirname(path)
    while place != "/" and os.stat(root + os.path.dirname(place)).st_dev == device:
        place = os.path.dirname(place)
    return place


def written(pid: int, proc: str = "/proc") -> list[str]:
    """Return the files that a process has open for writing."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"{proc}/{pid}/fd")[:MOST_FILES]:
            with contextlib.suppress(OSError):
                path = os.readlink(f"{proc}/{pid}/fd/{name}")
                if (
                    path.startswith("/")
                    and not path.startswith(("/dev/", "/proc/", "/sys/"))
                    and is_written(pid, name, proc)
                ):
                    found.append(path.removesuffix(" (deleted)"))
    return found


def is_written(pid: int, number: str, proc: str = "/proc") -> bool:
    """Return whether an open file is open for writing."""
    with open(f"{proc}/{pid}/fdinfo/{number}", encoding="ascii", errors="replace") as file:
        flags = next((line.split()[1] for line in file if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
