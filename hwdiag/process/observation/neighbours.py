"""Neighbours on the CPUs: all processes but the program's and hwdiag's own, by name."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hwdiag.process.observation.model import Neighbour
from hwdiag.process.observation.observable import user_name
from hwdiag.process.observation.stat import TICKS, Stat, read_text

LEAST_CPUS = 0.02
MOST = 20
UNSEEN = "processes that are not shown here, or ran too shortly to be seen"
LEAST_UNSEEN_CPUS, LEAST_UNSEEN_SHARE = 0.2, 0.1
"""What is not shown is a difference of counters that are kept in different ways, of CPUs by ticks and of processes by
the time that they ran: less of it, or less of all that the CPUs did, says nothing."""


@dataclass
class _Use:
    name: str
    before: int
    """Ticks that do not count: those before the observation."""
    now: int

    @property
    def ticks(self) -> int:
        return max(0, self.now - self.before)


class Neighbours:
    """Adds up what others use, look by look."""

    def __init__(self, began: int, proc: str = "/proc") -> None:
        """``began``: when the observation began, in ticks since the machine's start."""
        self.began, self.proc = began, proc
        self.uses: dict[tuple[int, int], _Use] = {}
        self._program: dict[tuple[int, int], _Use] = {}
        self._ours: dict[tuple[int, int], _Use] = {}
        self._first_busy: int | None = None
        self._busy = 0
        self._told: dict[str, tuple[int, str, str]] = {}

    def look(self, stats: Mapping[int, Stat], program: Collection[int], ours: Collection[int]) -> None:
        """Take the table of all processes, with those of the program and hwdiag's own."""
        known = {**dict.fromkeys(program, self._program), **dict.fromkeys(ours, self._ours)}
        for pid, stat in stats.items():
            uses = known.get(pid, self.uses)
            key = (pid, stat.started)
            if (use := uses.get(key)) is None:
                uses[key] = _Use(stat.name, 0 if stat.started > self.began else stat.ticks, stat.ticks)
            else:
                use.now, use.name = stat.ticks, stat.name
                if uses is self.uses:
                    self._describe(pid, use)
        self._busy = busy_ticks(read_text(f"{self.proc}/stat", 4096))
        if self._first_busy is None:
            self._first_busy = self._busy

    def _describe(self, pid: int, use: _Use) -> None:
        """Remember the command line and the user of the busiest of a name, while it lives."""
        if use.ticks <= max(TICKS // 10, self._told.get(use.name, (0, "", ""))[0]):
            return
        command = read_text(f"{self.proc}/{pid}/cmdline", 4096).replace("\0", " ").strip()
        self._told[use.name] = (
            use.ticks,
            "".join(c if c.isprintable() else " " for c in command)[:200],
            self._user(pid),
        )

    def _user(self, pid: int) -> str:
        try:
            uid = os.stat(f"{self.proc}/{pid}").st_uid
        except OSError:
            return ""
        return user_name(uid)

    def found(self, seconds: float, program_cpu_s: float | None) -> tuple[Neighbour, ...]:
        """Return those that kept at least 0.02 CPUs busy over so many seconds, the busiest first.

        ``program_cpu_s``: all that the program used, to the end of each of its processes; only with it can be told what
        was used by processes that are not shown.
        """
        if seconds <= 0:
            return ()
        by_name: dict[str, list[int]] = {}
        for use in self.uses.values():
            if use.ticks:
                by_name.setdefault(use.name, []).append(use.ticks)
        found = []
        for name, ticks in by_name.items():
            cpus = sum(ticks) / TICKS / seconds
            if cpus >= LEAST_CPUS:
                _, command, user = self._told.get(name, (0, "", ""))
                found.append(Neighbour(name=name, processes=len(ticks), cpus=cpus, command=command, user=user))
        unseen = 0.0 if program_cpu_s is None else self._unseen_s(program_cpu_s) / seconds
        busy = (self._busy - (self._first_busy or 0)) / TICKS / seconds
        if unseen >= max(LEAST_UNSEEN_CPUS, LEAST_UNSEEN_SHARE * busy):
            found.append(Neighbour(name=UNSEEN, processes=0, cpus=unseen))
        return tuple(sorted(found, key=lambda n: -n.cpus)[:MOST])

    def _unseen_s(self, program_cpu_s: float) -> float:
        """Return the CPU seconds that were used by none of the processes that were seen."""
        others, ours, program = (sum(u.ticks for u in uses.values()) for uses in (self.uses, self._ours, self._program))
        busy = self._busy - (self._first_busy or 0)
        return (busy - others - ours) / TICKS - max(program_cpu_s, program / TICKS)


def busy_ticks(text: str) -> int:
    """Return the ticks that programs and the kernel's work for them took on all CPUs, as /proc/stat tells them."""
    words = text.split("\n", 1)[0].split()[1:9]
    user, nice, system = [*map(int, words), 0, 0, 0][:3]
    return user + nice + system
