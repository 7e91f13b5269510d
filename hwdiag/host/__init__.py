"""Facts of one machine: a Root is read into a Host. No torch, no writes."""

from hwdiag.host.read import read_host
from hwdiag.host.root import Root

__all__ = ["Root", "read_host"]
