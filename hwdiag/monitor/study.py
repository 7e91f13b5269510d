"""Recording: the study of the topic ``monitor``, what watching the machine gave and what is to be said of it."""

from __future__ import annotations

from hwdiag.core.finding import Check, Finding
from hwdiag.core.value import TopicStudy
from hwdiag.monitor.model import Monitored

SAMPLES = "monitor.parquet"
"""The samples' file, beside the record."""


class Recording(TopicStudy):
    """What is kept beside the samples."""

    monitored: Monitored
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]

    @property
    def answers(self) -> tuple[Finding | Check, ...]:
        """All that is said of it."""
        return (*self.findings, *self.checks)
