"""Programs as they are observed, with chosen values: what the probes are asked of."""

from __future__ import annotations

from typing import Any

from hwdiag.core.finding import Check, Finding
from hwdiag.explain.model import Answer, Case
from hwdiag.host.model import Host
from hwdiag.process.model import Outcome
from hwdiag.process.observation.model import (
    CgroupOfProcess,
    Ending,
    MemoryPoint,
    ObservationCost,
    ObservedProcess,
    ObservedThread,
    Program,
    ResourceLimits,
)
from tests.conftest import make_host

MIB = 1 << 20
GIB = 1 << 30
SECONDS = 10.0


def thread(cpu_s: float = 0.0, wait_s: float | None = 0.0, **more: Any) -> ObservedThread:
    """One thread that may run on CPUs 0 to 3, at the usual priority."""
    usual: dict[str, Any] = {
        "tid": 1, "name": "python", "allowed": (0, 1, 2, 3), "ran_on": (0,), "policy": "other", "nice": 0,
    }  # fmt: skip
    return ObservedThread(**{**usual, **more}, cpu_s=cpu_s, wait_s=wait_s)


def process(pid: int = 100, *threads: ObservedThread, **more: Any) -> ObservedProcess:
    """One process of 10 s that has torch."""
    usual: dict[str, Any] = {
        "parent": 1, "name": "python", "command": ("python", "train.py"), "executable": "/opt/venv/bin/python3.11",
        "uid": 1000, "began_s": 0.0, "ended_s": SECONDS, "first_allowed": (0, 1, 2, 3), "allowed": (0, 1, 2, 3),
        "most_threads": max(1, len(threads)), "cpu_s": sum(t.cpu_s for t in threads), "major_faults": 0, "memory": (),
        "environment": {}, "libraries": (), "torch": True, "most_open_files": 12,
        "limits": ResourceLimits(open_files=1024), "cgroup": CgroupOfProcess(path="/user", oom_kills=0),
    }  # fmt: skip
    return ObservedProcess(**{**usual, **more}, pid=pid, threads=threads)


def points(resident: list[float], seconds: float = SECONDS, **more: list[float]) -> tuple[MemoryPoint, ...]:
    """Memory over time, in MiB; what is not given is anonymous."""
    step = seconds / max(1, len(resident) - 1)
    found = []
    for n, value in enumerate(resident):
        parts = {name: int(values[n] * MIB) for name, values in more.items()}
        anonymous = int(value * MIB) - parts.get("file_bytes", 0) - parts.get("shared_bytes", 0)
        found.append(
            MemoryPoint(
                **{
                    "seconds": n * step, "resident_bytes": int(value * MIB), "anonymous_bytes": anonymous,
                    "file_bytes": 0, "shared_bytes": 0, "swapped_bytes": 0, "mapped_bytes": int(4 * value * MIB),
                    **parts,
                }
            )
        )  # fmt: skip
    return tuple(found)


def ending(status: int | None = 0, stderr: str = "", stdout: str = "", **more: Any) -> Ending:
    """Return how it ended."""
    outcome = Outcome(kind="ok") if not status else Outcome(kind="error" if status > 0 else "signal", detail="it died")
    return Ending(**{"outcome": outcome, "seconds": SECONDS, **more}, status=status, stderr=stderr, stdout=stdout)


def program(*processes: ObservedProcess, **more: Any) -> Program:
    """Return a program of 10 s on a host of four CPUs."""
    usual: dict[str, Any] = {
        "command": ("python", "train.py"), "started_at": "2026-11-30T20:00:00Z", "seconds": SECONDS,
        "own_allowed": (0, 1, 2, 3), "ending": ending(), "cost": ObservationCost(cpu_s=0.1, share=0.01, looks=100),
        "machine": {"cpu.use": 30.0, "cpu.steal": 0.0}, "oom_kills": 0,
    }  # fmt: skip
    return Program(**{**usual, **more}, processes=processes)


def case(*processes: ObservedProcess, host: Host | None = None, **more: Any) -> Case:
    """Return what probes look at."""
    return Case(host or make_host(), program(*processes, **more))


def findings(answers: list[Answer]) -> dict[str, Finding]:
    """Return the findings by their ids."""
    return {a.id: a for a in answers if isinstance(a, Finding)}


def checks(answers: list[Answer]) -> dict[str, Check]:
    """Return the checks by their ids."""
    return {a.id: a for a in answers if isinstance(a, Check)}
