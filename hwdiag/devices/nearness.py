"""A GPU's own NUMA node: copies from another one cross the link between sockets."""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag.experiment.lever import Lever, Plan
from hwdiag.experiment.model import Workload
from hwdiag.host.model import Gpu, Host
from hwdiag.process.launch import Launch, MemoryPolicy

NEAR = "near-gpu"


def near(host: Host, gpu: Gpu | None) -> Plan | None:
    """Return the plan of a process that runs on the GPU's own node; None where there is one node, or it is not told."""
    if gpu is None or gpu.node is None or len(host.numa) < 2:
        return None
    cpus = next((node.cpus for node in host.numa if node.id == gpu.node), ())
    mine = tuple(cpu for cpu in cpus if cpu in host.usable_cpus)
    if not mine:
        return None
    launch = Launch(cpus=mine, memory=MemoryPolicy(mode="bind", nodes=(gpu.node,)))
    return Plan.of(Lever(id=NEAR, factor="placement", title=f"on NUMA node {gpu.node}, next to the GPU", launch=launch))


def copies(workloads: Sequence[Workload]) -> list[str]:
    """Return the names of those that move bytes between host and device."""
    return [w.name for w in workloads if w.family == "transfer"]
