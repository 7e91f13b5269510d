"""All that advice may rest on, in one value."""

from __future__ import annotations

from hwdiag.core.value import Value
from hwdiag.experiment.lever import Plan
from hwdiag.experiment.model import Comparison, Estimate, Measurement, Noise, SearchStep, Workload
from hwdiag.host.model import Host
from hwdiag.parameters.diagnosis import Profile
from hwdiag.process.model import Software


class Evidence(Value):
    """Facts and measurements of one run."""

    profile: Profile
    host: Host
    software: Software
    plans: tuple[Plan, ...] = ()
    workloads: tuple[Workload, ...] = ()
    overall_of: tuple[str, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    noise: Noise | None = None
    steps: tuple[SearchStep, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    shares: dict[str, dict[str, float]] = {}
    open_levers: tuple[str, ...] = ()

    @property
    def min_effect(self) -> float:
        """Return the least gain worth a change, as a ratio: 0.03 for 3 %."""
        return self.profile.min_effect / 100
