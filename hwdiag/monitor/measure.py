"""Watch the machine while it works: samples on one time axis with the command, and marks of what it says."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hwdiag.core.text import now
from hwdiag.host.model import Host
from hwdiag.host.sampling import Sampler
from hwdiag.monitor.model import COMMAND_ENDS, COMMAND_STARTS, Cost, Mark, Monitored
from hwdiag.monitor.recording import Recorder, summaries
from hwdiag.process.clock import Clock
from hwdiag.process.command import Ran, Running
from hwdiag.process.launch import Launch
from hwdiag.process.model import Command
from hwdiag.process.signals import Requests, handling
from hwdiag.report.progress import MARKS

MARK_LENGTH, MOST_MARKS = 120, 1000
"""Characters of a mark, and how many of them are kept."""


See = Callable[[float, Sequence[float]], None]
"""Called with each sample: seconds since the start, and the values."""


class Watching:
    """One recording while it is made."""

    def __init__(self, sampler: Sampler, recorder: Recorder, hz: float, clock: Clock) -> None:
        self.sampler, self.recorder, self.clock = sampler, recorder, clock
        self.period = 1 / hz
        self.marks: list[Mark] = []
        self.samples = self.late = 0
        self.sampling_cpu_s = 0.0
        self.requests = Requests()
        self.began = self.last = clock.now()
        self._cpu = time.process_time()
        self._told = 0

    @property
    def seconds(self) -> float:
        return self.last - self.began

    def mark(self, text: str, at: float | None = None) -> None:
        """Note that this happened, now or at a moment of the clock."""
        if len(self.marks) < MOST_MARKS:
            moment = self.clock.now() if at is None else at
            self.marks.append(Mark(seconds=round(max(0.0, moment - self.began), 3), text=text[:MARK_LENGTH]))

    def sample(self) -> Sequence[float]:
        """Read everything once."""
        before = time.thread_time()
        moment = self.clock.now()
        values = self.sampler.read(moment - self.last)
        self.last = moment
        self.sampling_cpu_s += time.thread_time() - before
        told = "; ".join(m.text for m in self.marks[self._told :])
        self._told = len(self.marks)
        self.recorder.add(self.seconds, values, told or None)
        self.samples += 1
        return values

    def cost(self, file_bytes: int) -> Cost:
        cpu_s = time.process_time() - self._cpu
        share = cpu_s / self.seconds if self.seconds > 0 else 0.0
        return Cost(cpu_s=cpu_s, sampling_cpu_s=self.sampling_cpu_s, share=share, file_bytes=file_bytes, late=self.late)

    @property
    def running(self) -> Running | None:
        """The command."""
        return self.requests.running

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.running is None and (self.requests.count > 0 or bool(self.recorder.full))

    def until(self, seconds: float | None, pipe: int | None, see: See) -> None:
        """Sample until the command has ended, the time is up, or somebody asks for the end."""
        end = float("inf") if seconds is None or self.running is not None else self.began + seconds
        due, ended = self.began + self.period, False
        while not (ended or self.over or self.clock.now() >= end):
            files = [file for file in (pipe, self.running.fileno() if self.running else None) if file is not None]
            ready = self.clock.wait(min(due, end) - self.clock.now(), files)
            if pipe in ready:
                for line in read_lines(pipe):
                    self.mark(line)
            ended = self.running is not None and self.running.fileno() in ready
            if self.clock.now() < min(due, end) and not (ended or self.over):
                continue
            if self.clock.now() - self.last < self.period / 4:  # too short to say anything of
                continue
            values = self.sample()
            see(self.seconds, values)
            late = self.clock.now() - due
            self.late += late > self.period / 2
            due += self.period * (1 + max(0, int(late / self.period)))


def read_lines(pipe: int | None) -> Iterator[str]:
    """What was written into the pipe of marks, without what could disturb a terminal or a page."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        data = os.read(pipe if pipe is not None else -1, 1 << 16)
    for line in data.decode(errors="replace").splitlines():
        text = "".join(c if c.isprintable() else " " for c in line).strip()
        if text:
            yield text


@contextmanager
def mark_pipe() -> Iterator[tuple[int, Path]]:
    """A pipe with a name; what writes into it never waits for a reader."""
    with tempfile.TemporaryDirectory(prefix="hwdiag-") as folder:
        path = Path(folder, "marks")
        os.mkfifo(path, 0o600)
        pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield pipe, path
        finally:
            os.close(pipe)


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
        sampler.read(float("nan"))  # what counters count from
        watching = Watching(sampler, recorder, hz, clock)
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
        watching.mark(COMMAND_STARTS, ran.began)
        watching.mark(COMMAND_ENDS, ran.ended)
    done = Monitored(
        name=name,
        started_at=started_at,
        seconds=watching.seconds,
        hz=hz,
        samples=watching.samples,
        cpu_model=host.cpu.model,
        cpus=len(host.cpu.online),
        memory_bytes=host.memory.total_bytes,
        gpus=tuple(g.model_copy(update={"uuid": None}) for g in host.gpus),
        columns=sampler.columns,
        absent=tuple(sampler.absent),
        lost=sampler.root.gaps,
        marks=tuple(sorted(watching.marks, key=lambda m: m.seconds)),
        command=tuple(argv),
        outcome="" if ran is None or ran.outcome.ok else ran.outcome.detail,
        status=None if ran is None else ran.status,
        cut=f"the disk that {path.name} is on has no more room ({recorder.full})" if recorder.full else "",
        cost=watching.cost(size),
        summaries=(),
    )
    began = done.when(COMMAND_STARTS) or 0.0
    found = summaries(path, done.columns, began, done.when(COMMAND_ENDS) or done.seconds)
    return done.model_copy(update={"summaries": found}), ran
