"""The whole fleet: records and verifications in, hosts with what is to be said of each out, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import get_args

from hwdiag.compare.fleet.drift import drifted
from hwdiag.compare.fleet.kinds import MachineKind, kinds_of
from hwdiag.compare.fleet.lineage import HostLine, hosts_of, with_verifications
from hwdiag.compare.fleet.model import Fleet, FleetHost, Remark
from hwdiag.compare.fleet.parts import machine_text
from hwdiag.compare.fleet.speeds import changed_speeds, odd_speeds
from hwdiag.core.finding import Severity
from hwdiag.record.row import RecordRow, RefusedRecord
from hwdiag.record.verification import HealthStatus
from hwdiag.record.verification_row import VerificationRow

VERDICTS: dict[HealthStatus, Severity] = {"CRITICAL": "problem", "WARNING": "warning", "UNKNOWN": "note"}
RANKS = {severity: i for i, severity in enumerate(get_args(Severity))}
CRITICAL_LOSS = 1.0
"""The rank of a host of which its own verification says that nothing should start there."""


def fleet_of(
    rows: Iterable[RecordRow],
    verifications: Sequence[VerificationRow],
    refused: Sequence[RefusedRecord],
    *,
    min_effect: float,
    now: datetime | None = None,
) -> Fleet:
    """Return all hosts of a fleet, the worst first.

    Args:
        rows: its records.
        verifications: what ``hwdiag verify`` said on its hosts.
        refused: files that could not be read.
        min_effect: the least change of speed worth a word: 0.05 is 5 %.
        now: the time; records that are from later are not believed.
    """
    now = now or datetime.now(timezone.utc)
    count = 0

    def counted() -> Iterable[RecordRow]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    lines, duplicates = hosts_of(counted(), now)
    lines = with_verifications(lines, verifications, now)
    kinds = kinds_of(lines)
    beside = odd_speeds(kinds, min_effect)
    before, shared = changed_speeds(kinds, min_effect)
    drifted(kinds)
    kind_by_host = {id(line): kind for kind in kinds for line in kind.hosts}
    hosts = [told(line, kind_by_host.get(id(line))) for line in lines]
    labels: dict[str, int] = {}
    for kind in kinds:
        labels[kind.label] = labels.get(kind.label, 0) + len(kind.hosts)
    return Fleet(
        made_at=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        records=count,
        verifications=len(verifications),
        duplicates=duplicates,
        hosts=tuple(sorted(hosts, key=rank)),
        kinds=labels,
        compared=beside + before,
        shared=shared,
        refused=tuple(refused),
    )


def told(line: HostLine, kind: MachineKind | None) -> FleetHost:
    """Return one host with what is to be said of it, the worst first."""
    verification, last = line.verification, line.last
    remarks = list(line.remarks)
    if verification is not None and verification.status != "PASS":
        causes = "; ".join(verification.causes) or "no cause reported"
        more = f" (and {verification.known - len(verification.causes)} more)" if verification.known > 5 else ""
        remarks.append(
            Remark(
                kind="verification",
                severity=VERDICTS[verification.status],
                text=f"verify says {verification.status}: {causes}{more}",
                loss=CRITICAL_LOSS if verification.status == "CRITICAL" else 0.0,
                since=verification.started_at,
            )
        )
    times = [line.rows[-1].started_at] if line.rows else []
    times += [verification.started_at] if verification is not None else []
    return FleetHost(
        name=line.name,
        machine=machine_text(last) if last is not None else "no record",
        peers=len(kind.hosts) if kind is not None else 1,
        records=len(line.rows) + len(line.undated),
        newest=max(times, default=""),
        status=verification.status if verification is not None else None,
        remarks=tuple(sorted(remarks, key=lambda r: (RANKS[r.severity], -r.loss))),
        location=last.location if last is not None else verification.location if verification is not None else "",
    )


def rank(host: FleetHost) -> tuple[int, float, str]:
    """Return what orders hosts, the worst first: by the worst remark, then by what is lost."""
    if not host.remarks:
        return len(RANKS), 0.0, host.name
    return RANKS[host.remarks[0].severity], -max(r.loss for r in host.remarks), host.name
