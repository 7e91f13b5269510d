"""The processes below this one: bound to it, adopted, found, and killed whatever they do to get away.

The only place that calls prctl(2), and that kills more than one process. The supervisor uses it as well as the agent,
so it is written for Python 3.8 and the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""From <linux/prctl.h>."""
KILL_S = 10.0
"""Seconds, at most, for what was killed to end: longer only where the kernel holds it."""


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the parent dies; end at once where it has died already."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of what this process started when its own parent ends, even if it left the session."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def below(top: int) -> set[int]:
    """Return the ids of all processes that ``top`` started, and that they started in turn; a zombie is none."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name, errors="replace") as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]  # the name before may hold anything
        except OSError:
            continue
        if state != "Z":
            parents[int(name)] = int(parent)
    found: set[int] = set()
    new = {top}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def kill_below() -> dict[int, int]:
    """Kill all that is below this process, and what that starts meanwhile. Return wait statuses by process id.

    It ends when this process has no children: what is left of anybody else comes to it, if it adopts orphans.
    """
    statuses: dict[int, int] = {}
    deadline = time.monotonic() + KILL_S
    while reap(statuses) and time.monotonic() < deadline:
        for pid in below(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        time.sleep(0.002)
    return statuses


def reap(statuses: dict[int, int]) -> bool:
    """Reap every child that has ended, into wait statuses by process id. Return whether there are others."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
            statuses[pid] = status
    except ChildProcessError:
        return False
