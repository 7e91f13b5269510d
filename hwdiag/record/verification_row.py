"""The part of a verification that a fleet uses: host, time, verdict and its causes."""

from __future__ import annotations

from pydantic import ValidationError

from hwdiag.core.outside import OutsideError, parse_json
from hwdiag.core.value import Value
from hwdiag.host.cpulist import bounded_lists
from hwdiag.host.identity import Identity
from hwdiag.record.model import first_error
from hwdiag.record.row import RefusedRecord
from hwdiag.record.verification import MAX_BYTES, HealthStatus, Verification

CAUSES = 5
"""Of one verification that are kept."""


class VerificationRow(Value):
    """The part of one verification that a fleet uses."""

    location: str
    host: str
    identity: Identity
    started_at: str
    status: HealthStatus
    causes: tuple[str, ...]
    """Their titles, the worst first."""
    remedy: str = ""
    """Of the worst."""
    known: int
    """How many causes there are."""


def verification_row(data: bytes, location: str) -> VerificationRow | RefusedRecord:
    """Return one verification's row, or in one line why it is refused."""
    if len(data) > MAX_BYTES:
        return RefusedRecord(location=location, why=f"larger than {MAX_BYTES >> 20} MiB")
    try:
        values = parse_json(data)
        version = values.get("schema_version") if isinstance(values, dict) else None
        if isinstance(version, int) and version > 1:
            return RefusedRecord(location=location, why=f"verification of version {version}; this hwdiag reads up to 1")
        with bounded_lists():
            told = Verification.model_validate(values)
    except ValidationError as error:
        return RefusedRecord(location=location, why=f"not a verification: {first_error(error)}")
    except OutsideError as error:
        return RefusedRecord(location=location, why=f"not a verification: {error}")
    return VerificationRow(
        location=location,
        host=told.host,
        identity=told.identity,
        started_at=told.started_at,
        status=told.status,
        causes=tuple(cause.title for cause in told.causes[:CAUSES]),
        remedy=told.causes[0].remedy if told.causes else "",
        known=len(told.causes),
    )
