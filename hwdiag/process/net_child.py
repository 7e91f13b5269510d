"""An agent that counts or times nets, or single operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwdiag.process.agent import AS_IT_IS, Agent
from hwdiag.process.disturbance import Watch
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance, Outcome
from hwdiag.process.outcome import IMPORT_TORCH

ENDING_S = 10.0
"""For an agent that has answered all to end."""


@dataclass(frozen=True)
class AgentReport:
    """The events and the outcome of one agent, and what the machine did meanwhile."""

    outcome: Outcome
    events: tuple[dict[str, Any], ...]
    disturbance: Disturbance


def ask_once(
    python: str, do: str, specs: Sequence[Mapping[str, Any]], *, timeout_s: float, launch: Launch = AS_IT_IS
) -> AgentReport:
    """Do ``count``, ``time_operations`` or ``time_nets`` in an agent of its own, for at most ``timeout_s`` seconds.

    Its death is a result, not an error.
    """
    watch = Watch()
    with Agent(python, launch) as agent:
        agent.tell({"do": f"estimate.{do}", "specs": [*specs]})
        outcome = agent.finish(timeout_s)
    return AgentReport(outcome, tuple(agent.events), watch.stop(agent.cpu_s))


def ask_each(
    python: str, do: str, specs: Sequence[Mapping[str, Any]], *, each_s: float, launch: Launch = AS_IT_IS
) -> AgentReport:
    """Do ``time_operations`` or ``time_nets`` for all specs, each within ``each_s`` seconds (starting torch too).

    What hangs, or kills its agent, is told as ``lost`` with its index, and a fresh agent goes on with the rest.
    """
    watch, events, used = Watch(), [], 0.0
    left = list(range(len(specs)))
    outcome = Outcome(kind="ok")
    while left:
        with Agent(python, launch) as agent:
            agent.tell({"do": f"estimate.{do}", "specs": [specs[i] for i in left]})
            answered = 0
            while answered < len(left):
                event = agent.hear(("done", "failed"), each_s)
                if event is None or "index" not in event:
                    break
                events.append({**event, "index": left[answered]})
                answered += 1
            outcome = agent.finish(ENDING_S)
            started = any(e["event"] == "begin" and e["workload"] != IMPORT_TORCH for e in agent.events)
            used += agent.cpu_s or 0.0
        if answered == len(left):
            break
        if not answered and not started:
            return AgentReport(outcome, tuple(events), watch.stop(used))
        lost = specs[left[answered]]
        name = lost.get("net") or lost.get("kind")
        events.append({"event": "lost", "workload": name, "index": left[answered], "detail": outcome.detail})
        left = left[answered + 1 :]
        outcome = Outcome(kind="ok")
    return AgentReport(outcome, tuple(events), watch.stop(used))
