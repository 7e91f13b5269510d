"""Data of a fleet: hosts with what is to be said of each, and kinds of machines."""

from __future__ import annotations

from typing import Literal

from hwdiag.core.finding import Severity
from hwdiag.core.value import Value
from hwdiag.record.row import RefusedRecord
from hwdiag.record.verification import HealthStatus

RemarkKind = Literal["verification", "slower", "odd", "parts", "setting", "story"]
"""The verdict on the host itself, slower than it was, other than its kind in speed, in parts, in settings; what became
of the host: renamed, cloned, re-imaged, a clock that is wrong."""


class Remark(Value):
    """One thing to say of one host, in one line."""

    kind: RemarkKind
    severity: Severity
    text: str
    loss: float = 0.0
    """Share of speed that is lost: 0.2 is 20 %."""
    since: str = ""
    """The first record that shows it; empty where that is not known."""


class FleetHost(Value):
    """One host of a fleet."""

    name: str
    machine: str
    """What the machine is, in words: ``2x AMD EPYC 9654, 192 cores, 755 GiB, 8x NVIDIA H100``."""
    peers: int
    """Hosts of its kind, itself too."""
    records: int
    newest: str
    """When it was looked at last; empty where no time of it can be believed."""
    status: HealthStatus | None = None
    """Of its newest verification."""
    remarks: tuple[Remark, ...] = ()
    """The worst first."""
    location: str = ""
    """Its newest file."""

    @property
    def severity(self) -> Severity | None:
        """Return that of the worst remark."""
        return self.remarks[0].severity if self.remarks else None


class SharedChange(Value):
    """A change that many hosts which became slower have in common."""

    what: str
    then: str
    now: str
    slower: int
    """Hosts with it that became slower, of all that did."""
    of_slower: int
    others: int
    """Hosts with it that did not, of all that did not."""
    of_others: int


class Fleet(Value):
    """All hosts, the worst first."""

    made_at: str
    records: int
    verifications: int
    duplicates: int
    hosts: tuple[FleetHost, ...]
    kinds: dict[str, int]
    """Hosts of each kind, by what the machine is."""
    compared: int
    """Speeds that were held against those of their kind, and against earlier ones."""
    shared: tuple[SharedChange, ...] = ()
    refused: tuple[RefusedRecord, ...] = ()
