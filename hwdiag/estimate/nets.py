"""The nets that can be counted by name; ``inside/nets.py`` builds them."""

from __future__ import annotations

from hwdiag.estimate.inside import nets as _inside

NAMES: tuple[str, ...] = tuple(sorted([*_inside.TRANSFORMERS, *_inside.PLAIN]))
DECODERS: tuple[str, ...] = _inside.DECODERS
