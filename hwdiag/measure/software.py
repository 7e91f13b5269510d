"""Software: the PyTorch that the person really runs, described by a child of that interpreter."""

from __future__ import annotations

from hwdiag.measure.child import ChildReport, run_child
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Outcome, Software

TASK = {"device": "cpu", "describe": True, "workloads": []}


ELSEWHERE = "not measured on this machine"
"""Why there is no measurement of a host that was read from a snapshot."""
NOT_HERE = Software(python="", outcome=Outcome(kind="not-started", detail=ELSEWHERE))


def probe_software(python: str, *, timeout_s: float = 120.0) -> Software:
    """Describe the torch of the interpreter ``python``. Where its child dies, ``outcome`` says of what."""
    return software_from(python, run_child(Launch(name="default"), python, TASK, timeout_s=timeout_s))


def software_from(python: str, report: ChildReport) -> Software:
    """The software that a child reported."""
    return Software.model_validate({"python": python, "outcome": report.outcome, **(report.event("software") or {})})
