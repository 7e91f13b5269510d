"""A command of the person's own as workload: its runs under several Launches, as blocks."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from statistics import median

from hwdiag.experiment.interleaved import Candidate, ProcessResult, out_of_memory
from hwdiag.experiment.model import Workload
from hwdiag.process.command import Ran, Running
from hwdiag.process.disturbance import Watch
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance


class Commands:
    """Blocks of commands: each Launch runs them in turn, in shuffled order, one after the other."""

    def __init__(self, processes: Iterator[int] | None = None) -> None:
        """``processes`` numbers the processes over several blocks."""
        self._processes = processes or itertools.count(1)

    def run(self, candidates: Sequence[Candidate], *, device: str, seed: int) -> Disturbance:  # noqa: ARG002
        """Run all commands, store their results in the candidates, and return what else the machine did meanwhile."""
        watch, cpu_s = Watch(), 0.0
        for candidate in random.Random(seed).sample([*candidates], len(candidates)):
            for workload in candidate.todo.values():
                ran = run_team(candidate.launch.members, workload)
                cpu_s += sum(r.cpu_s or 0 for r in ran)
                candidate.results[workload.name] = team_result(ran, workload, next(self._processes))
        out_of_memory(watch, candidates)
        return watch.stop(cpu_s)


def run_team(members: Sequence[Launch], workload: Workload) -> list[Ran]:
    """Run the command once under each of these Launches, all at the same time, and return the runs."""
    assert workload.command is not None
    with ExitStack() as stack:
        team = [stack.enter_context(Running(workload.command, launch)) for launch in members]
        return [running.ran() for running in team]


def team_result(ran: Sequence[Ran], workload: Workload, process: int) -> ProcessResult:
    """Return one result for a team of commands: of several at the same time, 1 over their total throughput."""
    command = workload.command
    assert command is not None
    result = ProcessResult(process, applied=ran[0].applied)
    result.outcome = next((r.outcome for r in ran if not r.outcome.ok), result.outcome)
    costs = [command.cost(r.value) for r in ran if r.value is not None]
    if result.outcome.ok and len(costs) == 1:
        result.seconds = costs
    elif result.outcome.ok:
        by_time = command.metric is None and command.metric_json is None
        # By the clock, the throughput lasts until the last one ends; what each says of itself adds up.
        all_of_them = max(r.ended for r in ran) - min(r.began for r in ran)
        result.seconds = [all_of_them / len(ran) if by_time else 1 / sum(1 / c for c in costs)]
        result.latencies = [median(costs)]
    peaks = [r.peak_rss_bytes for r in ran if r.peak_rss_bytes is not None]
    result.peak_rss_bytes = sum(peaks) if peaks else None
    return result
