"""Recording: the study of the topic ``monitor``, what watching the machine gave and what is to be said of it."""

from __future__ import annotations

from hwdiag.core.finding import Check, Finding
from hwdiag.core.value import TopicStudy
from hwdiag.monitor.model import Monitored

SAMPLES = "monitor.parquet"
"""The samples' file, beside the record."""


class Recording(TopicStudy):
    """The result of a recording, kept beside the samples."""

    monitored: Monitored
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]

    @property
    def answers(self) -> tuple[Finding | Check, ...]:
        """Return all findings and checks of the recording."""
        return (*self.findings, *self.checks)
