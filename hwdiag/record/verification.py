"""Verification: the verdict on whether a host is still what its record says. ``verify`` makes it, a fleet reads many.

It lies beside the record, below all topics, as several of them read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from hwdiag.core.errors import HwdiagError
from hwdiag.core.files import write_whole
from hwdiag.core.finding import Check
from hwdiag.core.interval import Interval
from hwdiag.core.outside import parse_json, read_file
from hwdiag.core.value import Value
from hwdiag.host.cpulist import bounded_lists
from hwdiag.host.identity import Identity
from hwdiag.record.refusal import refused_as_no

FILE = "verification.json"
MAX_BYTES = 2**20
"""A larger file is no verification: one has a few KiB."""

HealthStatus = Literal["PASS", "WARNING", "CRITICAL", "UNKNOWN"]
"""Nagios' four words. ``WARNING``: something differs that may matter; ``CRITICAL``: work should not start here;
``UNKNOWN``: nobody can say, as nothing could be compared."""
SpeedVerdict = Literal["slower", "within", "faster", "undecided"]
EXIT_STATUS: dict[HealthStatus, int] = {"PASS": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
"""Nagios' plug-in statuses, which Slurm, systemd and Kubernetes take as any status: 0 is well."""
SEVERITY: tuple[HealthStatus, ...] = ("CRITICAL", "WARNING", "UNKNOWN", "PASS")
"""The worst first, in the order of Nagios' plug-ins: what was seen weighs more than what could not be looked at."""


class VerdictCause(Value):
    """One reason for a verdict other than ``PASS``, with what to do."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,99}$")
    """Stable slug: ``slower.triad``, ``changed.cpu-governor``, ``no-record``."""
    status: Literal["WARNING", "CRITICAL", "UNKNOWN"]
    title: str = Field(max_length=1000)
    """In one line: ``triad is 31 % slower than recorded``."""
    remedy: str = Field(max_length=2000)
    """What to do about it, as a command where there is one."""


class FactChange(Value):
    """One fact of the host that is not as recorded."""

    what: str = Field(max_length=200)
    """Dotted path below ``host``: ``cpu.governor``, ``system.kernel``."""
    then: str = Field(max_length=1000)
    now: str = Field(max_length=1000)


class SpeedCheck(Value):
    """One workload measured again, beside what the record says of it."""

    workload: str = Field(max_length=200)
    unit: str = Field(max_length=50)
    then: Interval
    """Of the record, in the unit."""
    now: Interval
    """Of this verification, in the unit."""
    speedup: Interval
    """Speed now over then: below 1 it is slower."""
    verdict: SpeedVerdict
    """By the judge, with all speeds of one verification sharing one error budget."""


class Verification(Value):
    """One verdict on a host at one time, held against its record. Field order is the order in the file."""

    kind: Literal["verification"] = "verification"
    schema_version: Literal[1] = 1
    status: HealthStatus
    host: str = Field(max_length=200)
    """The host's name: that of its record, or where there is none the name that the host has now."""
    hostname: str = Field(max_length=200)
    """What the host calls itself now."""
    identity: Identity = Identity()
    """Of the machine that was looked at, as far as it was read."""
    started_at: str = Field(max_length=40)
    """UTC, ISO 8601, by the host's clock."""
    seconds: float = Field(ge=0)
    """How long it took."""
    version: str = Field(max_length=50)
    """Of hwdiag."""
    record: str | None = Field(default=None, max_length=5000)
    """Path of the record that it was held against."""
    record_started_at: str | None = Field(default=None, max_length=40)
    causes: tuple[VerdictCause, ...] = Field(default=(), max_length=1000)
    """The worst first; none with ``PASS``."""
    changed: tuple[FactChange, ...] = Field(default=(), max_length=10_000)
    """All facts that differ, those too that are no cause of anything."""
    speeds: tuple[SpeedCheck, ...] = Field(default=(), max_length=1000)
    checks: tuple[Check, ...] = Field(default=(), max_length=1000)
    """What was looked at and is fine, and what could not be looked at, with the reason."""

    @property
    def exit_status(self) -> int:
        """Return the exit status of a command that says this: 0 PASS, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
        return EXIT_STATUS[self.status]

    @property
    def line(self) -> str:
        """Return the verdict in one line, with its worst cause and what to do: ``WARNING node7: ...``."""
        if not self.causes:
            gaps = ", ".join(check.title for check in self.checks if check.state == "unchecked")
            left = f"; not looked at: {gaps}" if gaps else ""
            return " ".join(f"{self.status} {self.host}: as recorded {self.record_started_at or ''}{left}".split())
        more = f" (and {len(self.causes) - 1} more)" if len(self.causes) > 1 else ""
        return " ".join(f"{self.status} {self.host}: {self.causes[0].title}{more}; {self.causes[0].remedy}".split())


def worst(causes: tuple[VerdictCause, ...]) -> HealthStatus:
    """Return the status that these causes make together; ``PASS`` without any."""
    return next((status for status in SEVERITY if any(c.status == status for c in causes)), "PASS")


def save_verification(verification: Verification, folder: Path) -> Path:
    """Write a verification as ``verification.json`` into a folder, whole or not at all.

    Raises:
        HwdiagError: it could not be written.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, verification.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise HwdiagError(f"the verification could not be written to {path}: {error.strerror}") from None
    return path


def load_verification(path: Path) -> Verification:
    """Read a verification, or the one in a folder.

    Raises:
        UsageError: there is none, or it is not one.
    """
    path = path / FILE if path.is_dir() else path
    with refused_as_no("verification", path):
        return parse_verification(read_file(path, MAX_BYTES))


def parse_verification(text: str | bytes) -> Verification:
    """Return the verification that this JSON is.

    Raises:
        OutsideError: it is no JSON of ours.
        ValidationError: it is no verification.
    """
    with bounded_lists():
        return Verification.model_validate(parse_json(text))
