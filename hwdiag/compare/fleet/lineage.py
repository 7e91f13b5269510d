"""Lineage of hosts: renamed, cloned, installed again, with other parts, or with a clock that is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter

from hwdiag.compare.fleet.model import Remark
from hwdiag.compare.fleet.parts import changed_parts, same_cores
from hwdiag.core.text import listed, plural
from hwdiag.host.identity import same_memory
from hwdiag.record.row import RecordRow
from hwdiag.record.verification_row import VerificationRow

EARLIEST = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""There was no hwdiag before."""
AHEAD = timedelta(days=2)
"""A clock may be ahead of the one that looks at it."""
APART = timedelta(days=1)
"""Between the last record under one name and the first under the next where a machine was renamed: of two machines
that are alike, records are made at the same time."""
NAMED = 3
"""Others that are named in one line."""
TIMES = attrgetter("workload", "seconds")
"""Of a speed: enough to know it again."""


@lru_cache(maxsize=65536)
def moment(stamp: str) -> datetime | None:
    """Return a time of a record; None where it is none."""
    try:
        found = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def is_believed(stamp: str, now: datetime) -> bool:
    """Return whether a host's clock may have been right."""
    at = moment(stamp)
    return at is not None and EARLIEST <= at <= now + AHEAD


@dataclass
class HostLine:
    """The records of one host in the order of their time, while it is found out whose they are."""

    name: str
    rows: list[RecordRow]
    """Whose time can be believed."""
    undated: list[RecordRow] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    verification: VerificationRow | None = None

    @property
    def last(self) -> RecordRow | None:
        """Return the newest record; one whose time is wrong where there is no other."""
        return self.rows[-1] if self.rows else self.undated[-1] if self.undated else None

    @property
    def comparable(self) -> list[RecordRow]:
        """Return the records that were made with the processors of the newest."""
        return [r for r in self.rows if same_cores(r, self.rows[-1])]

    @property
    def first_time(self) -> datetime:
        return moment(self.rows[0].started_at) or EARLIEST

    @property
    def last_time(self) -> datetime:
        return moment(self.rows[-1].started_at) or EARLIEST

    def note(self, text: str, *, warn: bool = False) -> None:
        """Add what became of the host."""
        self.remarks.append(Remark(kind="story", severity="warning" if warn else "note", text=text))


def hosts_of(rows: Iterable[RecordRow], now: datetime) -> tuple[list[HostLine], int]:
    """Return the hosts of these records, and how many records were there twice."""
    machines: dict[tuple[str, str], list[RecordRow]] = defaultdict(list)
    vague: dict[str, list[RecordRow]] = defaultdict(list)
    seen, duplicates = set(), 0
    for row in sorted(rows, key=lambda row: row.location):
        mark = (row.host_key, row.memory_bytes, row.name, row.started_at, row.topics, tuple(map(TIMES, row.speeds)))
        if mark in seen:
            duplicates += 1
            continue
        seen.add(mark)
        machine = row.identity.machine
        if machine is None and row.identity.cores is None:
            vague[row.name].append(row)
            continue
        machines[("id", machine) if machine else ("key", row.host_key)].append(row)
    found = [line for several in machines.values() for line in names_of(several, now)]
    known = {line.name for line in found}
    for name, several in vague.items():
        if name not in known:  # of an old form, which has a name and little else
            found += names_of(several, now)
    return [line for several in by_name(found) for line in one_name(several)], duplicates


