"""Probe of the program's priority behind other programs."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.core.finding import Finding, Severity
from hwdiag.explain.cpu_use import WAITED, busy_threads, cpu_use
from hwdiag.explain.model import Answer, Case
from hwdiag.report.format import clean, percent

LIGHT = 50
"""CPU weight of a control group below which it is a low one; 100 is usual."""


def look(case: Case) -> Iterator[Answer]:
    """Yield by what its priority is low, and what that did to it."""
    use = cpu_use(case)
    if use.is_short:
        return
    share = use.wait_share
    busy = [(p, t) for p in use.working for t in busy_threads(p)]
    low = [(p, t) for p, t in busy if t.nice > 0 or t.policy == "idle"]
    weights = [p.cgroup.cpu_weight for p in use.working if p.cgroup.cpu_weight is not None]
    level: Severity = "warning" if share is not None and share >= WAITED else "note"
    told = f"waited for a CPU {percent(share)} of the time in which it could run" if share is not None else "ran so"
    if low:
        process, thread = low[0]
        idle = any(t.policy == "idle" for _, t in low)
        what = "the policy SCHED_IDLE" if idle else f"nice {max(t.nice for _, t in low)}"
        raised = f"'renice -n 0 -p {process.pid}' as root"
        yield Finding(
            id="low-priority",
            severity=level,
            title=f"It runs with {what}, behind all other programs: it {told}",
            detail=f"PID {process.pid} ({clean(thread.name)}) gets CPU time only when others want none. Start it "
            f"without '{'chrt -i 0' if idle else 'nice'}', or raise it: "
            + (f"'chrt -a -o -p 0 {process.pid}'." if idle else f"{raised}; Nice=0 in the systemd unit."),
            evidence=("program.processes",),
        )
    elif weights and min(weights) < LIGHT and share is not None and share >= WAITED:
        yield Finding(
            id="low-priority",
            severity="warning",
            title=f"Its control group has a CPU weight of {min(weights)} (100 is usual): it {told}",
            detail="Other groups get more of the CPUs where both want them. Raise it: CPUWeight= of the systemd unit, "
            "'docker run --cpu-shares 1024', resources.requests.cpu in Kubernetes.",
            evidence=("program.processes",),
        )
