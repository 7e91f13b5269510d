"""How does a person see it? Figures, tables, widgets and the report, all drawn from data and nothing else.

What a notebook cell calls is here by name.
"""

from hwdiag.show.plots import gains, roofline, thread_scaling
from hwdiag.show.tables import (
    checks_table,
    comparisons_table,
    findings_table,
    host_table,
    plan_table,
    recommendations_table,
    results_table,
    software_table,
)
from hwdiag.show.topology import draw_topology
from hwdiag.show.widgets import EmitChooser

__all__ = [
    "EmitChooser",
    "checks_table",
    "comparisons_table",
    "draw_topology",
    "findings_table",
    "gains",
    "host_table",
    "plan_table",
    "recommendations_table",
    "results_table",
    "roofline",
    "software_table",
    "thread_scaling",
]