def names_of(rows: Sequence[RecordRow], now: datetime) -> list[HostLine]:
    """Return the hosts that have one machine id: one that was renamed, or several whose disks are copies."""
    lines = []
    for several in grouped(rows):
        dated = [r for r in several if is_believed(r.started_at, now)]
        dated.sort(key=lambda r: moment(r.started_at) or EARLIEST)
        undated = [r for r in several if not is_believed(r.started_at, now)]
        line = HostLine(several[0].name, dated, undated)
        if undated:
            line.note(
                f"its clock was wrong: {plural(len(undated), 'record')} of {undated[-1].started_at[:25]}", warn=True
            )
        lines.append(line)
    if len(lines) == 1:
        return lines
    timed = sorted((line for line in lines if line.rows), key=lambda line: line.first_time)
    alike = all(same_cores(a.rows[-1], b.rows[0]) for a, b in pairwise(timed))
    apart = all(b.first_time - a.last_time > APART for a, b in pairwise(timed))
    if len(timed) == len(lines) and alike and apart:
        *before, newest = timed
        newest.note(f"renamed: it was {listed(line.name for line in before)} until {before[-1].rows[-1].started_at}")
        newest.rows = [r for line in timed for r in line.rows]
        newest.undated = [r for line in timed for r in line.undated]
        return [newest]
    for line in lines:
        others = [other.name for other in lines if other is not line]
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        line.note(
            f"cloned: {', '.join(others[:NAMED])}{more} has the same machine id (systemd-machine-id-setup)", warn=True
        )
    return lines


def grouped(rows: Sequence[RecordRow]) -> list[list[RecordRow]]:
    """Return the records of each name."""
    found: dict[str, list[RecordRow]] = defaultdict(list)
    for row in rows:
        found[row.name].append(row)
    return list(found.values())


def by_name(lines: Iterable[HostLine]) -> list[list[HostLine]]:
    found: dict[str, list[HostLine]] = defaultdict(list)
    for line in lines:
        found[line.name].append(line)
    return list(found.values())


def one_name(lines: list[HostLine]) -> list[HostLine]:
    """Return the hosts that have one name: one that was installed again or replaced, or several."""
    timed = sorted((line for line in lines if line.rows), key=lambda line: line.first_time)
    if len(lines) == 1 or len(timed) < len(lines):
        return with_parts(lines if len(lines) == 1 else told_apart(lines))
    if any(a.last_time >= b.first_time for a, b in pairwise(timed)):
        return with_parts(told_apart(timed))
    newest = timed[-1]
    for before in reversed(timed[:-1]):
        until = before.rows[-1].started_at
        if same_machine_again(before.rows[-1], newest.rows[0]):
            newest.note(f"installed again: another machine id since {newest.rows[0].started_at}")
            newest.rows = [*before.rows, *newest.rows]
        else:
            newest.note(f"replaced: until {until} another machine had this name, which is not compared")
            break
    return with_parts([newest])


def same_machine_again(before: RecordRow, after: RecordRow) -> bool:
    """Return whether two records with different machine ids may be of one box."""
    alike = same_cores(before, after) and before.identity.product == after.identity.product
    return alike and same_memory(before.memory_bytes, after.memory_bytes)


def told_apart(lines: Sequence[HostLine]) -> list[HostLine]:
    """Return several machines of one name, each with the beginning of its machine id behind it."""
    for line in lines:
        line.note(f"{len(lines)} machines call themselves {line.name}", warn=True)
        row = line.last
        line.name += f" ({(row.identity.machine or row.host_key)[:8]})" if row else ""
    return list(lines)


def with_parts(lines: list[HostLine]) -> list[HostLine]:
    """Return the hosts, each with the parts that changed from one of its records to the next."""
    for line in lines:
        for before, after in pairwise(line.rows):
            line.remarks += changed_parts(before, after)
    return lines


def with_verifications(
    lines: Sequence[HostLine], verifications: Iterable[VerificationRow], now: datetime
) -> list[HostLine]:
    """Return the hosts with the newest verification of each, and those of which there is nothing else."""
    by_machine: dict[tuple[str | None, str], HostLine] = {}
    named: dict[str, list[HostLine]] = defaultdict(list)
    for line in lines:
        named[line.name].append(line)
        for row in (*line.rows, *line.undated):
            by_machine[row.identity.machine, row.name] = line
    more: dict[str, HostLine] = {}
    for told in verifications:
        same = named.get(told.host, [])
        found = by_machine.get((told.identity.machine, told.host)) or (same[0] if len(same) == 1 else None)
        line = found or more.setdefault(told.host, HostLine(told.host, []))
        if line.verification is None or believed(told, now) > believed(line.verification, now):
            line.verification = told
    return [*lines, *more.values()]


def believed(told: VerificationRow, now: datetime) -> tuple[bool, str]:
    """Return what orders verifications by time: those whose time cannot be believed come before all."""
    return is_believed(told.started_at, now), told.started_at
