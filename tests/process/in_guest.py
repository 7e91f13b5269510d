"""Run inside the guest by test_numa.py: starts children under each Launch and prints what they saw, as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process.agent import Agent
from hwdiag.process.launch import Launch, MemoryPolicy
from hwdiag.process.model import Applied
from hwdiag.process.software import NOT_HERE
from hwdiag.process.verify import not_applied
from hwdiag.tune.placement import placement

POLICIES = {
    "cpus": Launch(cpus=(1, 3)),
    "near": Launch(cpus=(2, 3), memory=MemoryPolicy(mode="preferred", nodes=(1,))),
    "bind": Launch(memory=MemoryPolicy(mode="bind", nodes=(1,))),
    "interleave": Launch(memory=MemoryPolicy(mode="interleave", nodes=(0, 1))),
    "no such node": Launch(memory=MemoryPolicy(mode="bind", nodes=(5,))),
}


def seen_by(launch: Launch, python: str) -> dict[str, object]:
    """What the worker saw of its Launch, where its pages lie, and what of the Launch was not applied."""
    with Agent(python, launch) as child:
        child.tell({"do": "measure.start", "device": "cpu", "seed": 1})
        child.hear(("applied",), 120)
        event = child.event("applied")
        if event is None:
            return {"outcome": child.outcome().detail}
        applied = Applied.model_validate({k: v for k, v in event.items() if k != "pages"})
        return {**event, "refused": not_applied(launch, applied)}


def launches(python: str) -> dict[str, object]:
    """What a child saw under each of the Launches, by their names."""
    return {name: seen_by(launch, python) for name, launch in POLICIES.items()}


def candidates(python: str) -> dict[str, object]:
    """Which bindings are proposed from where this process is, and whether children can be bound so."""
    host = read_host(Root.live())
    options = [lever.launch for lever in placement(host, NOT_HERE).levers]
    bound = [o for o in options if o.cpus]
    return {
        "usable": host.usable_cpus,
        "cpus": sorted({cpu for o in bound for cpu in o.cpus or ()}),
        "nodes": sorted({n for o in options if o.memory for n in o.memory.nodes}),
        "refused": [seen_by(o, python).get("refused", "not started") for o in bound],
    }


def main() -> None:
    """``in_guest.py PYTHON PATH CGROUP``: all of it by one process, as importing takes long under emulation.

    PATH is a search path without numactl; CGROUP is where the process goes in the end.
    """
    python, path, cgroup = sys.argv[1:]
    found = {"numactl": launches(python)}
    os.environ["PATH"] = path
    found["without numactl"] = launches(python)
    Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))
    found["cpuset"] = candidates(python)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
