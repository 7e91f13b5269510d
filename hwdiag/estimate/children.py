"""A child that counts or times nets: ``inside/child.py`` under an interpreter with torch."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hwdiag.measure.child import ChildReport, child_environment, classify, parse_events, tail, wait
from hwdiag.measure.disturbance import Watch
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Outcome

CHILD = Path(__file__).with_name("inside") / "child.py"
AS_IT_IS = Launch(name="default")


def run_inside(python: str, task: dict[str, Any], *, timeout_s: float, launch: Launch = AS_IT_IS) -> ChildReport:
    """Run one task in a child of its own, for at most ``timeout_s`` seconds. Its death is a result, not an error."""
    argv = [*launch.binding(), python, str(CHILD)]
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
        outcome = classify(process.returncode, events, tail(stderr), timeout_s if timed_out else None, watch.ooms())
    return ChildReport(outcome, events, watch.stop(events[-1].get("cpu_s") if events else None))
