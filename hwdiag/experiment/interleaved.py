"""Turns: fresh processes, one per Launch, alive at the same time, that measure one after the other in short windows.

A shared machine is fast one second and slow the next. Two processes that run one after the other meet different
seconds; two that take turns every few hundredths of a second meet the same ones, and their *ratio* stays. On the
machine where this was developed (two cores of a shared EPYC) the medians of single processes spread by 14 %, the ratio
of two processes run one after the other by 16 %, and that of two processes taking turns by 1.6 %.

A team is a Launch of several instances: processes that run at the same time when it is their turn, and count as one.

Who waits is stopped by SIGSTOP: threads of OpenMP runtimes spin for a while after their work (libgomp for about a
millisecond, libiomp5 for 200 ms), and would take the cores from the one whose turn it is.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from hwdiag.core.choices import Accuracy
from hwdiag.experiment.model import DeviceTimes, Workload
from hwdiag.process.agent import Agent
from hwdiag.process.disturbance import Watch
from hwdiag.process.gpu_watch import GpuWatch
from hwdiag.process.launch import Launch
from hwdiag.process.model import Applied, Disturbance, Outcome
from hwdiag.process.outcome import Event
from hwdiag.process.verify import not_applied

LEAST_WAIT_S = 0.5
"""For an answer, when the time is over: who was about to give it does."""


@dataclass(frozen=True)
class Turn:
    """The windows in which one process measures: their lengths and number."""

    warmup_s: float
    window_s: float
    windows: int
    min_samples: int
    """Per window, whatever it takes."""
    on_device: bool = False
    """Whether an accelerator's own times are taken too, after the windows."""
    sustain_s: float = 0
    """For how long each workload goes on without a rest, at last."""


@dataclass
class ProcessResult:
    """Samples and outcome of one workload in one process."""

    process: int
    applied: Applied | None = None
    outcome: Outcome = field(default_factory=lambda: Outcome(kind="ok"))
    seconds: list[float] = field(default_factory=list)
    """Of each iteration, window by window; of a team one value per window, 1 over its total throughput."""
    stopped: int = 0
    """Windows in which somebody stopped the process (SIGSTOP); they do not count."""
    latencies: list[float] = field(default_factory=list)
    """Of a team: seconds of each iteration in one of its processes."""
    warmup: int = 0
    max_error: float | None = None
    tolerance: float | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    first_s: float | None = None
    on_device: DeviceTimes | None = None
    sustained: list[tuple[float, float]] = field(default_factory=list)
    """Moments in seconds, and the seconds of an iteration in the time before each."""


STOPS = 3
"""So many windows of a process that somebody stops (SIGSTOP) are measured anew."""
ANSWERS = ("ready", "window", "on-device", "sustained", "failed")


def prepare_command(workload: Workload, *, check: bool, warmup_s: float) -> Event:
    """Return the command by which an agent builds, checks and warms up a workload."""
    about = workload.model_dump(include={"name", "kind", "dtype", "size", "path", "what"})
    return {"do": "measure.prepare", "workload": about, "check": check, "warmup_s": warmup_s}


