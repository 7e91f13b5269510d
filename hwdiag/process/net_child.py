"""An agent that counts or times nets, or single operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwdiag.process.agent import AS_IT_IS, Agent
from hwdiag.process.disturbance import Watch
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance, Outcome


@dataclass(frozen=True)
class AgentReport:
    """What one agent said, how it ended, and what the machine did meanwhile."""

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
