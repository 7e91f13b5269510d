"""Workloads of the user's own: a Python file, or any command."""

from __future__ import annotations

from pathlib import Path

from hwdiag.experiment.model import Workload
from hwdiag.process.model import Command


def file_workload(path: Path) -> Workload:
    """Return the workload that ``build()`` of this file makes."""
    return Workload(
        name="file",
        title=f"build() of {path.name}",
        kind="file",
        family="own",
        dtype="float32",
        size={},
        path=str(path),
        flops=0,
        bytes=0,
        note="Its operations and bytes are not known, so it is compared with no ceiling.",
    )


def command_workload(command: Command) -> Workload:
    """Return the workload that runs this command."""
    what = command.metric_json or command.metric
    better = "higher" if command.higher_is_better else "lower"
    return Workload(
        name="command",
        title=" ".join(command.argv),
        kind="command",
        family="own",
        dtype="float32",
        size={},
        command=command,
        flops=0,
        bytes=0,
        note=f"Metric {what!r}, {better} is better." if what else "Its wall time counts.",
    )
