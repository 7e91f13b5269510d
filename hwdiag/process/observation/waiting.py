"""Waits of a running training, seen from outside: its main thread, its workers and its GPUs.

Each look asks the kernel which system call the main thread sleeps in. It waits for data where it polls or reads a pipe
that its workers have open too (the DataLoader's queue), or where it waits for a thread of its own that does (the one
that pins memory), or where the kernel reads a file for it. The looks come at random moments, so that the share of them
is the share of the time, whatever the rhythm of the steps (Wolff 1982).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import mean

import numpy as np

from hwdiag.process.observation.processes import NotShown, Processes, Training, Wait, trainings
from hwdiag.process.observation.waiting_model import Doing, TrainingWaits

LOOK_S = 0.02
"""Between two looks, in the mean; about 0.1 % of a CPU."""
SELDOM = 5
"""Of so many looks one is at the workers and counters, too."""
BLOCK_S = 1.0
"""Seconds that are taken together for the interval: looks that are near each other are alike."""
TREE_S = 2.0
"""How often it is asked who the workers are: between epochs they may be others."""
RESAMPLES = 1000
PINS = "pt_data_pin"
"""What torch calls the thread that pins memory."""


class Look:
    """Looks at one training."""

    def __init__(self, processes: Processes, training: Training) -> None:
        self.processes, self.training = processes, training
        self.began = self.ended = time.monotonic()
        self.blocks: dict[int, Counter[Doing]] = {}
        self.hidden = ""
        self.gpu: list[float] = []
        self._at_disk = self._worker_looks = self._most = 0
        self._cpu_s, self._cpu_of_s = 0.0, 0.0
        self._delay = self._now = processes.delay_s(training.pid)
        self._delay_at = self.began
        self._looks = self._seen = 0
        self.follow(training)

    def follow(self, training: Training) -> None:
        """Take these workers from now on; adds up what the others used. Before its first workers it was starting."""
        self._add_up()
        if training.workers and not self._most:
            self.began = self._delay_at = time.monotonic()
            self._delay = self._now = self.processes.delay_s(training.pid)
            self.blocks.clear()
            self._seen = 0
        self.training = training
        self._most = max(self._most, len(training.workers))
        self._since = time.monotonic()
        self._before = {pid: self.processes.cpu_s(pid) for pid in training.workers}
        self._pipes = self.processes.pipes(training.workers)

    def look(self, weight: int = 1) -> None:
        """Look once; ``weight``: how many times as far as usual the looks are from each other now."""
        self.ended = time.monotonic()
        self._looks += 1
        if self._looks % SELDOM == 0:
            self._look_seldom()
        doing = self._doing()
        if doing is not None:
            block = int((self.ended - self.began) / BLOCK_S)
            self.blocks.setdefault(block, Counter())[doing] += weight
            self._seen += 1

    def _look_seldom(self) -> None:
        """Look at what tells as much with fewer looks: counters, and the workers."""
        now = self.processes.delay_s(self.training.pid)
        if now is not None:
            self._now, self._delay_at = now, self.ended
        for pid in self.training.workers:
            state = self.processes.stat(pid)[:1]
            self._worker_looks += bool(state)
            self._at_disk += state == ["D"]

    def _doing(self) -> Doing | None:
        """Return what the main thread does; None where it ended, or that is not shown."""
        pid = self.training.pid
        state = self.processes.stat(pid, pid)[:1]
        if not state or state == ["Z"]:
            return None
        if state == ["D"]:
            return "disk"
        if state == ["R"]:
            return "computes"
        try:
            return self._waits(self.processes.wait(pid, pid))
        except NotShown as why:
            self.hidden = str(why)
            return None

    def _waits(self, wait: Wait) -> Doing:
        if not wait.call:
            return "computes"
        if self._is_data(wait):
            return "data"
        if wait.file.startswith("/dev/nvidia") or wait.file.startswith("/dev/kfd"):
            return "gpu"
        if wait.call == "futex" and wait.timed and self._pins_wait():
            return "data"
        return "waits"

    def _is_data(self, wait: Wait) -> bool:
        return wait.file in self._pipes or (
            bool(self.training.workers) and self.processes.is_local(self.training.pid, wait.file)
        )

    def _pins_wait(self) -> bool:
        """Return whether the thread that pins memory waits for the workers itself."""
        pid = self.training.pid
        pins = [t for t in self.processes.threads(pid) if self.processes.name_of(pid, t).startswith(PINS)]
        return any(self._is_data(self.processes.wait(pid, t)) for t in pins)

    def _add_up(self) -> None:
        if hasattr(self, "_before"):
            took = time.monotonic() - self._since
            for pid, before in self._before.items():
                now = self.processes.cpu_s(pid)
                if now:
                    self._cpu_s += now - before
                    self._cpu_of_s += took

    def found(self) -> TrainingWaits:
        """Return all that was seen."""
        self._add_up()
        self._before = {}
        total = sum(self.blocks.values(), Counter[Doing]())
        weights = sum(total.values())
        low, high = interval(list(self.blocks.values()))
        took = self.ended - self.began
        counted = self._delay_at - self.began
        delay = (
            (self._now - self._delay) / counted
            if self._delay is not None and self._now is not None and counted > 0
            else None
        )
        return TrainingWaits(
            pid=self.training.pid,
            words=self.training.words,
            workers=self._most,
            seconds=took,
            looks=self._seen,
            shares={doing: count / weights for doing, count in total.items()},
            low=low,
            high=high,
            for_a_cpu=None if delay is None else min(1.0, max(0.0, delay)),
            worker_cpu=self._cpu_s / self._cpu_of_s if self._cpu_of_s else None,
            worker_disk=self._at_disk / self._worker_looks if self._worker_looks else None,
            gpu=mean(self.gpu) if self.gpu else None,
            hidden=self.hidden,
        )


def interval(blocks: Sequence[Counter[Doing]]) -> tuple[float, float]:
    """Return the 95 % interval of the share of looks that wait for data, by resampling the seconds (Efron & Tibshirani
    1993).

    0 and 1, which is no knowledge, of fewer than two seconds.
    """
    if len(blocks) < 2:
        return 0.0, 1.0
    waiting = np.array([b["data"] + b["disk"] for b in blocks])
    looks = np.array([sum(b.values()) for b in blocks])
    chosen = np.random.default_rng(0).integers(0, len(blocks), size=(RESAMPLES, len(blocks)))
    low, high = np.quantile(waiting[chosen].sum(1) / looks[chosen].sum(1), [0.025, 0.975])
    return float(low), float(high)


def watch(
    top: int,
    seconds: float | None,
    *,
    may_come: bool = False,
    processes: Processes | None = None,
    gpu: Callable[[], float | None] = lambda: None,
    is_over: Callable[[], bool] = lambda: False,
    seed: int = 1,
) -> list[TrainingWaits]:
    """Look at all trainings of a process and what it started, for so long, or until ``is_over``.

    Args:
        top: process id.
        seconds: how long, from the first training that is found on; None until it ends.
        may_come: whether one is waited for where there is none yet.
        gpu: use of the GPUs now, 0..1.
        is_over: whether there will be nothing more to see.
        seed: of the moments.
    """
    processes = processes or Processes()
    order = random.Random(seed)
    looks: dict[int, Look] = {}
    asked, ends = 0.0, None
    while processes.stat(top) and not is_over() and (ends is None or time.monotonic() < ends):
        now = time.monotonic()
        if now - asked > TREE_S or (not looks and now - asked > LOOK_S * 10):
            asked = now
            found = trainings(processes, top)
            if not found and not (may_come or looks):
                break
            for training in found:
                if training.pid not in looks:
                    looks[training.pid] = Look(processes, training)
                elif training.workers != looks[training.pid].training.workers:
                    looks[training.pid].follow(training)
            if looks and ends is None and seconds is not None:
                ends = now + seconds
            used = gpu()
            for look in looks.values():
                look.gpu += [] if used is None else [used]
        for look in looks.values():
            look.look()
        time.sleep(order.expovariate(1 / LOOK_S))
    return [look.found() for look in looks.values()]
