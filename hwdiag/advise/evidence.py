"""All that advice may rest on, in one value."""

from __future__ import annotations

from hwdiag.experiment.lever import Plan
from hwdiag.host.model import Host
from hwdiag.measure.model import Comparison, Estimate, Measurement, Noise, Software, Step, Workload
from hwdiag.model import Value
from hwdiag.params import Profile


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
    steps: tuple[Step, ...] = ()
    comparisons: tuple[Comparison, ...] = ()

    @property
    def min_effect(self) -> float:
        """Least gain worth a change, as a ratio: 0.03 for 3 %."""
        return self.profile.min_effect / 100
