"""Section of the reference speeds that later verifications are compared with."""

from __future__ import annotations

from hwdiag.core.text import plural
from hwdiag.report.format import seconds
from hwdiag.report.section import Section
from hwdiag.report.table import Table
from hwdiag.verify.model import Reference


def reference(found: Reference) -> Section:
    """Return the section on the reference speeds: of each workload the time and its interval."""
    rows = tuple(
        (e.workload, seconds(e.seconds.median), f"{seconds(e.seconds.low)} to {seconds(e.seconds.high)}",
         str(e.seconds.processes))
        for e in found.estimates
    )  # fmt: skip
    table = Table("Reference speeds under today's default", ("Workload", "Median", "95 % interval", "Processes"), rows)
    return Section(f"{plural(len(rows), 'reference speed')} for later verifications.", (table,))
