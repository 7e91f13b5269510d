"""Obstacles to observing a process, one line each."""

from __future__ import annotations

import os
import pwd
import re

from hwdiag.core.errors import UsageError
from hwdiag.process.observation.stat import Stat, read_stat, read_text

KERNEL_THREADS = 2
"""The process id of kthreadd, the parent of the kernel's own threads."""


def observable(pid: int, proc: str = "/proc") -> Stat:
    """Return what the kernel tells of a process that can be looked at.

    Raises:
        UsageError: there is none, or none that could be looked at, and why.
    """
    status = read_text(f"{proc}/{pid}/status") if pid > 0 else ""
    stat = read_stat(f"{proc}/{pid}/stat") if pid > 0 else None
    if stat is None:
        raise UsageError(f"there is no process {pid}{hiding(proc)}")
    group = re.search(r"^Tgid:\s*(\d+)$", status, re.MULTILINE)
    if group and int(group[1]) != pid:
        raise UsageError(f"{pid} is a thread of the process {group[1]}: use --pid {group[1]}")
    if stat.has_ended:
        parent = read_stat(f"{proc}/{stat.parent}/stat")
        of = f" {stat.parent} ({parent.name})" if parent else ""
        raise UsageError(f"process {pid} ({stat.name}) is a zombie: it has ended, and its parent{of} has not asked how")
    if KERNEL_THREADS in (pid, stat.parent) and not stat.mapped:
        raise UsageError(f"process {pid} ({stat.name}) is a thread of the kernel")
    if pid == os.getpid():
        raise UsageError(f"process {pid} is hwdiag itself")
    return stat


def hiding(proc: str = "/proc") -> str:
    """Return that others' processes are not shown here, as the end of a sentence."""
    for line in read_text(f"{proc}/self/mounts").splitlines():
        words = line.split()
        if len(words) > 3 and words[1] == "/proc" and re.search(r"hidepid=(2|invisible|4|ptraceable)", words[3]):
            return " that is shown to this user (/proc is mounted with hidepid): look as its owner or as root"
    return ""


def remarks(pid: int, proc: str = "/proc") -> list[str]:
    """Return what is unusual about looking at a process: another user's, another container's."""
    found = []
    status = read_text(f"{proc}/{pid}/status")
    inner = re.search(r"^NSpid:\s*([\d\s]+)$", status, re.MULTILINE)
    ids = inner[1].split() if inner else []
    if len(ids) > 1:
        found.append(f"PID {pid} runs in a PID namespace (container) of its own, where it is PID {ids[-1]}.")
    uid = re.search(r"^Uid:\s*\d+\s+(\d+)", status, re.MULTILINE)
    if uid and os.geteuid() not in (0, int(uid[1])):
        found.append(
            f"PID {pid} belongs to {user_name(int(uid[1]))}: the kernel does not show its environment, libraries, open "
            "files and waits to others; look as that user or as root."
        )
    return found


def user_name(uid: int) -> str:
    """Return a user's name, or the number of one who has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
