"""Speeds of a fleet: which hosts are slower than their kind, and which became slower, since when."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwdiag.compare.compare import Earlier, fastest_before
from hwdiag.compare.fleet.kinds import MachineKind
from hwdiag.compare.fleet.lineage import HostLine
from hwdiag.compare.fleet.model import Remark, SharedChange
from hwdiag.experiment.judge import Judged, Rerun, judge_changes
from hwdiag.experiment.outliers import LEAST_PEERS, Alike, OddOne, error_of, odd_ones_out, robust_spread
from hwdiag.record.differences import TOTAL, Difference, differences
from hwdiag.record.row import RecordRow, Speed
from hwdiag.report.format import percent, utc

SHARE = 0.5
"""Of the fleet's error budget, for each of both questions: other than its kind, and other than before."""
TOLD = 3
"""Workloads, and changes, that are named in one line."""
Key = tuple[str, str, str]
"""Workload, device, version: what may be compared."""


def key_of(speed: Speed) -> Key:
    return (speed.workload, speed.device, speed.version)


def odd_speeds(kinds: Sequence[MachineKind], min_effect: float) -> int:
    """Add to the remarks of hosts which speeds are other than those of their kind; return how many were compared."""
    groups: list[Alike] = []
    members: list[tuple[str, list[HostLine]]] = []
    for kind in kinds:
        by_key: dict[Key, list[tuple[HostLine, Speed]]] = defaultdict(list)
        for line in kind.like:
            for speed in newest_speeds(line):
                by_key[key_of(speed)].append((line, speed))
        for key, several in by_key.items():
            logs = np.array([math.log(s.value(s.seconds)) for _, s in several])
            errors = np.array([error_of(s.low, s.high) for _, s in several])
            groups.append(Alike(logs, errors))
            members.append((f"{key[0]} on {key[1]}", [line for line, _ in several]))
    found: dict[int, list[tuple[str, OddOne]]] = defaultdict(list)
    lines: dict[int, HostLine] = {}
    for odd in odd_ones_out(groups, min_effect, share=SHARE):
        what, those = members[odd.group]
        line = those[odd.index]
        lines[id(line)] = line
        found[id(line)].append((what, odd))
    for number, odds in found.items():
        lines[number].remarks += odd_remarks(odds, [len(groups[o.group].logs) for _, o in odds])
    return sum(len(group.logs) for group in groups if len(group.logs) >= LEAST_PEERS)


def newest_speeds(line: HostLine) -> tuple[Speed, ...]:
    """Return the speeds of the last record that has some."""
    rows = line.comparable if line.rows else line.undated
    return next((row.speeds for row in reversed(rows) if row.speeds), ())


def odd_remarks(several: Sequence[tuple[str, OddOne]], peers: Sequence[int]) -> Iterator[Remark]:
    """Yield what is to be said of the speeds of one host that are not its kind's: the slower ones, the faster ones."""
    slow = sorted((s for s in several if s[1].ratio < 1), key=lambda s: s[1].ratio)
    fast = sorted((s for s in several if s[1].ratio > 1), key=lambda s: -s[1].ratio)
    for those, word in ((slow, "slower"), (fast, "faster")):
        if those:
            told = ", ".join(f"{what} {percent(abs(1 - odd.ratio))}" for what, odd in those[:TOLD])
            more = f" and {len(those) - TOLD} more" if len(those) > TOLD else ""
            yield Remark(
                kind="odd",
                severity="problem" if word == "slower" else "note",
                text=f"{word} than its {max(peers) - 1} peers: {told}{more}",
                loss=max(0.0, 1 - those[0][1].ratio),
            )


@dataclass(frozen=True)
class Rejudged:
    """A host that was measured again: those of its speeds that look slower, and what was judged of each."""

    line: HostLine
    rows: list[RecordRow]
    pairs: list[Earlier]
    judged: list[Judged]

    @property
    def worst(self) -> tuple[Earlier, Judged] | None:
        """Return the workload that lost most, of those that surely lost some."""
        slower = [(e, j) for e, j in zip(self.pairs, self.judged, strict=True) if j.verdict == "worse"]
        return min(slower, key=lambda pair: pair[1].speedup.median) if slower else None


def changed_speeds(kinds: Sequence[MachineKind], min_effect: float) -> tuple[int, tuple[SharedChange, ...]]:
    """Add to the remarks of hosts that they became slower, since when, and what changed then.

    All share one error budget; the scatter from run to run is that of the hosts of a kind, where there are enough.

    Returns:
        How many speeds were held against earlier ones, and what hosts that became slower have in common.
    """
    again = [(line, rows, pairs) for kind in kinds for line, rows, pairs in measured_again(kind)]
    spreads = spread_of_kinds(kinds, again)
    lost = [[e for e in pairs if e.now.seconds >= e.then.seconds * (1 + min_effect)] for _, _, pairs in again]
    reruns = [
        Rerun(e.then.rate, e.now.rate, e.chosen_of, spreads.get((id(line), key_of(e.now)), 0.0))
        for (line, _, _), slow in zip(again, lost, strict=True)
        for e in slow
    ]
    count = sum(len(pairs) for _, _, pairs in again)
    judged = iter(judge_changes(reruns, min_effect, share=SHARE, among=count))
    found = [
        Rejudged(line, rows, slow, [next(judged) for _ in slow])
        for (line, rows, _), slow in zip(again, lost, strict=True)
    ]
    for one in found:
        if one.worst is not None:
            one.line.remarks.append(slower_remark(one, *one.worst))
    return count, shared_changes(found)


