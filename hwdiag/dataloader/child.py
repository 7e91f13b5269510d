"""An agent that reads, decodes and loads; what hangs or dies in it costs one answer."""

from __future__ import annotations

from typing import Any

from hwdiag.process.agent import AS_IT_IS, Agent
from hwdiag.process.launch import Launch
from hwdiag.process.model import Outcome

KILL_S = 15.0
"""More than the agent itself needs to end a trial that ran out of time."""
BY_ITSELF = ("find", "read")
"""What the agent does in its own process, with nobody to watch it."""
PATIENCE = 3.0
"""Times its limit that an answer may take while others keep the CPUs from it."""


class Feeder:
    """Answers one question after the other, from one agent; a fresh one where it died. Use it in a ``with``."""

    def __init__(self, python: str, launch: Launch = AS_IT_IS) -> None:
        self.python, self.launch = python, launch
        self._agent: Agent | None = None
        self.given_s = 0.0
        """Seconds that answers were given beyond their limits, since others had the CPUs."""

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, do: str, *, limit_s: float, **task: Any) -> tuple[Outcome, dict[str, Any]]:
        """Send a task to the child, and return its outcome and its findings: empty where it failed."""
        if self._agent is None:
            self._agent = Agent(self.python, self.launch)
        agent = self._agent
        agent.tell({"do": f"dataloader.{do}", "limit_s": limit_s, "patience": PATIENCE, **task})
        before = agent.given_s
        event = agent.hear(
            ("done", "failed"), *((limit_s, PATIENCE) if do in BY_ITSELF else (PATIENCE * limit_s + KILL_S,))
        )
        self.given_s += agent.given_s - before
        if event is None:
            outcome = agent.outcome()
            self._end()
            return outcome, {}
        if event["event"] == "failed":
            return Outcome(kind=event["kind"], detail=event["detail"]), {}
        self.given_s += event["found"].pop("given_s", 0.0)
        return Outcome(kind="ok"), event["found"]

    def _end(self) -> None:
        if self._agent is not None:
            self._agent.__exit__()
        self._agent = None
