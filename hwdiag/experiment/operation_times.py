"""One look into an iteration of a workload, as it runs today: its time by operation, page faults, CPUs that work."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from hwdiag.core.value import Value
from hwdiag.experiment.interleaved import prepare_command
from hwdiag.experiment.model import Workload
from hwdiag.process.agent import Agent
from hwdiag.process.model import Outcome

WINDOW_S, WARMUP_S = 0.25, 0.05
"""Seconds of each of the two looks, and before them."""


class OperationCost(Value):
    """One operation of PyTorch, in one iteration: all its calls together."""

    name: str
    calls: float
    seconds: float
    flops: float = 0.0
    """0 where they are not known, or it moves data alone."""
    bytes: float = 0.0
    """Read and written, each operand once for each call."""
    dtype: str = ""


class OperationTimes(Value):
    """One workload, looked into under today's default on the CPU. Times are of one iteration."""

    workload: str
    outcome: Outcome = Outcome(kind="ok")
    seconds: float = 0.0
    threads: int = 0
    cpus: float = 0.0
    """CPUs that worked for it, in the mean; threads that spin while they wait count, too."""
    system_share: float = 0.0
    """Of its CPU time, in the kernel."""
    faults: float = 0.0
    """Page faults."""
    page_bytes: int = 4096
    operations: tuple[OperationCost, ...] = ()
    """The longest first."""


def look_into(python: str, workloads: Sequence[Workload], timeout_s: float, seed: int = 1) -> list[OperationTimes]:
    """Return a look into each workload, from one process; one that fails says how it ended."""
    found = []
    with Agent(python) as agent:
        agent.tell({"do": "measure.start", "device": "cpu", "seed": seed})
        for workload in workloads:
            agent.tell(prepare_command(workload, check=False, warmup_s=WARMUP_S))
            agent.tell({"do": "operation_times.look", "seconds": WINDOW_S})
        agent.close()
        for workload in workloads:
            found.append(one_look(agent, workload, timeout_s))
            if agent.ended:
                break
    return found


def one_look(agent: Agent, workload: Workload, timeout_s: float) -> OperationTimes:
    """Return the next workload's look."""
    heard = agent.hear(("looked", "failed"), timeout_s)
    if heard is None:
        return OperationTimes(workload=workload.name, outcome=agent.outcome())
    if heard["event"] == "failed":
        agent.kill()
        return OperationTimes(workload=workload.name, outcome=Outcome(kind=heard["kind"], detail=heard["detail"]))
    try:
        return OperationTimes.model_validate({k: v for k, v in heard.items() if k != "event"})
    except ValidationError:
        return OperationTimes(
            workload=workload.name, outcome=Outcome(kind="error", detail="its answer is not readable")
        )
