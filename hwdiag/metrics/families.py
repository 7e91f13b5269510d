"""Values as metrics: the last sample of the machine, and the newest verification of the host."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from hwdiag import __version__
from hwdiag.host.source import Column
from hwdiag.metrics.names import metric_of
from hwdiag.record.verification import HealthStatus, Verification

STATES: dict[HealthStatus, str] = {"PASS": "ok", "WARNING": "degraded", "CRITICAL": "failed"}
"""OpenTelemetry's states of hardware; of ``UNKNOWN`` none is known."""


class SampledMetrics(Collector):
    """The last sample of each column. What was not reported at that moment has no value."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._named = [metric_of(column) for column in columns]
        self._values: Sequence[float] = ()
        self._lock = threading.Lock()

    def see(self, values: Sequence[float]) -> None:
        """Take one sample."""
        with self._lock:
            self._values = tuple(values)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the metrics."""
        with self._lock:
            values = self._values
        families: dict[str, GaugeMetricFamily] = {}
        for metric, value in zip(self._named, values, strict=False):
            if metric is not None and not math.isnan(value):
                family = families.get(metric.name)
                if family is None:
                    family = families[metric.name] = gauge(metric.name, metric.help, list(metric.labels))
                family.add_metric(list(metric.labels.values()), value * metric.factor)
        return families.values()


class VerificationMetrics(Collector):
    """The verdict of a verification."""

    def __init__(self, read: Callable[[], Verification | None]) -> None:
        """``read`` gives the newest one; None where there is none."""
        self._read = read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the metrics."""
        found = self._read()
        yield from () if found is None else verification_metrics(found)


class VersionMetric(Collector):
    """The version of hwdiag."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the metric."""
        info = gauge("hwdiag_build_info", "Version of hwdiag; its value is 1.", ["version"])
        info.add_metric([__version__], 1)
        yield info


def gauge(name: str, text: str, labels: Sequence[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=list(labels))


def verification_metrics(found: Verification) -> Iterable[GaugeMetricFamily]:
    """Return the metrics of a verification."""
    status = gauge("hwdiag_verification_status", "Verdict on the host: 1 for the present one.", ["status"])
    for name in get_args(HealthStatus):
        status.add_metric([name], float(found.status == name))
    yield status
    state = gauge("hw_status", "State of the host by its verification: 1 for the present one.",
                  ["hw_id", "hw_type", "hw_state"])  # fmt: skip
    for told in STATES.values():
        state.add_metric(["host", "host", told], float(STATES.get(found.status) == told))
    yield state
    causes = gauge("hwdiag_verification_causes", "Causes of the verdict, by how much they weigh.", ["status"])
    for name in ("CRITICAL", "WARNING", "UNKNOWN"):
        causes.add_metric([name], sum(cause.status == name for cause in found.causes))
    yield causes
    one(changed := gauge("hwdiag_verification_changed_facts", "Facts that differ from the record."), len(found.changed))
    yield changed
    one(took := gauge("hwdiag_verification_duration_seconds", "Time that the verification took."), found.seconds)
    yield took
    if (at := moment(found.started_at)) is not None:
        one(
            began := gauge("hwdiag_verification_timestamp_seconds", "Time of the verification, by the host's clock."),
            at,
        )
        yield began
    speeds = gauge("hwdiag_verification_speed_ratio", "Speed now over that of the record.", ["workload"])
    for speed in found.speeds:
        speeds.add_metric([speed.workload], speed.speedup.median)
    yield speeds


def one(family: GaugeMetricFamily, value: float) -> None:
    """Give a metric without labels its value."""
    family.add_metric([], value)


def moment(stamp: str) -> float | None:
    """Return a time in seconds since 1970; None where it is none."""
    try:
        return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None


def registry_of(*collectors: Collector) -> CollectorRegistry:
    """Return a registry of these alone: nothing of this process is exported."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (VersionMetric(), *collectors):
        registry.register(collector)
    return registry
