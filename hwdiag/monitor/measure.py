"""Watch the machine while it works: samples on one time axis with the command, and marks of what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from hwdiag.core.text import now
from hwdiag.host.model import Host
from hwdiag.host.sampling import Sampler
from hwdiag.host.sampling.series import SampleSeries
from hwdiag.monitor.model import COMMAND_ENDS, COMMAND_STARTS, Monitored, MonitorOverhead
from hwdiag.monitor.recording import Recorder, summaries
from hwdiag.process.clock import Clock
from hwdiag.process.command import Ran, Running
from hwdiag.process.launch import Launch
from hwdiag.process.model import Command
from hwdiag.process.observation.marks import MARKS, Marks, mark_pipe
from hwdiag.process.signals import Requests, handling

See = Callable[[float, Sequence[float]], None]
"""Called with each sample: seconds since the start, and the values."""


class Watching:
    """One recording while it is made."""

    def __init__(self, sampler: Sampler, recorder: Recorder, hz: float, clock: Clock, marks: Marks) -> None:
        self.recorder, self.clock = recorder, clock
        self.period = 1 / hz
        self.series = SampleSeries(sampler, clock.now)
        self.marks = marks
        self.late = 0
        self.requests = Requests()
        self._cpu = time.process_time()
        self._told = 0

    def since_began(self, moment: float | None = None) -> float:
        """Return the seconds from the beginning until now, or until a moment of the clock."""
        return (self.clock.now() if moment is None else moment) - self.series.began

    def sample(self) -> Sequence[float]:
        """Read everything once, and write it down."""
        values = self.series.take()
        told = "; ".join(m.text for m in self.marks.found[self._told :])
        self._told = len(self.marks.found)
        self.recorder.add(self.series.seconds, values, told or None)
        return values

    def cost(self, file_bytes: int) -> MonitorOverhead:
        cpu_s, seconds = time.process_time() - self._cpu, self.series.seconds
        share = cpu_s / seconds if seconds > 0 else 0.0
        return MonitorOverhead(
            cpu_s=cpu_s, sampling_cpu_s=self.series.cpu_s, share=share, file_bytes=file_bytes, late=self.late
        )

    @property
    def running(self) -> Running | None:
        """Return the command that runs, or None."""
        return self.requests.running

    @property
    def over(self) -> bool:
        """Return whether there is nothing to wait for any more."""
        return self.running is None and (self.requests.count > 0 or bool(self.recorder.full))

    def until(self, seconds: float | None, pipe: int | None, see: See) -> None:
        """Sample until the command has ended, the time is up, or somebody asks for the end."""
        end = float("inf") if seconds is None or self.running is not None else self.series.began + seconds
        due, ended = self.series.began + self.period, False
        while not (ended or self.over or self.clock.now() >= end):
            files = [file for file in (pipe, self.running.fileno() if self.running else None) if file is not None]
            ready = self.clock.wait(min(due, end) - self.clock.now(), files)
            if pipe is not None and pipe in ready:
                self.marks.read(pipe, self.since_began())
            ended = self.running is not None and self.running.fileno() in ready
            if self.clock.now() < min(due, end) and not (ended or self.over):
                continue
            if self.clock.now() - self.series.last < self.period / 4:  # too short to say anything of
                continue
            values = self.sample()
            see(self.series.seconds, values)
            late = self.clock.now() - due
            self.late += late > self.period / 2
            due += self.period * (1 + max(0, int(late / self.period)))


def monitor(
    sampler: Sampler,
    path: Path,
    host: Host,
    *,
    name: str,
    hz: float,
    seconds: float | None = None,
    argv: Sequence[str] = (),
    stdio: tuple[int, int, int] | None = None,
    see: See = lambda seconds, values: None,
    clock: Clock | None = None,
    marks: Marks | None = None,
) -> tuple[Monitored, Ran | None]:
    """Watch the machine, write what is seen to ``path``, and sum it up.

    Args:
        sampler: what is read; closed by the caller.
        path: the Parquet file.
        host: the machine's facts.
        name: the host's folder under outputs/.
        hz: samples a second.
        seconds: how long without a command; with one, it is killed after them. None: to its end, or until a signal.
        argv: the command, which nothing of outlives the watching.
        stdio: files that become its standard input, output and error.
        see: called with each sample.
        clock: stands in for time.
        marks: where they are gathered, for who shows them meanwhile.

    Raises:
        HwdiagError: the file cannot be written.
    """
    started_at = now()
    recorder = Recorder(path, sampler.columns, {"started_at": started_at, "hz": f"{hz:g}", "hwdiag": "monitor 1"})
    clock = clock or Clock()
    ran = None
    with ExitStack() as stack:
        pipe: int | None = None
        sampler.root.forget_gaps()
        watching = Watching(sampler, recorder, hz, clock, marks or Marks())
        stack.enter_context(handling(watching.requests.asked))
        if argv:
            pipe, where = stack.enter_context(mark_pipe())
            launch = Launch(env={MARKS: str(where)})
            command = Command(argv=tuple(argv), timeout_s=seconds or 0)
            watching.requests.started(stack.enter_context(Running(command, launch, stdio)))
        watching.until(seconds, pipe, see)
        if watching.running is not None:
            ran = watching.running.ran()
            watching.requests.running = None
    size = recorder.close()
    if ran is not None and ran.ended:
        watching.marks.add(COMMAND_STARTS, watching.since_began(ran.began))
        watching.marks.add(COMMAND_ENDS, watching.since_began(ran.ended))
    done = Monitored(
        name=name,
        started_at=started_at,
        seconds=watching.series.seconds,
        hz=hz,
        samples=watching.series.count,
        cpu_model=host.cpu.model,
        cpus=len(host.cpu.online),
        memory_bytes=host.memory.total_bytes,
        gpus=tuple(g.model_copy(update={"uuid": None}) for g in host.gpus),
        columns=sampler.columns,
        absent=tuple(sampler.absent),
        lost=sampler.root.gaps,
        marks=watching.marks.sorted(),
        command=tuple(argv),
        outcome="" if ran is None or ran.outcome.ok else ran.outcome.detail,
        status=None if ran is None else ran.status,
        cut=f"the disk that {path.name} is on is full ({recorder.full})" if recorder.full else "",
        cost=watching.cost(size),
        summaries=(),
    )
    began = done.when(COMMAND_STARTS) or 0.0
    found = summaries(path, done.columns, began, done.when(COMMAND_ENDS) or done.seconds)
    return done.model_copy(update={"summaries": found}), ran