def measured_again(kind: MachineKind) -> Iterator[tuple[HostLine, list[RecordRow], list[Earlier]]]:
    """Yield the hosts of a kind with speeds at more than one time."""
    for line in kind.hosts:
        rows = [row for row in line.comparable if row.speeds] if line.rows else []
        pairs = fastest_before(rows[:-1], rows[-1]) if len(rows) > 1 else []
        if pairs:
            yield line, rows, pairs


def spread_of_kinds(
    kinds: Sequence[MachineKind], again: Sequence[tuple[HostLine, list[RecordRow], list[Earlier]]]
) -> dict[tuple[int, Key], float]:
    """Return how much the ratio of two runs scatters among the hosts of a kind, for each host and workload."""
    number = {id(line): i for i, kind in enumerate(kinds) for line in kind.hosts}
    ratios: dict[tuple[int, Key], list[tuple[int, float]]] = defaultdict(list)
    for line, _, pairs in again:
        for e in pairs:
            ratios[number[id(line)], key_of(e.now)].append((id(line), math.log(e.then.seconds / e.now.seconds)))
    found = {}
    for (_, key), several in ratios.items():
        if len(several) >= LEAST_PEERS:
            spread = robust_spread(np.array([ratio for _, ratio in several]))[1]
            found.update({(line, key): spread for line, _ in several})
    return found


def slower_remark(one: Rejudged, worst: Earlier, judged: Judged) -> Remark:
    """Return that a host became slower, with what changed when it did."""
    before, after = since(one.rows, worst)
    changed = changes_between(before, after)
    told = ", ".join(f"{d.what} {d.values[0] or 'unknown'} -> {d.values[1] or 'unknown'}" for d in changed[:TOLD])
    more = f" and {len(changed) - TOLD} more" if len(changed) > TOLD else ""
    others = sum(j.verdict == "worse" for j in one.judged) - 1
    also = f" (and {others} more)" if others else ""
    text = (
        f"{worst.now.workload} on {worst.now.device} became {percent(1 - judged.speedup.median)} slower{also} between "
        f"{utc(before.started_at)} and {utc(after.started_at)}, when this changed: {told or 'nothing recorded'}{more}"
    )
    return Remark(kind="slower", severity="problem", text=text, loss=1 - judged.speedup.median, since=after.started_at)


def since(rows: Sequence[RecordRow], pair: Earlier) -> tuple[RecordRow, RecordRow]:
    """Return the last record that was about as fast as the fastest, and the first since which none was."""
    key, between = key_of(pair.now), math.sqrt(pair.now.seconds * pair.then.seconds)
    told = [(row, speed) for row in rows for speed in row.speeds if key_of(speed) == key]
    for i in range(len(told) - 1, 0, -1):
        if told[i - 1][1].seconds < between:
            return told[i - 1][0], told[i][0]
    return pair.record, rows[-1]


def changes_between(before: RecordRow, after: RecordRow) -> list[Difference]:
    """Return what changed from one record to another, without what was measured meanwhile."""
    if before.facts == after.facts:
        return []
    names = {name for name, _ in before.facts.items() ^ after.facts.items() if not name.startswith("measured.")}
    narrow = [row.model_copy(update={"facts": only(row.facts, names)}) for row in (before, after)]
    return list(differences(narrow))


def only(facts: dict[str, str], names: set[str]) -> dict[str, str]:
    """Return some facts, with the total of the memory, which tells of that of its nodes."""
    return {name: value for name, value in facts.items() if name in names or name == TOTAL}


def shared_changes(found: Sequence[Rejudged]) -> tuple[SharedChange, ...]:
    """Return the changes that at least two hosts which became slower have in common, and few others have."""
    slower: Counter[tuple[str, str, str]] = Counter()
    others: Counter[tuple[str, str, str]] = Counter()
    count = sum(one.worst is not None for one in found)
    for one in found if count > 1 else ():
        worst = one.worst
        between = since(one.rows, worst[0]) if worst else (one.rows[0], one.rows[-1])
        marks = {(d.what, d.values[0], d.values[1]) for d in changes_between(*between)}
        (slower if worst else others).update(marks)
    rest = len(found) - count
    shared = [
        SharedChange(
            what=mark[0], then=mark[1], now=mark[2], slower=n, of_slower=count, others=others[mark], of_others=rest
        )
        for mark, n in slower.most_common(50)
        if n >= 2 and n / count > 2 * others[mark] / max(1, rest)
    ]
    return tuple(shared[:10])
