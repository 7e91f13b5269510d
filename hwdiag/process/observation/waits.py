"""Waits of the main threads of a program's trainings, looked at while the rest of it is observed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from hwdiag.process.observation.followed import FollowedProcess
from hwdiag.process.observation.processes import Processes, Training, name
from hwdiag.process.observation.roles import launchers, loaders
from hwdiag.process.observation.stack_sampling import Stacks
from hwdiag.process.observation.waiting import LOOK_S, Look
from hwdiag.process.observation.waiting_model import TrainingWaits

MOST_TRAININGS = 8
"""That are looked at; the others are taken to do as these."""
IDLE_S = 0.05
WEIGHTS = ((20.0, 1), (60.0, 2), (math.inf, 4))
"""Until which second the looks are how many times as far from each other: what goes on for long needs fewer."""
LEAST_CPU_SHARE = 0.05
"""Of the busiest one's CPU time: a launcher, which has torch loaded too, uses less."""


class Waits:
    """Looks at the main thread of each training, at moments that the caller chooses."""

    def __init__(self, processes: Processes, py_spy: str | None = None) -> None:
        """``py_spy``: the program that tells the stacks of trainings without workers, whose loading looks like
        computing from outside; empty where it is not installed, None where nobody wants it."""
        self.processes, self.py_spy = processes, py_spy
        self.looks: dict[int, Look] = {}
        self.stacks: dict[int, Stacks] = {}
        self._ended: set[int] = set()

    def follow(self, followed: Mapping[int, FollowedProcess]) -> None:
        """Take these processes: who of them trains, and who loads for it."""
        workers = loaders(followed)
        for own in workers.values():
            for pid in own:
                followed[pid].is_worker = followed[pid].is_worker or followed[pid].torch
        trains = [pid for pid, p in followed.items() if pid in workers or (p.torch and not p.is_worker)]
        for pid in sorted(trains, key=lambda pid: -followed[pid].cpu_s):
            training = Training(pid, name(followed[pid].command), workers.get(pid, ()))
            look = self.looks.get(pid)
            if look is None and len(self.looks) - len(self._ended) < MOST_TRAININGS:
                self.looks[pid] = Look(self.processes, training)
                if self.py_spy and not training.workers:
                    self.stacks[pid] = Stacks(self.py_spy, pid, None)
            elif look is not None:
                look.follow(training)  # the same ones too: what they used is added up while they live
        self._ended = {pid for pid in self.looks if pid not in followed}

    @property
    def alive(self) -> list[int]:
        """Return the processes that are looked at."""
        return [pid for pid in self.looks if pid not in self._ended]

    def pause_s(self, seconds: float) -> float:
        """Return the mean time between two looks after so many seconds: longer where there are many to look at."""
        return LOOK_S * weight(seconds) * max(1.0, len(self.alive) / 2) if self.alive else IDLE_S

    def look(self, seconds: float) -> None:
        """Look at each once, so many seconds after the beginning."""
        for pid in self.alive:
            self.looks[pid].look(weight(seconds))

    def take(self, gpus: Iterable[float]) -> None:
        """Note the use of the GPUs now, 0..1 each."""
        used = [*gpus]
        if used:
            for pid in self.alive:
                self.looks[pid].gpu.append(sum(used) / len(used))

    def found(self, processes: Collection[FollowedProcess]) -> tuple[TrainingWaits, ...]:
        """Return what was seen of those that did something."""
        cpu_s = {p.pid: p.cpu_s for p in processes}
        idle = launchers(processes)
        most = max((cpu_s.get(pid, 0.0) for pid in self.looks), default=0.0)
        return tuple(
            self._with_stacks(pid, look.found())
            for pid, look in self.looks.items()
            if look.blocks
            and pid not in idle
            and (look.training.workers or cpu_s.get(pid, 0.0) >= LEAST_CPU_SHARE * most)
        )

    def _with_stacks(self, pid: int, found: TrainingWaits) -> TrainingWaits:
        if pid not in self.stacks:
            wanted = self.py_spy is not None and not found.workers
            return found.model_copy(update={"stacks_why": "py-spy is not installed"}) if wanted else found
        share, why = self.stacks[pid].share()
        return found.model_copy(update={"stacks": share, "stacks_why": why})

    def close(self) -> None:
        """End what looks at stacks."""
        for stacks in self.stacks.values():
            stacks.close()


def weight(seconds: float) -> int:
    """Return how many usual pauses there are between two looks after so many seconds."""
    return next(times for until_s, times in WEIGHTS if seconds < until_s)
