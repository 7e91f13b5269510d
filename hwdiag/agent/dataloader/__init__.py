"""How data is read, decoded and loaded."""

from .trials import VERBS

__all__ = ["VERBS"]
