"""A file of the Compose specification, for Docker Compose and podman-compose: one service for each process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from hwdiag.core.files import File
from hwdiag.core.jinja import one_line
from hwdiag.host.cpulist import format_cpulist
from hwdiag.process.launch import Launch
from hwdiag.tune.container import image_notes, mounted, open_files, shared_memory
from hwdiag.tune.way import Start, Way, numactl


def files(start: Start) -> Iterator[File]:
    """Yield the Compose file."""
    yield File(path="compose.yaml", text=text(start), what="Containers by Docker Compose or podman-compose")


def text(start: Start) -> str:
    """Return the file's text."""
    count = len(start.members)
    names = ["program"] if count == 1 else [f"program{i}" for i in range(count)]
    services = {name: service(start, m, i) for i, (name, m) in enumerate(zip(names, start.members, strict=True))}
    notes = "".join(f"# {one_line(line)}\n" for line in image_notes(start))
    if start.binds_memory:
        notes += "# Compose has no word for memory nodes: numactl(8) of the image sets the policy, by CAP_SYS_NICE.\n"
    return start.header() + notes + yaml.safe_dump({"services": services}, sort_keys=False, width=10**6)


def service(start: Start, member: Launch, number: int) -> dict[str, Any]:
    """Return the service of one process."""
    count = len(start.members)
    own = {"HWDIAG_INSTANCE": str(number), "HWDIAG_INSTANCES": str(count)} if count > 1 else {}
    policy = numactl(member)
    limits: dict[str, Any] = {"nofile": {"soft": open_files(start), "hard": open_files(start)}}
    if start.host.accelerators:
        limits["memlock"] = {"soft": -1, "hard": -1}  # of pinned memory
    return {
        "image": start.image,
        "command": [expandless(word) for word in (*policy, *start.words)],
        "environment": {n: expandless(v) for n, v in {**start.environment, **own}.items()},
        **({"cpuset": format_cpulist(member.cpus)} if member.cpus is not None else {}),
        "shm_size": f"{shared_memory(start) >> 20}m",
        "ulimits": limits,
        **({"cap_add": ["SYS_NICE"]} if policy else {}),
        **({"volumes": [f"{start.scripts}:{start.scripts}:ro"]} if mounted(start) else {}),
    }


def expandless(word: str) -> str:
    """Return a word in which Compose expands nothing."""
    return word.replace("$", "$$")


WAY = Way("compose", "a Compose file", files)
