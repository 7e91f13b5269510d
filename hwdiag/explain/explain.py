"""Explaining a program: look at it, ask every probe, and say what to try next."""

from __future__ import annotations

from hwdiag.core.finding import Check, Finding, worst_first
from hwdiag.explain.model import Case, Explanation
from hwdiag.explain.next_steps import next_steps
from hwdiag.explain.probes import ask
from hwdiag.explain.shares import shares
from hwdiag.host.model import Host
from hwdiag.process.observation.model import Program


def explain(program: Program, host: Host) -> Explanation:
    """Return what follows from what was seen of a program on this host."""
    case = Case(host, program)
    answers = ask(case)
    findings = worst_first(a for a in answers if isinstance(a, Finding))
    return Explanation(
        started_at=program.started_at,
        program=program,
        shares=shares(case),
        findings=findings,
        checks=tuple(a for a in answers if isinstance(a, Check)),
        next_steps=next_steps(case, findings),
    )
