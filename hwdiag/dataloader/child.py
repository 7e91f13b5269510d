"""A child of the target interpreter that reads, decodes and loads; what hangs or dies in it costs one answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hwdiag.process.child import Child
from hwdiag.process.launch import Launch
from hwdiag.process.model import Outcome

FEEDER = Path(__file__).parents[1] / "agent" / "dataloader" / "child.py"
AS_IT_IS = Launch()
KILL_S = 15.0
"""More than the child itself needs to end a trial that ran out of time."""
BY_ITSELF = ("find", "read")
"""What the child does in its own process, with nobody to watch it."""


class Feeder:
    """Answers one question after the other, from one child; a fresh one where it died. Use it in a ``with``."""

    def __init__(self, python: str, launch: Launch = AS_IT_IS) -> None:
        self.python, self.launch = python, launch
        self._child: Child | None = None

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, do: str, *, limit_s: float, **task: Any) -> tuple[Outcome, dict[str, Any]]:
        """How it went, and what was found: empty where it failed."""
        if self._child is None:
            self._child = Child(self.launch, self.python, {"parent": os.getpid(), "adopt": True}, FEEDER)
        child = self._child
        child.tell({"do": do, "limit_s": limit_s, **task})
        event = child.hear(("done", "failed"), limit_s + (0 if do in BY_ITSELF else KILL_S))
        if event is None:
            outcome = child.outcome()
            self._end()
            return outcome, {}
        if event["event"] == "failed":
            return Outcome(kind=event["kind"], detail=event["detail"]), {}
        return Outcome(kind="ok"), event["found"]

    def _end(self) -> None:
        if self._child is not None:
            self._child.__exit__()
        self._child = None
