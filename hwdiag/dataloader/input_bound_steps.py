"""Steps of ``hwdiag dataloader --pid`` and ``hwdiag dataloader -- command``: a running training, from outside."""

from __future__ import annotations

import math
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from hwdiag.host.gpu import gpu_sources
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.process.command import Ran, Running
from hwdiag.process.launch import Launch
from hwdiag.process.model import Command
from hwdiag.process.observation.inside_model import InsideReport
from hwdiag.process.observation.observable import observable
from hwdiag.process.observation.observe import observe_pid
from hwdiag.process.observation.processes import Processes, trainings
from hwdiag.process.observation.waiting import watch
from hwdiag.process.observation.waiting_model import TrainingWaits
from hwdiag.process.observation.witness import Witness
from hwdiag.process.signals import forwarding

SECONDS = 20.0
"""How long a running training is looked at where nothing else is said."""


def watch_pid(pid: int, seconds: float | None = None) -> list[TrainingWaits]:
    """Look at a running training, and at what it started, as ``hwdiag explain --pid`` does.

    Raises:
        UsageError: there is no such process, or none that can be looked at.
    """
    observable(pid)
    if not trainings(Processes(), pid):
        return []
    with closing(Sampler(Root.live())) as sampler:
        return [*observe_pid(pid, seconds or SECONDS, sampler=sampler).waits]


def watch_command(
    argv: Sequence[str], seconds: float | None, stdio: tuple[int, int, int] | None
) -> tuple[list[TrainingWaits], Ran]:
    """Start a command and look at the training in it, from inside too: to its end, or for so long, after which it runs
    on."""
    with ExitStack() as stack:
        gpu = stack.enter_context(gpu_use())
        witness = stack.enter_context(Witness(None, objects=False))
        command = Command(argv=tuple(argv), timeout_s=0)
        running = stack.enter_context(Running(command, Launch(env=dict(witness.variables)), stdio))
        stack.enter_context(forwarding(running))
        over = select.poll()
        over.register(running.fileno(), select.POLLIN | select.POLLHUP)
        found = watch(
            running.supervisor_pid,
            seconds,
            may_come=True,
            gpu=gpu,
            is_over=lambda: bool(over.poll(0)),
        )
        ran = running.ran()
        return with_inside(found, witness.reports()), ran


def with_inside(found: Sequence[TrainingWaits], reports: Sequence[InsideReport]) -> list[TrainingWaits]:
    """Return what was seen of trainings, with the share of their loops' time that each spent on data by its stacks."""
    loops = {r.pid: r.loop for r in reports if r.loop is not None}
    told = []
    for waited in found:
        loop = loops.get(waited.pid)
        if loop is None:
            told.append(waited.model_copy(update={"stacks_why": "nothing of its loop was seen from inside"}))
        else:
            share = {"stacks": loop.input, "stacks_low": loop.low, "stacks_high": loop.high}
            told.append(waited.model_copy(update={**share, "stacks_by": f"{loop.looks} looks", "stacks_why": ""}))
    return told


@contextmanager
def gpu_use() -> Iterator[Callable[[], float | None]]:
    """Use of the GPUs now, 0..1, the mean over all that tell; None where none does."""
    sources = gpu_sources(Root.live(), [], integrated=False)

    def used() -> float | None:
        told = [
            value / 100
            for source in sources
            for column, value in zip(source.columns, source.read(0.0), strict=True)
            if column.name.endswith(".use") and not math.isnan(value)
        ]
        return sum(told) / len(told) if told else None

    try:
        yield used
    finally:
        for source in sources:
            source.close()
