"""Ancestors: the chain of parents of a process, what each may use, and what each was started with."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath

from hwdiag.host.cpulist import format_cpulist, parse_cpulist

MOST = 64
"""Parents that are followed."""
MAX_BYTES = 1 << 20
SHOWN = 60
"""Characters of a command line that are shown."""


@dataclass(frozen=True)
class Ancestor:
    """One process of the chain."""

    pid: int
    command: str
    """Its command line, short; its name where it shows none."""
    allowed: tuple[int, ...] | None
    """CPUs that it may run on now."""
    environment: dict[str, str] | None
    """What it was started with; None where that may not be read."""

    def __str__(self) -> str:
        return f"PID {self.pid} ({self.command})"


def ancestors(pid: int | None = None) -> tuple[Ancestor, ...]:
    """Return a process, ours by default, and its parents up to the first, the nearest first."""
    found: list[Ancestor] = []
    at = os.getpid() if pid is None else pid
    while at > 0 and len(found) < MOST:
        status = read(at, "status")
        if status is None:
            break
        text = status.decode(errors="replace")
        block = read(at, "environ")
        found.append(
            Ancestor(
                pid=at,
                command=command_words(read(at, "cmdline") or b"", field(text, "Name") or "?"),
                allowed=cpus(field(text, "Cpus_allowed_list")),
                environment=None if block is None else variables(block),
            )
        )
        parent = field(text, "PPid")
        at = int(parent) if parent and parent.isdecimal() else 0
    return tuple(found)


def narrowed_words(chain: Sequence[Ancestor], allowed: Sequence[int]) -> str:
    """Return who of a chain has these CPUs and whose parent has more, in a sentence; empty where that does not show."""
    mine = set(allowed)
    for child, parent in pairwise(chain):
        if child.allowed is None or parent.allowed is None or not set(child.allowed) <= mine:
            return ""
        if not set(parent.allowed) <= mine:
            return (
                f"{child} may use CPU {format_cpulist(child.allowed)} and its parent {parent} CPU "
                f"{format_cpulist(parent.allowed)}: it was narrowed there, as taskset, numactl and a scheduler do."
            )
    return "All parents of this process that can be seen are bound to the same CPUs."


def origin_words(chain: Sequence[Ancestor], name: str, value: str) -> str:
    """Return which process of a chain was the first to be started with a variable, in a sentence; empty where that
    does not show."""
    for child, parent in pairwise(chain[1:]):
        if child.environment is None or child.environment.get(name) != value:
            return ""  # the nearest parent was not started with it: it, or the command line, set it
        if parent.environment is not None and parent.environment.get(name) != value:
            return f"It came with {child}, whose parent {parent} was started without it."
    return ""


# Reading


def read(pid: int, name: str) -> bytes | None:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return None


def field(status: str, name: str) -> str | None:
    match = re.search(rf"^{name}:\s*(.*)$", status, re.MULTILINE)
    return match[1].strip() if match else None


def cpus(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else parse_cpulist(text)
    except ValueError:
        return None


def variables(block: bytes) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in block.decode(errors="replace").split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def command_words(line: bytes, name: str) -> str:
    """Return a command line as one line of printable characters, the middle of long paths left out."""
    words = [w for w in line.decode(errors="replace").split("\0") if w]
    text = " ".join([PurePath(words[0]).name, *words[1:]]) if words else name
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
