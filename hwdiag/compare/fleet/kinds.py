"""Kinds of machines in a fleet, and hosts that lack a part which their kind has."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from hwdiag.compare.fleet.lineage import HostLine
from hwdiag.compare.fleet.model import Remark
from hwdiag.compare.fleet.parts import less_memory, machine_text
from hwdiag.core.text import plural
from hwdiag.host.identity import same_memory
from hwdiag.record.row import RecordRow
from hwdiag.report.format import size

LEAST_KIND = 5
"""Machines that are alike from which on they are a kind of their own."""
LEAST_SHARE = 0.01
"""The same, as a share of the largest kind with the same processors: fewer are machines of that kind with a fault."""


class Parts(NamedTuple):
    """The parts by which machines are alike."""

    sockets: int | None
    cores: int | None
    threads: int | None
    nodes: int | None
    memory: int
    """Number of the class of memory, whose sizes are alike."""
    gpus: tuple[tuple[str, int], ...]


@dataclass
class MachineKind:
    """Hosts that are built alike."""

    label: str
    hosts: list[HostLine]
    odd: list[HostLine]
    """Of these, the ones with other parts: they are not compared in speed."""

    @property
    def like(self) -> list[HostLine]:
        """Return the hosts without the odd ones."""
        strange = {id(line) for line in self.odd}
        return [line for line in self.hosts if id(line) not in strange]


def kinds_of(lines: Sequence[HostLine]) -> list[MachineKind]:
    """Return the kinds of these hosts, the largest first. What a host lacks is added to its remarks."""
    models: dict[str | None, list[tuple[HostLine, RecordRow]]] = defaultdict(list)
    for line in lines:
        if line.last is not None:
            models[line.last.identity.cpu].append((line, line.last))
    found = [kind for several in models.values() for kind in kinds_of_model(several)]
    return sorted(found, key=lambda kind: -len(kind.hosts))


def kinds_of_model(hosts: Sequence[tuple[HostLine, RecordRow]]) -> list[MachineKind]:
    """Return the kinds among hosts with one model of CPU."""
    classes = memory_classes([row.memory_bytes for _, row in hosts])
    groups: dict[Parts, list[tuple[HostLine, RecordRow]]] = defaultdict(list)
    for (line, row), memory in zip(hosts, classes, strict=True):
        i = row.identity
        gpus = tuple(sorted(Counter(row.gpus).items()))
        groups[Parts(i.sockets, i.cores, i.threads, i.nodes, memory, gpus)].append((line, row))
    most = max(map(len, groups.values()))
    least = max(LEAST_KIND, math.ceil(LEAST_SHARE * most))
    large = {build: several for build, several in groups.items() if len(several) >= least}
    kinds = {build: kind_of(several) for build, several in large.items()}
    alone: list[MachineKind] = []
    for build, several in groups.items():
        if build in large:
            continue
        if not large:
            alone.append(kind_of(several))
            continue
        nearest = min(large, key=lambda b: (differing(b, build), -len(large[b])))
        for line, row in several:
            line.remarks += other_parts(build, row, nearest, large[nearest])
            kinds[nearest].hosts.append(line)
            if (build.sockets, build.cores, build.threads) != (nearest.sockets, nearest.cores, nearest.threads):
                kinds[nearest].odd.append(line)
    for several in large.values():
        lacking(several)
    return [*kinds.values(), *alone]


def memory_classes(sizes: Sequence[int | None]) -> list[int]:
    """Return for each size the number of its class: sizes of one class may be the same memory at two times."""
    found: dict[int | None, int] = {}
    number, first = 0, None
    for value in sorted({s for s in sizes if s is not None}):
        if first is None or not same_memory(first, value):
            number, first = number + 1, value
        found[value] = number
    return [found.get(s, 0) for s in sizes]


def kind_of(several: Sequence[tuple[HostLine, RecordRow]]) -> MachineKind:
    """Return the kind that these hosts are."""
    label = Counter(machine_text(row) for _, row in several).most_common(1)[0][0]
    return MachineKind(label, [line for line, _ in several], [])


def differing(first: Parts, second: Parts) -> int:
    return sum(a != b for a, b in zip(first, second, strict=True))


def other_parts(build: Parts, row: RecordRow, kind: Parts, like: Sequence[tuple[HostLine, RecordRow]]) -> list[Remark]:
    """Return in which parts a host differs from the kind that it is nearest to."""
    said: list[tuple[str, bool]] = []
    peers = plural(len(like), "host")
    for name in ("sockets", "cores", "threads", "nodes"):
        has, others = getattr(build, name), getattr(kind, name)
        if has != others:
            what = {"threads": "CPUs", "nodes": "NUMA nodes"}.get(name, name)
            said.append((f"{what}: {has} where {peers} like it have {others}", (has or 0) < (others or 0)))
            break  # the others follow from it
    if build.memory != kind.memory:
        usual = median(r.memory_bytes or 0 for _, r in like)
        text = f"memory: {size(row.memory_bytes)} where {peers} like it have {size(usual)}"
        said.append((text, less_memory(usual, row.memory_bytes)))
    if build.gpus != kind.gpus:
        text = f"GPUs: {told_gpus(build)} where {peers} like it have {told_gpus(kind)}"
        said.append((text, sum(n for _, n in build.gpus) < sum(n for _, n in kind.gpus)))
    return [Remark(kind="parts", severity="problem" if less else "note", text=text) for text, less in said]


def told_gpus(build: Parts) -> str:
    return " + ".join(f"{n}x {name}" for name, n in build.gpus) or "none"


def lacking(several: Sequence[tuple[HostLine, RecordRow]]) -> None:
    """Add to the remarks of a host that it has less memory than its kind, by a module or more."""
    known = [row.memory_bytes for _, row in several if row.memory_bytes]
    usual = median(known) if known else 0
    for line, row in several:
        if less_memory(usual, row.memory_bytes):
            text = f"memory: {size(row.memory_bytes)} where {plural(len(several), 'host')} like it have {size(usual)}"
            line.remarks.append(Remark(kind="parts", severity="problem", text=f"{text}: a module may be missing"))
