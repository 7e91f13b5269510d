"""Names of metrics: what a sampled column is called in OpenTelemetry's conventions, as Prometheus writes them.

The names are those of OpenTelemetry's semantic conventions for systems (``system.*``) and hardware (``hw.*``) where
they have one, with Prometheus' base units as their ends: ``_ratio``, ``_bytes``, ``_hertz``, ``_celsius``, ``_watts``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hwdiag.host.source import Column


@dataclass(frozen=True)
class MetricName:
    """One metric: its name, what it says, and the factor to its base unit."""

    name: str
    help: str
    factor: float = 1.0
    labels: dict[str, str] = field(default_factory=dict)
    """Values may use the groups of the column's expression: ``{gpu}``."""


CPU = "system_cpu_utilization_ratio"
PERCENT, MEGA = 0.01, 1e6
COLUMNS: dict[str, MetricName] = {
    r"cpu\.use": MetricName(CPU, "Share of the time of all CPUs, by mode.", PERCENT, {"cpu_mode": "busy"}),
    r"cpu\.(?P<mode>iowait|steal)": MetricName(
        CPU, "Share of the time of all CPUs, by mode.", PERCENT, {"cpu_mode": "{mode}"}
    ),
    r"cpu\.running": MetricName("system_cpu_running_threads", "Threads that run or want to."),
    r"cpu(?P<cpu>\d+)\.use": MetricName(
        "system_cpu_logical_utilization_ratio",
        "Share of the time in which a logical CPU was busy.",
        PERCENT,
        {"cpu_logical_number": "{cpu}"},
    ),
    r"cpu(?P<cpu>\d+)\.clock": MetricName(
        "system_cpu_frequency_hertz", "Clock of a logical CPU.", MEGA, {"cpu_logical_number": "{cpu}"}
    ),
    r"memory\.used": MetricName(
        "system_memory_usage_bytes", "Memory in use, by state.", 1, {"system_memory_state": "used"}
    ),
    r"memory\.file_cache": MetricName(
        "system_memory_usage_bytes", "Memory in use, by state.", 1, {"system_memory_state": "cached"}
    ),
    r"memory\.available": MetricName("system_linux_memory_available_bytes", "Memory that programs can get."),
    r"memory\.dirty": MetricName("system_linux_memory_dirty_bytes", "Memory that waits to be written to a disk."),
    r"memory\.major_faults": MetricName(
        "system_paging_faults_per_second", "Page faults that read a disk.", 1, {"system_paging_fault_type": "major"}
    ),
    r"swap\.used": MetricName("system_paging_usage_bytes", "Swap in use."),
    r"swap\.(?P<way>in|out)": MetricName(
        "system_paging_io_bytes_per_second", "Bytes read from swap or written to it.", 1,
        {"system_paging_direction": "{way}"},
    ),
    r"node(?P<node>\d+)\.(?P<what>hits|misses|remote)": MetricName(
        "system_numa_allocations_per_second", "Pages given on a NUMA node.", 1,
        {"numa_node": "{node}", "numa_result": "{what}"},
    ),
    r"(?P<disk>[^.]+)\.(?P<way>read|written)": MetricName(
        "system_disk_io_bytes_per_second", "Bytes read from a disk or written to it.", 1,
        {"system_device": "{disk}", "disk_io_direction": "{way}"},
    ),
    r"(?P<disk>[^.]+)\.busy": MetricName(
        "system_disk_utilization_ratio", "Share of the time in which a disk was busy.", PERCENT,
        {"system_device": "{disk}"},
    ),
    r"pressure\.(?P<what>cpu|memory|io)\.(?P<kind>some|full)": MetricName(
        "system_linux_pressure_ratio", "Share of the time in which programs waited for a resource.", PERCENT,
        {"resource": "{what}", "kind": "{kind}"},
    ),
    r"cgroup\.stopped": MetricName(
        "system_cpu_throttled_ratio", "CPUs' worth of time in which the CPU quota stopped programs.", PERCENT
    ),
    r"gpu(?P<gpu>\d+)\.awake": MetricName(
        "hw_gpu_awake_ratio", "Share of the time in which a GPU was awake.", PERCENT, {"hw_id": "gpu{gpu}"}
    ),
    r"gpu(?P<gpu>\d+)\.use": MetricName(
        "hw_gpu_utilization_ratio", "Share of the time in which a GPU was in use.", PERCENT, {"hw_id": "gpu{gpu}"}
    ),
    r"gpu(?P<gpu>\d+)\.memory_use": MetricName(
        "hw_gpu_memory_utilization_ratio", "Share of the time in which a GPU's memory was read or written.", PERCENT,
        {"hw_id": "gpu{gpu}"},
    ),
    r"gpu(?P<gpu>\d+)\.memory": MetricName(
        "hw_gpu_memory_usage_bytes", "Memory of a GPU in use.", 1, {"hw_id": "gpu{gpu}"}
    ),
    r"gpu(?P<gpu>\d+)\.(?P<clock>clock|memory_clock)": MetricName(
        "hw_gpu_frequency_hertz", "Clock of a GPU's cores or memory.", MEGA, {"hw_id": "gpu{gpu}", "clock": "{clock}"}
    ),
    r"gpu(?P<gpu>\d+)\.power": MetricName(
        "hw_power_watts", "Power that a part takes.", 1, {"hw_id": "gpu{gpu}", "hw_type": "gpu"}
    ),
    r"gpu(?P<gpu>\d+)\.temperature": MetricName(
        "hw_temperature_celsius", "Temperature of a part.", 1, {"hw_id": "gpu{gpu}", "hw_type": "gpu"}
    ),
}  # fmt: skip
"""By the name of a column. A GPU's reasons for a low clock are bits of its driver's, which no metric has."""
_EXPRESSIONS = [(re.compile(expression), metric) for expression, metric in COLUMNS.items()]


def metric_of(column: Column) -> MetricName | None:
    """Return the metric of a column, with its labels; None for one that is not exported."""
    for expression, metric in _EXPRESSIONS:
        if found := expression.fullmatch(column.name):
            labels = {name: value.format(**found.groupdict()) for name, value in metric.labels.items()}
            return MetricName(metric.name, metric.help, metric.factor, labels)
    return None
