"""Records side by side: what differs in facts, settings and speed; and one host over time, with a verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hwdiag.core.interval import Interval
from hwdiag.core.value import Value
from hwdiag.experiment.judge import Rerun, judge_changes
from hwdiag.experiment.model import Verdict
from hwdiag.host.identity import same_memory
from hwdiag.record.differences import Difference, differences
from hwdiag.record.row import RecordRow, Speed

MIN_EFFECT = 0.03
"""Least change of speed worth a word."""


class WorkloadSpeeds(Value):
    """One workload over several records."""

    workload: str
    device: str
    unit: str
    speeds: tuple[Speed | None, ...]
    """In the order of the records."""
    refusal: str = ""
    """Why the records are not compared here."""


def lines(records: Sequence[RecordRow]) -> tuple[WorkloadSpeeds, ...]:
    """Return each workload's speeds. Different versions of a workload are not compared."""
    by_record = [{(s.workload, s.device): s for s in r.speeds} for r in records]
    found = []
    for key in dict.fromkeys(key for speeds in by_record for key in speeds):
        speeds = tuple(speeds.get(key) for speeds in by_record)
        versions = Counter(s.version for s in speeds if s is not None)
        refusal = "" if len(versions) == 1 else "not compared, its versions differ: " + "; ".join(sorted(versions))
        unit = next(s.unit for s in speeds if s is not None)
        found.append(WorkloadSpeeds(workload=key[0], device=key[1], unit=unit, speeds=speeds, refusal=refusal))
    return tuple(found)


class Change(Value):
    """One workload on one host, then and now."""

    workload: str
    device: str
    speedup: Interval
    """Speed now over then: below 1 it has become slower."""
    p_value: float
    """Of a change this large by chance, corrected over all workloads of the host."""
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Earlier:
    """One workload's speed now, and the fastest before."""

    now: Speed
    then: Speed
    record: RecordRow
    """That was so fast."""
    chosen_of: int
    """How many earlier records could have been it."""


class History(Value):
    """One host over time."""

    host_key: str
    name: str
    records: int
    before: str
    """When it was fastest, among the records before the last."""
    after: str
    """The last record."""
    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    """What changed in between."""

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict of the workloads."""
        verdicts = {c.verdict for c in self.changes}
        order: tuple[Verdict, ...] = ("worse", "undecided", "better", "same")
        return next((v for v in order if v in verdicts), "undecided")


def changes(pairs: Sequence[Earlier], min_effect: float = MIN_EFFECT) -> tuple[Change, ...]:
    """Return what became of each workload of one host, judged together."""
    judged = judge_changes([Rerun(e.then.rate, e.now.rate, e.chosen_of) for e in pairs], min_effect)
    return tuple(
        Change(workload=e.now.workload, device=e.now.device, **vars(found))
        for e, found in zip(pairs, judged, strict=True)
    )


def by_host(records: Iterable[RecordRow]) -> list[list[RecordRow]]:
    """Return the records of each machine, in the order of their time.

    Records of one identity whose memory differs by more than kernels reserve are of several machines.
    """
    alike: dict[str, list[RecordRow]] = defaultdict(list)
    for r in records:
        alike[r.host_key].append(r)
    hosts = []
    for several in alike.values():
        several.sort(key=lambda r: r.memory_bytes or 0)
        groups = [[several[0]]]
        for r in several[1:]:
            if same_memory(groups[-1][-1].memory_bytes, r.memory_bytes):
                groups[-1].append(r)
            else:
                groups.append([r])
        hosts += [sorted(group, key=lambda r: r.started_at) for group in groups]
    return hosts


def histories(records: Iterable[RecordRow], min_effect: float = MIN_EFFECT) -> tuple[History, ...]:
    """Return each host that was measured again: its last record with speeds against the fastest earlier one of each
    workload.

    Only speeds of the same version of a workload are held against each other.
    """
    found = []
    for several in by_host(records):
        measured = [r for r in several if r.speeds]
        if len(measured) < 2:
            continue
        *earlier, last = measured
        pairs = fastest_before(earlier, last)
        if not pairs:
            continue
        judged = changes(pairs, min_effect)
        slower = [e.record for e, change in zip(pairs, judged, strict=True) if change.verdict == "worse"]
        reference = slower[0] if slower else earlier[-1]
        found.append(
            History(
                host_key=last.host_key,
                name=last.name,
                records=len(several),
                before=reference.started_at,
                after=last.started_at,
                changes=judged,
                differences=differences([reference, last]),
            )
        )
    order: tuple[Verdict, ...] = ("worse", "undecided", "better", "same")
    return tuple(sorted(found, key=lambda h: order.index(h.verdict)))


def fastest_before(earlier: Sequence[RecordRow], last: RecordRow) -> list[Earlier]:
    """Return each speed of the last record with the fastest of the same version of its workload before."""
    before: dict[tuple[str, str, str], list[tuple[Speed, RecordRow]]] = defaultdict(list)
    for r in earlier:
        for s in r.speeds:
            before[s.workload, s.device, s.version].append((s, r))
    found = []
    for now in last.speeds:
        alike = before.get((now.workload, now.device, now.version), [])
        if alike:
            then, record = max(alike, key=lambda pair: pair[0].value(pair[0].seconds))
            found.append(Earlier(now, then, record, len(alike)))
    return found


def newest(records: Iterable[RecordRow]) -> list[RecordRow]:
    """Return the last record of each host, of those with speeds where it has some, by name."""
    last = ([r for r in several if r.speeds] or several for several in by_host(records))
    return sorted((several[-1] for several in last), key=lambda r: r.name)
