"""Plots of a Record. Each gives a Figure, or None where the record has nothing to draw."""

from hwdiag.report.plots._gains import gains
from hwdiag.report.plots._noise import noise_strips
from hwdiag.report.plots._roofline import roofline
from hwdiag.report.plots._scaling import thread_scaling
from hwdiag.report.plots._search import search_steps, steps_figure

__all__ = ["gains", "noise_strips", "roofline", "search_steps", "steps_figure", "thread_scaling"]
