"""The table of all processes, and which of them belong to the program that is observed."""

from __future__ import annotations

import contextlib
import os

from hwdiag.process.observation.stat import Stat, read_stat

MOST_READ = 20_000
"""Processes of which the table is kept; a machine with more shows the first ones."""


class ProcessTable:
    """All processes that this machine shows, and those that belong to a program: its tops and what is below them.

    A process that belonged once does so until it ends, also where its parent ended and another one adopted it.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self.proc = proc
        self.tops: set[int] = set()
        self.stats: dict[int, Stat] = {}
        self.members: dict[int, int] = {}
        """Of the program: when each was started, since process ids come again."""

    def look(self, whole: bool) -> None:
        """Read the program's processes and new ones; with ``whole`` all others too, which takes longer."""
        ids = self._ids()
        stats: dict[int, Stat] = {}
        for pid in ids:
            known = None if whole or pid in self.members else self.stats.get(pid)
            stat = known or read_stat(f"{self.proc}/{pid}/stat")
            if stat is not None:
                stats[pid] = stat
        self.stats = stats
        self._join()

    def _ids(self) -> list[int]:
        with contextlib.suppress(OSError):
            return [int(name) for name in os.listdir(self.proc) if name.isdigit()][:MOST_READ]
        return []

    def _join(self) -> None:
        stats, members = self.stats, self.members
        for pid, started in [*members.items()]:
            if pid not in stats or stats[pid].started != started:
                del members[pid]
        inside = set(self.tops) | members.keys()
        outside = {pid: stat for pid, stat in stats.items() if pid not in inside}
        while new := {pid for pid, stat in outside.items() if stat.parent in inside}:
            for pid in new:
                members[pid] = outside.pop(pid).started
            inside |= new