class Candidate:
    """A Launch in one block, with the processes that measure for it, most often one, and new ones where one died."""

    def __init__(
        self,
        launch: Launch,
        todo: Sequence[Workload],
        *,
        check: bool,
        techniques: Sequence[str] = (),
        accuracy: Accuracy = "same",
    ) -> None:
        self.launch, self.techniques, self.accuracy = launch, tuple(techniques), accuracy
        self.members = launch.members
        self.todo = {w.name: w for w in todo}
        self.results: dict[str, ProcessResult] = {}
        self.check = check
        self._children: list[Agent] = []
        self._process = 0
        self._applied: Applied | None = None

    @property
    def is_without_process(self) -> bool:
        """Return whether a workload is left to measure and no process is alive to do it."""
        return bool(self.todo.keys() - self.results.keys()) and not self._is_alive

    def start(self, children: list[Agent], process: int) -> None:
        """Take these processes, one for each member, which were just started. They share a number."""
        self._children, self._process = children, process

    def wait(self, timeout_s: float) -> None:
        """Wait until torch is imported. Where a process fails, or its Launch took no effect, all that it had to do
        fails."""
        outcomes = [self._welcome(*pair, timeout_s) for pair in zip(self._children, self.members, strict=True)]
        failed = next((outcome for outcome in outcomes if not outcome.ok), None)
        if failed is not None:
            self._kill()
            left = self.todo.keys() - self.results.keys()
            self.results |= {name: ProcessResult(self._process, self._applied, failed) for name in left}

    def _welcome(self, child: Agent, launch: Launch, timeout_s: float) -> Outcome:
        """Wait until the process has imported torch, and return how that ended: "not-applied" where its Launch took no
        effect."""
        heard = child.hear(("applied", "failed"), timeout_s)
        if heard is None:
            return child.outcome()
        if heard["event"] == "failed":
            ended = child.finish(timeout_s)
            return Outcome(kind=heard["kind"], detail=heard["detail"]) if ended.ok else ended
        self._applied = Applied.model_validate(child.event("applied"))
        refused = not_applied(launch, self._applied)
        child.pause()
        return Outcome(kind="not-applied", detail=refused) if refused else child.outcome()

    def prepare(self, name: str, turn: Turn, timeout_s: float) -> None:
        """Build, check and warm up one workload."""
        self.results[name] = ProcessResult(self._process, self._applied)
        command = prepare_command(self.todo[name], check=self.check, warmup_s=turn.warmup_s)
        ready = self._ask(name, command, timeout_s)
        if ready:
            result = self.results[name]
            result.warmup, result.max_error, result.tolerance = (
                ready[0][key] for key in ("warmup", "max_error", "tolerance")
            )
            result.first_s = ready[0].get("first_s")
            if self.launch.threads not in (None, ready[0]["threads"]):
                detail = f"asked for {self.launch.threads} threads, but the workload itself sets {ready[0]['threads']}"
                result.outcome = Outcome(kind="not-applied", detail=detail)

    def sample(self, name: str, turn: Turn, timeout_s: float) -> None:
        """Measure one window of a workload, anew where somebody stopped the process meanwhile."""
        command = {"do": "measure.sample", "seconds": turn.window_s, "min_samples": turn.min_samples}
        command["go_on"] = len(self.members) > 1
        result = self.results[name]
        windows = self._ask(name, command, timeout_s)
        while any(window["stopped"] for window in windows):
            result.stopped += 1
            if result.stopped > STOPS:
                result.outcome = Outcome(kind="timeout", detail="stopped again and again (SIGSTOP) while it measured")
                return
            windows = self._ask(name, command, timeout_s)
        if not windows:
            return
        result.peak_rss_bytes = sum(window["peak_rss_bytes"] for window in windows)
        result.peak_device_bytes = windows[0].get("peak_device_bytes")
        if len(windows) == 1:
            result.seconds += windows[0]["seconds"]
        else:
            result.seconds.append(1 / sum(1 / fmean(window["seconds"]) for window in windows))
            result.latencies += [s for window in windows for s in window["seconds"]]

    def drop_unfinished(self) -> None:
        """Forget what the end of the time left without a sample, or killed: that is no failure of its own."""
        cut = [n for n, r in self.results.items() if r.outcome.kind == "timeout" or (r.outcome.ok and not r.seconds)]
        for name in cut:
            del self.results[name]

    def time_on_device(self, name: str, timeout_s: float) -> None:
        """Take the accelerator's own times of a workload."""
        for told in self._ask(name, {"do": "measure.on_device"}, timeout_s):
            self.results[name].on_device = DeviceTimes(warm_s=told["warm_s"] or (), cold_s=told["cold_s"] or ())

    def sustain(self, name: str, seconds: float, timeout_s: float) -> None:
        """Let a workload go on without a rest."""
        for told in self._ask(name, {"do": "measure.sustain", "seconds": seconds}, timeout_s + seconds):
            self.results[name].sustained = [(at, each) for at, each in told["points"]]

    def finish(self, timeout_s: float) -> float | None:
        """End the processes and return their CPU seconds, or None if one did not live to tell."""
        for child in self._children:
            child.finish(timeout_s)
        used = [child.cpu_s for child in self._children if child.event("end")]
        return sum(filter(None, used)) if used and len(used) == len(self._children) else None

    def is_measuring(self, name: str) -> bool:
        """Return whether the processes live and this workload has not failed so far."""
        return self._is_alive and name in self.todo and (name not in self.results or self.results[name].outcome.ok)

    @property
    def _is_alive(self) -> bool:
        return bool(self._children) and not any(child.ended for child in self._children)

    def _kill(self) -> None:
        for child in self._children:
            child.kill()
        self._children = []

    def _ask(self, name: str, command: Event, timeout_s: float) -> list[Event]:
        """Send a command to all processes at once and return their answers; none where one fails, and its result says
        why."""
        for child in self._children:
            child.resume()
        for child in self._children:
            child.tell(command)
        answers = [child.hear(ANSWERS, timeout_s) for child in self._children]
        if command.get("go_on"):
            answers = self._rest(answers, timeout_s)
        for child in self._children:
            child.pause()
        for child, answer in zip(self._children, answers, strict=True):
            if answer is None:
                self.results[name].outcome = child.outcome()
                self._kill()  # what is left of a team is none
                return []
            if answer["event"] == "failed":
                self.results[name].outcome = Outcome(kind=answer["kind"], detail=answer["detail"])
                if answer.get("broken"):
                    self._kill()  # what is left is measured in another process
                return []
        return [answer for answer in answers if answer is not None]

    def _rest(self, answers: list[Event | None], timeout_s: float) -> list[Event | None]:
        """Stop the processes that work on until all have answered; what fails in that becomes the answer."""
        for child in self._children:
            child.tell({"do": "measure.rest"})
        ends = [child.hear(("rested", "failed"), timeout_s) for child in self._children]
        return [a if end and end["event"] == "rested" else end for a, end in zip(answers, ends, strict=True)]


