"""Facts of records side by side: which differ, and whether each is the machine's, a setting, or software."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from hwdiag.core.value import Value
from hwdiag.host.identity import same_memory
from hwdiag.record.row import RecordRow

Group = Literal["fact", "setting", "software"]
SETTINGS = {
    "governor", "boost", "driver", "transparent_hugepages", "cmdline", "scheduler", "read_ahead_kb", "persistence",
    "power_limit_w", "swap_total_bytes", "cpu_quota", "cpuset", "memory_limit_bytes", "nofile", "memlock_bytes", "mig",
    "ecc", "mems", "allowed", "offline", "kernel", "microcode", "cuda",
}  # fmt: skip
"""Last words of facts that somebody can change."""


class Difference(Value):
    """One fact that is not the same in all records."""

    what: str
    group: Group
    values: tuple[str, ...]
    """In the order of the records; empty where a record does not tell."""


@lru_cache(maxsize=4096)
def group_of(what: str) -> Group:
    """Return whether a fact is the machine's, a setting, or software."""
    if what.startswith("software."):
        return "software"
    return "setting" if what.rpartition(".")[2] in SETTINGS else "fact"


TOTAL = "memory.total_bytes"
OF_A_NODE = re.compile(r"numa\.\d+\.memory_bytes")


def told_by_the_total(name: str, records: Sequence[RecordRow]) -> bool:
    """Return whether the memory of the machine says it already: a hypervisor that adds or takes some, or a kernel that
    keeps a little more for itself, changes that of every NUMA node with it."""
    if name != TOTAL and not OF_A_NODE.fullmatch(name):
        return False
    if steady(name, records):
        return True
    return name != TOTAL and not steady(TOTAL, records)


def steady(name: str, records: Sequence[RecordRow]) -> bool:
    """Return whether all records tell the same amount of memory, but for what a boot or a balloon changes."""
    values = [int(v) if (v := r.facts.get(name, "")).isdigit() else None for r in records]
    return all(same_memory(values[0], value) for value in values)


def differences(records: Sequence[RecordRow]) -> tuple[Difference, ...]:
    """Return the facts that differ between these records, settings first."""
    names = dict.fromkeys(name for r in records for name in r.facts)
    found = []
    for name in names:
        values = tuple(r.facts.get(name, "") for r in records)
        if len(set(values)) > 1 and not told_by_the_total(name, records):
            found.append(Difference(what=name, group=group_of(name), values=values))
    order = ("setting", "software", "fact")
    return tuple(sorted(found, key=lambda d: order.index(d.group)))
