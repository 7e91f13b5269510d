"""Reading, decoding and loading of data, measured."""

from .trials import VERBS

__all__ = ["VERBS"]
