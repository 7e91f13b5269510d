"""The installed packages with native code, listed in a child of the interpreter that runs them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hwdiag.compat.children import Task, run_task
from hwdiag.compat.model import Interpreter
from hwdiag.process.model import Outcome
from hwdiag.process.outcome import last_line


def list_packages(python: str, *, env: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> Interpreter:
    """Return the interpreter's native packages, and the CPU as it sees it. Where its child dies, ``outcome`` says of
    what.

    A distribution counts as native if its RECORD names a shared object (importlib.metadata; PEP 376 and PEP 427).

    Args:
        python: path of the interpreter.
        env: its environment; None inherits ours.
        timeout_s: seconds after which the child is killed.
    """
    task = Task("installed packages", python, {"do": "packages.list"}, os.environ if env is None else env)
    end = run_task(task, timeout_s=timeout_s)
    said = end.all("environment")
    if said:
        values = {k: v for k, v in said[0].items() if k not in ("event", "python")}
        return Interpreter.model_validate(
            {"python": python, "outcome": Outcome(kind="ok"), "version": said[0]["python"], **values}
        )
    if end.returncode is None:
        outcome = Outcome(kind="not-started", detail=end.ended_for or "")
    elif end.ended_for:
        outcome = Outcome(kind="timeout", detail=f"{end.ended_for} while listing packages: killed")
    else:
        outcome = Outcome(kind="error", detail=f"exit status {end.returncode}{last_line(end.stderr)}")
    return Interpreter(python=python, outcome=outcome)
