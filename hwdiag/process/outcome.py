"""Outcome of a process, in one line for a person."""

from __future__ import annotations

import re
import signal
from collections.abc import Collection
from typing import Any

from hwdiag.agent.patience import more
from hwdiag.core.outside import OutsideError, parse_json
from hwdiag.process.model import Outcome

Event = dict[str, Any]
"""One JSON object that an agent wrote; its ``event`` says which."""

IMPORT_TORCH = "import torch"
"""What an agent begins with, where it needs torch."""

SIGNAL_MEANING = {
    "SIGILL": "illegal instruction: code built for another CPU",
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGABRT": "aborted",
    "SIGFPE": "arithmetic error",
    "SIGKILL": "killed from outside, or out of memory",
}


def parse_any(text: str | bytes) -> Any:
    """Return what this JSON says; None if it is none."""
    try:
        return parse_json(text, infinite=True)
    except OutsideError:
        return None


def during(events: Collection[Event]) -> str:
    """Return what an agent with these events was doing, as the end of a sentence."""
    doing = next((e["workload"] for e in reversed([*events]) if e["event"] == "begin"), None)
    return f" in {doing}" if doing else " before torch was imported"


def classify(
    returncode: int | None, events: Collection[Event], stderr: str, timeout_s: float | None, given_s: float = 0.0
) -> Outcome:
    """Return how an agent ended, in one line that names what it was doing.

    ``given_s``: seconds of ``timeout_s`` that it was given beyond its limit.
    """
    failed = next((e for e in events if e["event"] == "failed" and e.get("workload") == IMPORT_TORCH), None)
    if timeout_s is not None:
        return Outcome(kind="timeout", detail=f"no answer for {timeout_s:.0f} s{more(given_s)}{during(events)}: killed")
    if failed is not None:
        return Outcome(kind="import-error", detail=f"torch cannot be imported: {failed['detail']}")
    if returncode is None:
        return Outcome(kind="error", detail=f"what watches over it was killed{during(events)}")
    if returncode < 0:
        return died_of(-returncode, during(events), stderr)
    if returncode or not any(e["event"] == "end" for e in events):
        return Outcome(kind="error", detail=f"exit status {returncode}{during(events)}{last_line(stderr)}")
    return Outcome(kind="ok")


def died_of(number: int, doing: str, stderr: str) -> Outcome:
    """Return the outcome of a process that a signal ended."""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    meaning = f" ({SIGNAL_MEANING[name]})" if name in SIGNAL_MEANING else ""
    frame = re.search(r'File "([^"]+)", line (\d+) in (\S+)', stderr)  # faulthandler's innermost frame
    where = f"; last Python frame: {frame[3]}, {frame[1]}:{frame[2]}" if frame else ""
    return Outcome(kind="signal", detail=f"killed by {name}{meaning}{doing}{where}")


def last_line(stderr: str) -> str:
    """Return the line that says why, as the end of a sentence: the last one, or that before a usage text."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    usage = next((i for i, line in enumerate(lines) if line.lower().startswith("usage:")), len(lines))
    return f": {lines[max(0, usage - 1)][:300]}" if lines else ""
