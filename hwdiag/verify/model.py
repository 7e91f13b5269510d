"""Reference: the study of the topic ``verify``, speeds of this host that later verifications are held against."""

from __future__ import annotations

from hwdiag.core.value import TopicStudy
from hwdiag.experiment.model import Estimate, Measurement, Workload


class Reference(TopicStudy):
    """Speeds under today's default, from so many fresh processes that a verification can be judged by them."""

    workloads: tuple[Workload, ...]
    measurements: tuple[Measurement, ...]
    estimates: tuple[Estimate, ...]
