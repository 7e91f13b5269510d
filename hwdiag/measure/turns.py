"""Turns: fresh processes, one per Launch, alive at the same time, that measure one after the other in short windows.

A shared machine is fast one second and slow the next. Two processes that run one after the other meet different
seconds; two that take turns every few hundredths of a second meet the same ones, and their *ratio* stays. On the
machine where this was developed (two cores of a shared EPYC) the medians of single processes spread by 14 %, the ratio
of two processes run one after the other by 16 %, and that of two processes taking turns by 1.6 %.

Who waits is stopped by SIGSTOP: threads of OpenMP runtimes spin for a while after their work (libgomp for about a
millisecond, libiomp5 for 200 ms), and would take the cores from the one whose turn it is.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hwdiag.measure.child import Child, Event
from hwdiag.measure.disturbance import Watch
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Applied, Disturbance, Outcome, Workload
from hwdiag.measure.verify import not_applied


@dataclass(frozen=True)
class Turn:
    """How long each turn takes, and how many there are."""

    warmup_s: float
    window_s: float
    windows: int
    min_samples: int
    """Per window, whatever it takes."""


@dataclass
class Result:
    """What one process measured of one workload."""

    process: int
    applied: Applied | None = None
    outcome: Outcome = field(default_factory=lambda: Outcome(kind="ok"))
    seconds: list[float] = field(default_factory=list)
    """Of each iteration, window by window."""
    warmup: int = 0
    max_error: float | None = None
    tolerance: float | None = None
    peak_rss_bytes: int | None = None


class Player:
    """A Launch in one block, with the process that measures for it, and a new one where that died."""

    def __init__(self, launch: Launch, todo: Sequence[Workload], *, check: bool) -> None:
        self.launch = launch
        self.todo = {w.name: w for w in todo}
        self.results: dict[str, Result] = {}
        self.check = check
        self._child: Child | None = None
        self._process = 0
        self._applied: Applied | None = None

    @property
    def is_without_process(self) -> bool:
        """Whether it needs one: something is left to do, and nobody does it."""
        return bool(self.todo.keys() - self.results.keys()) and (self._child is None or self._child.ended)

    def start(self, child: Child, process: int) -> None:
        """Take this process, which was just started."""
        self._child, self._process = child, process

    def wait(self, timeout_s: float) -> None:
        """Until torch is imported. A process that does not come so far, or has another Launch, fails in all it had."""
        child = self._living
        seen = child.hear(("applied",), timeout_s)
        outcome = child.outcome()
        if seen is not None:
            self._applied = Applied.model_validate(child.event("applied"))
            refused = not_applied(self.launch, self._applied)
            outcome = Outcome(kind="not-applied", detail=refused) if refused else outcome
            child.pause()
        if not outcome.ok:
            child.kill()
            left = self.todo.keys() - self.results.keys()
            self.results |= {name: Result(self._process, self._applied, outcome) for name in left}

    def prepare(self, name: str, turn: Turn, timeout_s: float) -> None:
        """Build, check and warm up one workload."""
        self.results[name] = Result(self._process, self._applied)
        workload = self.todo[name].model_dump(include={"name", "kind", "dtype", "size"})
        command = {"do": "prepare", "workload": workload, "check": self.check, "warmup_s": turn.warmup_s}
        ready = self._ask(name, command, timeout_s)
        if ready is not None:
            result = self.results[name]
            result.warmup, result.max_error, result.tolerance = (
                ready[key] for key in ("warmup", "max_error", "tolerance")
            )

    def sample(self, name: str, turn: Turn, timeout_s: float) -> None:
        """One window."""
        window = self._ask(name, {"do": "sample", "seconds": turn.window_s, "min_samples": turn.min_samples}, timeout_s)
        if window is not None:
            self.results[name].seconds += window["seconds"]
            self.results[name].peak_rss_bytes = window["peak_rss_bytes"]

    def finish(self, timeout_s: float) -> float | None:
        """End the process; gives the seconds of CPU time that it used, None if it did not live to tell."""
        child = self._living
        child.finish(timeout_s)
        end = child.event("end")
        return None if end is None else float(end["cpu_s"])

    def is_playing(self, name: str) -> bool:
        """Whether its process lives and this workload has not failed so far."""
        alive = self._child is not None and not self._child.ended
        return alive and name in self.todo and (name not in self.results or self.results[name].outcome.ok)

    @property
    def _living(self) -> Child:
        assert self._child is not None
        return self._child

    def _ask(self, name: str, command: Event, timeout_s: float) -> Event | None:
        """The answer; None if there is none, and then the result says why."""
        child = self._living
        child.resume()
        child.tell(command)
        answer = child.hear(("ready", "window", "failed"), timeout_s)
        child.pause()
        if answer is None:
            self.results[name].outcome = child.outcome()
        elif answer["event"] == "failed":
            self.results[name].outcome = Outcome(kind=answer["kind"], detail=answer["detail"])
        else:
            return answer
        return None


class Block:
    """One block: every Launch measures its workloads in a process of its own, and they take turns."""

    def __init__(self, python: str, turn: Turn, *, timeout_s: float, processes: Iterator[int] | None = None) -> None:
        """``timeout_s`` bounds each answer; ``processes`` numbers the processes over several blocks."""
        self.python = python
        self.turn = turn
        self.timeout_s = timeout_s
        self._processes = processes or itertools.count(1)

    def run(self, players: Sequence[Player], *, device: str, seed: int) -> Disturbance:
        """Fill the players' results. Gives what else the machine did meanwhile."""
        order = random.Random(seed)
        task = {"device": device, "seed": seed}
        names = list(dict.fromkeys(name for p in players for name in p.todo))
        watch = Watch()
        cpu_s: list[float | None] = []
        with ExitStack() as children:
            for name in order.sample(names, len(names)):
                self._start([p for p in players if p.is_without_process], task, children)
                self._play(name, players, order)
            cpu_s = [p.finish(self.timeout_s) for p in players if p.todo]
        ooms = watch.ooms()
        for result in (r for p in players for r in p.results.values() if ooms and "SIGKILL" in r.outcome.detail):
            result.outcome = Outcome(kind="out-of-memory", detail="killed by the kernel for want of memory")
        return watch.stop(None if None in cpu_s else sum(filter(None, cpu_s)))

    def _start(self, players: Sequence[Player], task: Mapping[str, Any], children: ExitStack) -> None:
        """Give each of them a process; they import torch side by side."""
        for player in players:
            child = children.enter_context(Child(player.launch, self.python, {**task}))
            player.start(child, next(self._processes))
        for player in players:
            player.wait(self.timeout_s)

    def _play(self, name: str, players: Sequence[Player], order: random.Random) -> None:
        for player in order.sample([*players], len(players)):
            if player.is_playing(name):
                player.prepare(name, self.turn, self.timeout_s)
        for _ in range(self.turn.windows):
            for player in order.sample([*players], len(players)):
                if player.is_playing(name):
                    player.sample(name, self.turn, self.timeout_s)
