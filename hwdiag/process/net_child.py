"""A child that counts or times nets: ``agent/estimate/child.py`` under an interpreter with torch."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwdiag.process.child import GRACE_S, STDERR_TAIL, binding, child_environment, classify, kill_group, parse_events
from hwdiag.process.disturbance import Watch
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance, Outcome

CHILD = Path(__file__).parents[1] / "agent" / "estimate" / "child.py"
AS_IT_IS = Launch()


@dataclass(frozen=True)
class ChildReport:
    """What one child said, how it ended, and what the machine did meanwhile."""

    outcome: Outcome
    events: tuple[dict[str, Any], ...]
    disturbance: Disturbance


def run_inside(python: str, task: dict[str, Any], *, timeout_s: float, launch: Launch = AS_IT_IS) -> ChildReport:
    """Run one task in a child of its own, for at most ``timeout_s`` seconds. Its death is a result, not an error.

    The child gets a process group of its own, of which nothing outlives this call.
    """
    argv = [*binding(launch), python, str(CHILD)]
    watch = Watch()
    with tempfile.TemporaryFile("w+", errors="replace") as stderr:
        try:
            process = subprocess.Popen(
                argv,
                env=child_environment(launch),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            reason = f"{argv[0]}: {error.strerror or error}"
            return ChildReport(Outcome(kind="not-started", detail=reason), (), watch.stop(None))
        output, timed_out = wait(process, json.dumps({"parent": os.getpid(), **task}), timeout_s)
        events = parse_events(output)
        stderr.seek(0)
        outcome = classify(process.returncode, events, stderr.read()[-STDERR_TAIL:], timeout_s if timed_out else None)
    return ChildReport(outcome, events, watch.stop(events[-1].get("cpu_s") if events else None))


def wait(process: subprocess.Popen[str], task: str, timeout_s: float) -> tuple[str, bool]:
    """Standard output of the child, and whether it ran out of time. Leaves nothing of its process group behind."""
    try:
        return process.communicate(task, timeout=timeout_s)[0], False
    except subprocess.TimeoutExpired:
        kill_group(process)
        # What left the process group may hold the pipe open: its words are not waited for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=GRACE_S)[0], True
        return "", True
    finally:
        kill_group(process)
        process.wait()
