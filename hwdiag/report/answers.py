"""Findings and checks as a table: what is wrong first."""

from __future__ import annotations

from collections.abc import Iterable

from hwdiag.core.finding import Check, Finding, worst_first
from hwdiag.report.table import Table

HEADER = ("State", "What was looked at", "Detail")


def answers_table(caption: str, answers: Iterable[Finding | Check]) -> Table:
    """Return one row for each answer."""
    answers = tuple(answers)
    checks = [a for a in answers if isinstance(a, Check)]
    findings = worst_first(a for a in answers if isinstance(a, Finding))
    rows: list[tuple[str, str, str]] = [(f.severity, f.title, f.detail) for f in findings]
    rows += [("fine" if c.state == "fine" else "not checked", c.title, c.detail) for c in checks]
    return Table(caption, HEADER, tuple(rows))