def out_of_memory(watch: Watch, candidates: Sequence[Candidate]) -> None:
    """Mark results as out of memory where the kernel killed their process for want of it."""
    ooms = watch.ooms()
    for result in (r for p in candidates for r in p.results.values() if ooms and "SIGKILL" in r.outcome.detail):
        result.outcome = Outcome(kind="out-of-memory", detail="killed by the kernel for lack of memory")


class InterleavedBlock:
    """One block: every Launch measures its workloads in a process of its own, and they take turns."""

    def __init__(
        self,
        python: str,
        turn: Turn,
        *,
        timeout_s: float,
        processes: Iterator[int] | None = None,
        left: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """``timeout_s`` bounds each answer; ``processes`` numbers the processes over several blocks; ``left`` gives the
        seconds until the block must end, whatever it has measured by then."""
        self.python = python
        self.turn = turn
        self.timeout_s = timeout_s
        self._processes = processes or itertools.count(1)
        self._left = left

    @property
    def _is_over(self) -> bool:
        return self._left() <= 0

    @property
    def _patience_s(self) -> float:
        """Return the seconds that an answer is waited for."""
        return min(self.timeout_s, max(LEAST_WAIT_S, self._left()))

    def run(self, candidates: Sequence[Candidate], *, device: str, seed: int) -> Disturbance:
        """Measure all workloads into the candidates' results, and return what else the machine did meanwhile."""
        order = random.Random(seed)
        task = {"device": device, "seed": seed}
        names = list(dict.fromkeys(name for p in candidates for name in p.todo))
        watch = Watch()
        cpu_s: list[float | None] = []
        with ExitStack() as children:
            gpus = children.enter_context(GpuWatch()) if device != "cpu" else None
            for name in order.sample(names, len(names)):
                if self._is_over:
                    break
                self._start([p for p in candidates if p.is_without_process], task, children)
                self._measure(name, candidates, order)
            cpu_s = [p.finish(self._patience_s) for p in candidates if p.todo]
        out_of_memory(watch, candidates)
        if self._is_over:
            for candidate in candidates:
                candidate.drop_unfinished()
        found = watch.stop(None if None in cpu_s else sum(filter(None, cpu_s)))
        stops = sum(r.stopped for candidate in candidates for r in candidate.results.values())
        found = found.model_copy(update={"stopped_windows": stops})
        return found if gpus is None else found.model_copy(update={"gpus": gpus.found()})

    def _start(self, candidates: Sequence[Candidate], task: Mapping[str, Any], children: ExitStack) -> None:
        """Give each of them a process; they import torch side by side."""
        for candidate in candidates:
            team = [children.enter_context(Agent(self.python, launch)) for launch in candidate.members]
            for agent, launch in zip(team, candidate.members, strict=True):
                within = {"used": candidate.techniques, "accuracy": candidate.accuracy}
                agent.tell({"do": "measure.start", "interop_threads": launch.interop_threads, **within, **task})
            candidate.start(team, next(self._processes))
        for candidate in candidates:
            candidate.wait(self._patience_s)

    def _measure(self, name: str, candidates: Sequence[Candidate], order: random.Random) -> None:
        for candidate in order.sample([*candidates], len(candidates)):
            if candidate.is_measuring(name) and not self._is_over:
                candidate.prepare(name, self.turn, self._patience_s)
        for _ in range(self.turn.windows):
            for candidate in order.sample([*candidates], len(candidates)):
                if candidate.is_measuring(name) and not self._is_over:
                    candidate.sample(name, self.turn, self._patience_s)
        for candidate in candidates:
            if self.turn.on_device and candidate.is_measuring(name) and not self._is_over:
                candidate.time_on_device(name, self._patience_s)
            if self.turn.sustain_s and candidate.is_measuring(name) and not self._is_over:
                candidate.sustain(name, self.turn.sustain_s, self._patience_s)
