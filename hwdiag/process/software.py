"""Software: the PyTorch that the person really runs, described by an agent in that interpreter."""

from __future__ import annotations

from hwdiag.process.agent import Agent
from hwdiag.process.model import Outcome, Software

ELSEWHERE = "not measured on this machine"
"""Why there is no measurement of a host that was read from a snapshot."""
NOT_HERE = Software(python="", outcome=Outcome(kind="not-started", detail=ELSEWHERE))


def probe_software(python: str, *, timeout_s: float = 120.0) -> Software:
    """Describe the torch of the interpreter ``python``. Where its agent dies, ``outcome`` says of what."""
    with Agent(python) as agent:
        outcome = agent.once({"do": "software.describe"}, timeout_s)
        described = agent.event("software") or {}
    return Software.model_validate({"python": python, "outcome": outcome, **described})
