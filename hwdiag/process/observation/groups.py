"""Control groups of a process: what they allow, and what they did to it while it was observed.

Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of Linux. Version 1 counts an OOM kill in the victim's
own group; ``memory.events`` of version 2 counts those of groups below, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hwdiag.host.cgroup import V1_NO_LIMIT, Hierarchy, parse_throttled, read_cgroup, read_hierarchies
from hwdiag.host.root import Root
from hwdiag.process.observation.model import CgroupOfProcess

USUAL_SHARES, USUAL_WEIGHT = 1024, 100
"""Of version 1 and of version 2: the same share of the CPUs."""


class ProcessGroups:
    """The control groups of one process; looked at again and again, since they may be gone when it has ended."""

    def __init__(self, root: Root, process: str = "self") -> None:
        self.root = root
        hierarchies = read_hierarchies(root, process)
        self._cpu = _with(root, hierarchies, "cpu", "cpu.stat")
        self._memory = _with(root, hierarchies, "memory", "memory.current")
        self._pids = _with(root, hierarchies, "pids", "pids.current")
        self.path = max((path_of(h) for h in hierarchies), key=len, default="")
        self.limits = read_cgroup(root, process)
        self.weight = self._read_weight()
        self._usage_file = self._limiting_memory()
        self._memory_most = 0
        self._pids_limit, self._pids_folder = self._limiting_pids()
        self._pids_most = 0
        self._before = self._now = self._counters()
        self._peaks = self._read_peaks()
        self.look()

    def look(self) -> None:
        """Read what changes."""
        now = self._counters()
        self._now = {name: value if value is not None else self._now[name] for name, value in now.items()}
        self._memory_most = max(self._memory_most, self._integer(self._usage_file) or 0)
        self._pids_most = max(self._pids_most, self._integer(f"{self._pids_folder}/pids.current") or 0)
        peaks = self._read_peaks()
        if (peaks[0] or 0) > (self._peaks[0] or 0):  # a peak of before is nobody's business
            self._memory_most = max(self._memory_most, peaks[0] or 0)
        if (peaks[1] or 0) > (self._peaks[1] or 0):
            self._pids_most = max(self._pids_most, peaks[1] or 0)

    def is_there(self) -> bool:
        """Return whether the group that counts its OOM kills is there, or whether it is gone."""
        return all(self.root.exists(hierarchy.folders[0]) for hierarchy in self._memory)

    def found(self) -> CgroupOfProcess:
        """Return what was seen."""
        return CgroupOfProcess(
            path=self.path,
            cpu_quota=self.limits.cpu_quota,
            cpu_weight=self.weight,
            throttled_s=self._grew("throttled"),
            memory_limit_bytes=self.limits.memory_bytes,
            memory_peak_bytes=self._memory_most or None,
            oom_kills=_whole(self._grew("oom")),
            pids_limit=self._pids_limit,
            pids_peak=self._pids_most or None,
            pids_refused=_whole(self._grew("refused")),
            cpuset=self.limits.cpus,
        )

    # Counters

    def _counters(self) -> dict[str, float | None]:
        return {"throttled": self._throttled(), "oom": self._oom_kills(), "refused": self._refused()}

    def _grew(self, name: str) -> float | None:
        before, now = self._before[name], self._now[name]
        return None if now is None else max(0.0, now - (before or 0.0))

    def _throttled(self) -> float | None:
        """Return the seconds of throttling, counted where the quota is set, which may be an ancestor."""
        files = (self.root.text(f"{folder}/cpu.stat") for folder in _folders(self._cpu))
        told = [seconds for text in files if (seconds := parse_throttled(text or "")) is not None]
        return max(told, default=None)

    def _oom_kills(self) -> float | None:
        for hierarchy in self._memory:
            name = "memory.events" if hierarchy.version == 2 else "memory.oom_control"
            kills = _counter(self.root.text(f"{hierarchy.folders[0]}/{name}"), "oom_kill")
            if kills is not None:
                return kills
        return None

    def _refused(self) -> float | None:
        told = [_counter(self.root.text(f"{folder}/pids.events"), "max") for folder in _folders(self._pids)]
        return max((t for t in told if t is not None), default=None)

    def _read_peaks(self) -> tuple[int | None, int | None]:
        """Return the most memory and the most processes since the group was made. Version 1 has the former, newer
        kernels both."""
        folder = self._usage_file.rpartition("/")[0]
        memory = self._integer(f"{folder}/memory.peak") or self._integer(f"{folder}/memory.max_usage_in_bytes")
        return memory, self._integer(f"{self._pids_folder}/pids.peak")

    # What limits

    def _read_weight(self) -> int | None:
        """Return the smallest weight of its groups, 10,000 at most."""
        told = []
        for hierarchy in self._cpu:
            for folder in hierarchy.folders:
                if hierarchy.version == 2:
                    idle = self._integer(f"{folder}/cpu.idle")
                    told.append(0 if idle else self._integer(f"{folder}/cpu.weight"))
                elif (shares := self._integer(f"{folder}/cpu.shares")) is not None:
                    told.append(round(shares * USUAL_WEIGHT / USUAL_SHARES))
        return min((t for t in told if t is not None), default=None)

    def _limiting_memory(self) -> str:
        """Return the file with the memory use of the group whose limit is the tightest; without one, of the process's
        own group."""
        found: list[tuple[float, int, str]] = []
        for hierarchy in self._memory:
            names = ("max", "current") if hierarchy.version == 2 else ("limit_in_bytes", "usage_in_bytes")
            for far, folder in enumerate(hierarchy.folders):
                text = self.root.word(f"{folder}/memory.{names[0]}") or "max"
                limit = int(text) if text.isdigit() and int(text) < V1_NO_LIMIT else float("inf")
                found.append((limit, far, f"{folder}/memory.{names[1]}"))
        return min(found, default=(0.0, 0, ""))[2]

    def _limiting_pids(self) -> tuple[int | None, str]:
        found: list[tuple[float, int, str]] = []
        for far, folder in enumerate(_folders(self._pids)):
            text = self.root.word(f"{folder}/pids.max") or "max"
            found.append((int(text) if text.isdigit() else float("inf"), far, folder))
        limit, _, folder = min(found, default=(float("inf"), 0, ""))
        return None if limit == float("inf") else int(limit), folder

    def _integer(self, path: str) -> int | None:
        text = (self.root.word(path) or "") if path.count("/") > 1 else ""  # no folder, no answer
        return int(text) if text.isdigit() and len(text) < 20 else None


def path_of(hierarchy: Hierarchy) -> str:
    """Return the group's path within its hierarchy."""
    return hierarchy.folders[0].removeprefix(hierarchy.folders[-1]) or "/"


def _with(root: Root, hierarchies: Iterable[Hierarchy], controller: str, file: str) -> list[Hierarchy]:
    """Return the hierarchies that have a controller: version 1 says so, in version 2 the group below the top has its
    file."""
    return [
        h
        for h in hierarchies
        if controller in h.controllers or (h.version == 2 and root.exists(f"{h.folders[0]}/{file}"))
    ]


def _folders(hierarchies: Iterable[Hierarchy]) -> list[str]:
    return [folder for hierarchy in hierarchies for folder in hierarchy.folders]


def _counter(text: str | None, name: str) -> float | None:
    match = re.search(rf"^{name} (\d+)$", text or "", re.MULTILINE)
    return float(match[1]) if match else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
