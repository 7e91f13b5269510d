"""Recording: the study of the topic ``monitor``, what watching the machine gave and what is to be said of it."""

from __future__ import annotations

from hwdiag.advise.model import Check, Finding
from hwdiag.measure.monitored import Monitored
from hwdiag.model import TopicStudy


class Recording(TopicStudy):
    """What is kept beside the samples, which lie in a Parquet file next to the record."""

    monitored: Monitored
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
