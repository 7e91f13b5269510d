"""Software: the PyTorch that the person really runs, described by a child of that interpreter."""

from __future__ import annotations

from hwdiag.process.child import Child
from hwdiag.process.launch import Launch
from hwdiag.process.model import Outcome, Software

TASK = {"device": "cpu", "seed": 0, "describe": True}

ELSEWHERE = "not measured on this machine"
"""Why there is no measurement of a host that was read from a snapshot."""
NOT_HERE = Software(python="", outcome=Outcome(kind="not-started", detail=ELSEWHERE))


def probe_software(python: str, *, timeout_s: float = 120.0) -> Software:
    """Describe the torch of the interpreter ``python``. Where its child dies, ``outcome`` says of what."""
    with Child(Launch(), python, TASK) as child:
        outcome = child.finish(timeout_s)
        described = child.event("software") or {}
    return Software.model_validate({"python": python, "outcome": outcome, **described})
