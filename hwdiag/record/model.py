"""Record: what one run found on one host. Everything a person sees can be redrawn from it alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hwdiag.advise.audit import Audit
from hwdiag.advise.model import Check, Finding, Recommendation
from hwdiag.compat.model import Survey
from hwdiag.estimate.model import Ceiling
from hwdiag.experiment.lever import Plan
from hwdiag.host.model import Host
from hwdiag.measure.model import Comparison, Estimate, Measurement, Noise, Outcome, Software, Step, Workload
from hwdiag.model import Value

SCHEMA_VERSION: Literal[1] = 1
NOT_PROBED = Software(python="", outcome=Outcome(kind="not-started", detail="not asked yet"))


class EmittedFile(Value):
    """A file beside the record."""

    path: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]*(/[A-Za-z0-9_][A-Za-z0-9_.@-]*)*$")
    """Relative to the record's folder."""
    what: str


class Record(Value):
    """One run on one host. Field order is the order in the file: ``complete`` is written last."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    """The host's folder under outputs/."""
    started_at: str
    """UTC, ISO 8601."""
    finished_at: str
    versions: dict[str, str]
    """hwdiag's own and its libraries' versions."""
    params: dict[str, Any]
    verdict: str
    """The one sentence."""
    host: Host
    software: Software = NOT_PROBED
    compatibility: Survey | None = None
    """Whether torch and numpy run here, step by step; None where they could not be asked."""
    plans: tuple[Plan, ...] = ()
    """The first is today's default."""
    workloads: tuple[Workload, ...] = ()
    overall_of: tuple[str, ...] = ()
    """Workloads whose geometric mean is "overall"."""
    measurements: tuple[Measurement, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    noise: Noise | None = None
    steps: tuple[Step, ...] = ()
    """The search for a Launch, question by question."""
    comparisons: tuple[Comparison, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    audit: Audit | None = None
    """The host's settings against what is known of them."""
    findings: tuple[Finding, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    """Opportunities in order of measured gain; the overall one first."""
    checks: tuple[Check, ...] = ()
    files: tuple[EmittedFile, ...] = ()
    complete: bool = False
    """True only in a record that was written to its end."""
