"""A dashboard for Grafana: the metrics of one host or of many, as JSON to import."""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]


class DashboardPanel(NamedTuple):
    """One panel: its title, its unit in Grafana, what it asks Prometheus, the legend of each line."""

    title: str
    unit: str
    query: str
    legend: str
    kind: str = "timeseries"


CHOSEN = 'instance=~"$instance"'
PANELS = (
    DashboardPanel(
        "Hosts by verdict", "none", f"sum by (status) (hwdiag_verification_status{{{CHOSEN}}})", "{{status}}", "stat"
    ),
    DashboardPanel(
        "Hosts that are not well", "none",
        f'hwdiag_verification_status{{{CHOSEN},status=~"CRITICAL|WARNING"}} == 1', "{{instance}} {{status}}", "table",
    ),
    DashboardPanel(
        "Speed now over the record's", "percentunit", f"hwdiag_verification_speed_ratio{{{CHOSEN}}}",
        "{{instance}} {{workload}}",
    ),
    DashboardPanel(
        "Since the last verification", "s", f"time() - hwdiag_verification_timestamp_seconds{{{CHOSEN}}}",
        "{{instance}}",
    ),
    DashboardPanel("Facts that changed", "none", f"hwdiag_verification_changed_facts{{{CHOSEN}}}", "{{instance}}"),
    DashboardPanel("CPUs", "percentunit", f"system_cpu_utilization_ratio{{{CHOSEN}}}", "{{instance}} {{cpu_mode}}"),
    DashboardPanel(
        "Stopped by the CPU quota", "percentunit", f"system_cpu_throttled_ratio{{{CHOSEN}}}",
        "{{instance}}",
    ),
    DashboardPanel(
        "Pressure", "percentunit", f"system_linux_pressure_ratio{{{CHOSEN}}}",
        "{{instance}} {{resource}} {{kind}}",
    ),
    DashboardPanel("Memory available", "bytes", f"system_linux_memory_available_bytes{{{CHOSEN}}}", "{{instance}}"),
    DashboardPanel(
        "Swap", "Bps", f"system_paging_io_bytes_per_second{{{CHOSEN}}}", "{{instance}} {{system_paging_direction}}"
    ),
    DashboardPanel(
        "Disks", "Bps", f"system_disk_io_bytes_per_second{{{CHOSEN}}}",
        "{{instance}} {{system_device}} {{disk_io_direction}}",
    ),
    DashboardPanel(
        "Memory given on another NUMA node", "ops",
        f'system_numa_allocations_per_second{{{CHOSEN},numa_result="remote"}}', "{{instance}} node {{numa_node}}",
    ),
    DashboardPanel("GPUs in use", "percentunit", f"hw_gpu_utilization_ratio{{{CHOSEN}}}", "{{instance}} {{hw_id}}"),
    DashboardPanel("Memory of GPUs", "bytes", f"hw_gpu_memory_usage_bytes{{{CHOSEN}}}", "{{instance}} {{hw_id}}"),
    DashboardPanel("Clock of GPUs", "hertz", f"hw_gpu_frequency_hertz{{{CHOSEN}}}", "{{instance}} {{hw_id}} {{clock}}"),
    DashboardPanel("Power", "watt", f"hw_power_watts{{{CHOSEN}}}", "{{instance}} {{hw_id}}"),
    DashboardPanel("Temperature", "celsius", f"hw_temperature_celsius{{{CHOSEN}}}", "{{instance}} {{hw_id}}"),
)  # fmt: skip
WIDTH, HEIGHT = 12, 8
"""Of a panel: a dashboard is 24 wide."""
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> Json:
    """Return the dashboard, as Grafana 10 and newer import it."""
    return {
        "uid": "hwdiag",
        "title": "hwdiag",
        "tags": ["hwdiag"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [variable("datasource", "datasource", "prometheus"), instances()]},
        "panels": [panel_json(i, panel) for i, panel in enumerate(PANELS)],
    }


def variable(name: str, kind: str, query: str) -> Json:
    return {"name": name, "type": kind, "query": query}


def instances() -> Json:
    """Return the variable to choose hosts by."""
    query = "label_values(hwdiag_build_info, instance)"
    return {
        **variable("instance", "query", query), "datasource": SOURCE, "multi": True, "includeAll": True,
        "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "refresh": 2,
    }  # fmt: skip


def panel_json(number: int, panel: DashboardPanel) -> Json:
    """Return one panel, two in a row."""
    target: Json = {"refId": "A", "datasource": SOURCE, "expr": panel.query, "legendFormat": panel.legend}
    if panel.kind != "timeseries":
        target |= {"instant": True, "range": False, "format": "table" if panel.kind == "table" else "time_series"}
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": number % 2 * WIDTH, "y": number // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [target],
    }
