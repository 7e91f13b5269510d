"""Plots of a Record. Each gives a Figure, or None where the record has nothing to draw."""

from hwdiag.show.plots._gains import gains
from hwdiag.show.plots._roofline import roofline
from hwdiag.show.plots._scaling import thread_scaling

__all__ = ["gains", "roofline", "thread_scaling"]
