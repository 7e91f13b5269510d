"""A Slurm job: sbatch(1) asks for CPUs, srun(1) binds each task to those that were measured."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from hwdiag.core.files import File
from hwdiag.process.launch import Launch
from hwdiag.tune.way import Start, Way, numactl


def files(start: Start) -> Iterator[File]:
    """Yield the job script."""
    what = f"A Slurm job with {len(start.members)} tasks a node" if len(start.members) > 1 else "A Slurm job"
    yield File(path="job.sbatch", text=text(start), what=what, executable=True)


def text(start: Start) -> str:
    """Return the job script's text."""
    tasks = len(start.members)
    lines = [
        "#SBATCH --job-name=hwdiag-program",
        "# More nodes: each gets the same tasks.",
        "#SBATCH --nodes=1",
        f"#SBATCH --ntasks-per-node={tasks}",
        f"#SBATCH --cpus-per-task={max(start.cpus(m) for m in start.members)}",
        *directives(start),
        *(["# For a GPU: SBATCH --gres=gpu:1"] if start.host.accelerators else []),
        "",
        "# Values are data in single quotes, whatever they hold: nothing in them is meant to expand.",
        "# shellcheck disable=SC2016",
        "set -euo pipefail",
        *cpus_of_a_step(start),
        *(f"unset -v {shlex.quote(name)}" for name in start.unset),
        *(f"export {n}={shlex.quote(v)}" for n, v in start.environment.items() if n not in start.paths),
        *(["export HWDIAG_INSTANCES=" + str(tasks)] if tasks > 1 else []),
        *([f"cd {shlex.quote(str(start.folder))}"] if start.folder is not None else []),
        "",
        f"exec srun {' '.join(options(start))} {command(start)}",
        "",
    ]
    return "#!/bin/bash\n" + start.header() + "\n".join(lines)


def directives(start: Start) -> list[str]:
    """Return what the job needs beyond CPUs: CPUs of given numbers are only had with the whole node."""
    if start.is_bound:
        return ["# The whole node: its CPUs have numbers.", "#SBATCH --exclusive", "#SBATCH --mem=0"]
    if not start.host.cpu.smt:
        return []
    return [f"#SBATCH --hint={'multithread' if uses_siblings(start) else 'nomultithread'}"]


def cpus_of_a_step(start: Start) -> list[str]:
    """Return how many CPUs srun may bind to: all of the node's where they have numbers, or the job's for each task."""
    if start.is_bound:
        return ["# srun binds to any CPU of the node unless it is given a number.", "unset -v SLURM_CPUS_PER_TASK"]
    told = "# From Slurm 22.05 on srun does not take this over by itself."
    return [told, 'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"']


def uses_siblings(start: Start) -> bool:
    """Return whether there are more CPUs than the host has usable cores."""
    return sum(start.cpus(m) for m in start.members) > len(start.host.usable_cores)


def options(start: Start) -> list[str]:
    """Return srun's options: where each task runs and where its memory comes from."""
    found = []
    if start.is_bound:
        masks = [mask(m.cpus or start.host.usable_cpus) for m in start.members]
        found += [f"--cpu-bind=mask_cpu:{','.join(masks)}"]
    elif any(m.threads for m in start.members):
        found += ["--cpu-bind=cores"] if not start.host.cpu.smt else []
    else:
        found += ["--cpu-bind=none"]
    return [*found, *memory_options(start.members)]


def memory_options(members: Sequence[Launch]) -> list[str]:
    """Return srun's option for a memory policy; none for one that Slurm does not know (interleaving), or none at
    all."""
    policies = [m.memory for m in members if m.memory is not None]
    if len(policies) != len(members) or any(p.mode == "interleave" for p in policies):
        return []
    prefer = "prefer," if any(p.mode == "preferred" for p in policies) else ""
    return [f"--mem-bind={prefer}mask_mem:{','.join(mask(p.nodes) for p in policies)}"]


def mask(numbers: Sequence[int]) -> str:
    """Return numbers as a mask: ``0x5`` for 0 and 2."""
    return hex(sum(1 << n for n in set(numbers)))


def command(start: Start) -> str:
    """Return what each task runs: what cannot be exported before srun without changing srun itself is set here."""
    words = " ".join(map(shlex.quote, start.words))
    inner = numactl(start.members[0]) if not memory_options(start.members) else ()
    bind = "".join(f"{shlex.quote(w)} " for w in inner)
    sets = "".join(f' {name}="{inside(value)}${{{name}:+:${name}}}"' for name, value in start.paths.items())
    return f"{'env' + sets + ' ' if sets else ''}{bind}{words}"


def inside(value: str) -> str:
    """Return a text as a part of a double-quoted word of a shell."""
    return "".join(f"\\{c}" if c in '\\"$`' else c for c in value)


WAY = Way("slurm", "a Slurm job", files)
