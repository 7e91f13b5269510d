"""The nets that can be counted by name; ``agent/estimate/nets.py`` builds them."""

from __future__ import annotations

from hwdiag.agent.estimate import nets as _inside

NAMES: tuple[str, ...] = tuple(sorted([*_inside.TRANSFORMERS, *_inside.PLAIN]))
DECODERS: tuple[str, ...] = _inside.DECODERS
