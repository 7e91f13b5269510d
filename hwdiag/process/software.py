"""Software: the PyTorch that the person really runs, described by an agent in that interpreter."""

from __future__ import annotations

from typing import Any

from hwdiag.process.agent import Agent
from hwdiag.process.model import Outcome, Software

ELSEWHERE = "not measured on this machine"
"""Why there is no measurement of a host that was read from a snapshot."""
NOT_HERE = Software(python="", outcome=Outcome(kind="not-started", detail=ELSEWHERE))


def probe_software(python: str, *, timeout_s: float = 120.0) -> Software:
    """Describe the torch of the interpreter ``python``. Where its agent dies, ``outcome`` says of what."""
    return describe_software(python, timeout_s=timeout_s)[0]


def describe_software(
    python: str, *, devices: bool = False, timeout_s: float = 120.0
) -> tuple[Software, list[dict[str, Any]]]:
    """Describe it with the accelerators that it can use, if ``devices`` are asked for."""
    with Agent(python) as agent:
        outcome = agent.once({"do": "software.describe", "devices": devices}, timeout_s)
        described = dict(agent.event("software") or {})
    found = described.pop("devices", [])
    return Software.model_validate({"python": python, "outcome": outcome, **described}), found
