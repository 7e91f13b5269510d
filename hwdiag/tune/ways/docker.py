"""A container by the command line of Docker or Podman, which take the same options."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from hwdiag.core.files import File
from hwdiag.core.jinja import one_line
from hwdiag.host.cpulist import format_cpulist
from hwdiag.process.launch import Launch
from hwdiag.tune.container import image_notes, mounted, open_files, shared_memory
from hwdiag.tune.way import Start, Way, numactl


def files(start: Start) -> Iterator[File]:
    """Yield the script; of several instances it starts all and waits for them."""
    yield File(path="run.sh", text=text(start), what="Containers by docker run, or podman run", executable=True)


def text(start: Start) -> str:
    """Return the script's text."""
    notes = "".join(f"# {one_line(line)}\n" for line in image_notes(start))
    several = len(start.members) > 1
    runs = [run_line(start, m, i if several else None) for i, m in enumerate(start.members)]
    lines = [
        "# Podman takes the same options: ENGINE=podman ./run.sh",
        "# shellcheck disable=SC2016",
        "set -euo pipefail",
        "engine=${ENGINE:-docker}",
        "",
        *([f"{run} &" for run in runs] if several else [f"exec {runs[0]}"]),
        *(
            ["status=0", 'for job in $(jobs -p); do wait "$job" || status=$?; done', 'exit "$status"']
            if several
            else []
        ),
        "",
    ]
    return "#!/bin/bash\n" + start.header() + notes + "\n".join(lines)


def run_line(start: Start, member: Launch, number: int | None) -> str:
    """Return the command of one container."""
    policy = () if is_by_cpuset(member) else numactl(member)
    own = {} if number is None else {"HWDIAG_INSTANCE": str(number), "HWDIAG_INSTANCES": str(len(start.members))}
    words = [*options(start, member), *(["--cap-add", "SYS_NICE"] if policy else [])]
    for name, value in {**start.environment, **own}.items():
        words += ["--env", f"{name}={value}"]
    return '"$engine" run ' + " ".join(map(shlex.quote, [*words, start.image, *policy, *start.words]))


def options(start: Start, member: Launch) -> list[str]:
    """Return the options that give one container its CPUs, memory nodes, shared memory and limits."""
    words = [
        "--rm",
        f"--shm-size={shared_memory(start) >> 20}m",
        "--ulimit",
        f"nofile={open_files(start)}:{open_files(start)}",
    ]
    if member.cpus is not None:
        words.append(f"--cpuset-cpus={format_cpulist(member.cpus)}")
    if is_by_cpuset(member) and member.memory is not None:
        words.append(f"--cpuset-mems={format_cpulist(member.memory.nodes)}")
    if start.host.accelerators:
        words += ["--ulimit", "memlock=-1:-1"]  # of pinned memory
    if mounted(start):
        words += ["--volume", f"{start.scripts}:{start.scripts}:ro"]
    return words


def is_by_cpuset(member: Launch) -> bool:
    """Return whether the engine's own option gives the memory policy: it binds, and does neither prefer nor
    interleave, for which numactl(8) of the image needs CAP_SYS_NICE."""
    return member.memory is not None and member.memory.mode == "bind"


WAY = Way("docker", "docker run or podman run", files)
