"""Roles in a program: the processes that train, those that load for them, and those that only start others."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache

from hwdiag.process.observation.followed import FollowedProcess
from hwdiag.process.observation.mapped import TORCH
from hwdiag.process.observation.packages import packages
from hwdiag.process.observation.processes import STARTED, WORKER, Member, workers_of

NAMES_WORKERS = (2, 6)
"""The version of torch from which on a worker of a DataLoader bears a name of its own."""
RANKS = ("RANK", "LOCAL_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Variables that a launcher gives to each process that it starts."""


def loaders(followed: Mapping[int, FollowedProcess]) -> dict[int, tuple[int, ...]]:
    """Return the workers of each process that has a DataLoader with such.

    Other processes look like workers, too: ranks that ``torch.multiprocessing`` starts. Where torch names its workers,
    those without the name are none.
    """
    members = {pid: Member(p.stat.parent, p.command, p.stat.name) for pid, p in followed.items()}
    found = {}
    for pid, workers in workers_of(members).items():
        named = tuple(w for w in workers if followed[w].is_worker or members[w].name.startswith(WORKER))
        if named or not names_workers(followed[pid]):
            found[pid] = named or workers
    return found


def mark_workers(everybody: Collection[FollowedProcess]) -> None:
    """Mark those forked beside other workers of the same training which ended before they had their name."""
    named = {(p.parent, p.command) for p in everybody if p.is_worker}
    for process in everybody:
        if process.began == process.ended and process.torch and (process.parent, process.command) in named:
            process.is_worker = True


def names_workers(process: FollowedProcess) -> bool:
    """Return whether the torch that the process has mapped gives its workers a name."""
    version = torch_version(next((path for path in process.libraries if TORCH in path), ""))
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    return len(numbers) == 2 and numbers >= NAMES_WORKERS


@cache
def torch_version(library: str) -> str:
    """Return the version of the torch that this library is of; empty where that is not known."""
    return packages([library]).get("torch", "")


def launchers(everybody: Collection[FollowedProcess]) -> set[int]:
    """Return those with torch that only start others which train: torchrun, or the parent of spawned ranks."""
    trains = {p.pid: p for p in everybody if p.torch and not p.is_worker}
    found = set()
    for child in trains.values():
        parent = trains.get(child.parent)
        if parent is not None and (
            any(name in child.variables and name not in parent.variables for name in RANKS)
            or (STARTED in child.command and child.cpu_s > parent.cpu_s)
        ):
            found.add(parent.pid)
    return found
