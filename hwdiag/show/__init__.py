"""How does a person see it? Figures, tables, widgets and the report, all drawn from data and nothing else.

What a notebook cell calls is here by name: the workbook's sections, each with its verdict, and the boxes that choose.
"""

from hwdiag.show.sections import (
    ceilings,
    comparisons,
    engines,
    findings,
    machine,
    noise,
    plan,
    recommendations,
    search,
    software,
    speeds,
    threads,
    topology,
)
from hwdiag.show.widgets import EmitChooser

__all__ = [
    "EmitChooser",
    "ceilings",
    "comparisons",
    "engines",
    "findings",
    "machine",
    "noise",
    "plan",
    "recommendations",
    "search",
    "software",
    "speeds",
    "threads",
    "topology",
]
