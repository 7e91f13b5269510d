"""The measurements of one run: which Launches meet in which blocks, and all that came of it."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from statistics import median
from typing import Protocol, TypeVar

from hwdiag.host.model import Host
from hwdiag.measure.budget import Budget
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Disturbance, Measurement, Phase, Workload
from hwdiag.measure.turns import Block, Player

T = TypeVar("T")

Progress = Callable[[str, float], None]
"""Told before each block: what runs now, and the share of the budget that is used, 0..1."""

MOST_AT_ONCE = 6
"""Processes that take turns in one block: enough to compare, few enough that a turn comes round soon."""
PROCESS_BYTES = 700 * 2**20
"""What a process with torch holds beside a workload's operands, roughly."""


def at_once(host: Host, workloads: Sequence[Workload], teams_of: int = 1) -> int:
    """How many teams of so many processes take turns: half of the usable memory holds them, whatever they measure."""
    return max(1, min(MOST_AT_ONCE, room(host, workloads) // teams_of))


def room(host: Host, workloads: Sequence[Workload]) -> int:
    """How many processes half of the usable memory holds; 2 where that is not known."""
    if host.usable_memory_bytes is None:
        return 2
    each = PROCESS_BYTES + max((w.bytes for w in workloads), default=0)
    return int(host.usable_memory_bytes / 2 / each)


class Turns(Protocol):
    """Runs one block of players."""

    def run(self, players: Sequence[Player], *, device: str, seed: int) -> Disturbance:
        """Fill the players' results. Gives what else the machine did meanwhile."""


class Campaign:
    """The blocks of one run: where they run, how long they may, and all that was measured so far."""

    def __init__(
        self,
        python: str,
        budget: Budget,
        *,
        seed: int,
        child_timeout_s: float,
        progress: Progress | None = None,
        most: int = MOST_AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
        turns: Turns | None = None,
        check_all: bool = False,
    ) -> None:
        """``most`` Launches are alive at once; ``child_timeout_s`` bounds each answer of theirs.

        ``turns`` plays the blocks in place of workers. ``check_all``: the first of a Launch's processes checks its
        results in the screening too, for Launches that may change them.
        """
        self.python = python
        self.budget = budget
        self.progress: Progress = progress or (lambda text, share: None)
        self.most = most
        self.measurements: list[Measurement] = []
        self._random = random.Random(seed)
        self.clock, self._started = clock, clock()
        self._ids, self._blocks = itertools.count(1), itertools.count(1)
        self._turns = turns or Block(python, budget.turn, timeout_s=child_timeout_s, processes=itertools.count(1))
        self._check_all = check_all
        self._checked: set[tuple[str, str, str]] = set()
        self._failed: set[tuple[str, str, str]] = set()

    @property
    def remaining_s(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget.total_s - (self.clock() - self._started)

    def run(
        self,
        launches: Sequence[Launch],
        workloads: Sequence[Workload],
        phase: Phase,
        device: str = "cpu",
        only: Mapping[str, Collection[str]] | None = None,
    ) -> list[Measurement]:
        """Every Launch once, in fresh processes; those of one block take turns.

        Where there are too many for one block, the first of ``launches`` takes part in each, so that all others have
        been compared with it. ``only`` names the workloads of a Launch that does not do all of them, by its name.
        """
        fresh: list[Measurement] = []
        for heat in heats(launches, self.most):
            self.progress(f"{phase}: {', '.join(launch.name for launch in heat)}", self._used())
            fresh += self._run_heat(self._random.sample(heat, len(heat)), workloads, phase, device, only or {})
        self.measurements += fresh
        return fresh

    def _run_heat(
        self,
        launches: Sequence[Launch],
        workloads: Sequence[Workload],
        phase: Phase,
        device: str,
        only: Mapping[str, Collection[str]],
    ) -> list[Measurement]:
        """What failed once under a Launch is not tried again: it would fail, or hang, once more."""
        players = [
            Player(
                launch,
                [
                    w
                    for w in workloads
                    if (launch.name, w.name, device) not in self._failed
                    and (launch.name not in only or w.name in only[launch.name])
                ],
                # Only what may be recommended, and what it is compared with, is worth the time of a reference.
                check=(self._check_all or phase != "screen")
                and any((launch.name, w.name, device) not in self._checked for w in workloads),
            )
            for launch in launches
        ]
        fresh: list[Measurement] = []
        block = next(self._blocks)
        # Where memory holds only one process at a time they follow each other, and the noise between them is greater.
        for party in [players] if self.most > 1 else [[p] for p in players]:
            disturbance = self._turns.run(party, device=device, seed=self._random.randrange(2**31))
            fresh += self._read(party, disturbance, block, phase, device)
        self._checked |= {(m.launch, m.workload, device) for m in fresh if m.max_error is not None}
        self._failed |= {(m.launch, m.workload, device) for m in fresh if not m.outcome.ok}
        return fresh

    def _used(self) -> float:
        return min(1.0, 1 - self.remaining_s / self.budget.total_s) if self.budget.total_s else 1.0

    def _read(
        self, players: Sequence[Player], disturbance: Disturbance, block: int, phase: Phase, device: str
    ) -> Iterator[Measurement]:
        for player in players:
            for workload, result in player.results.items():
                yield Measurement(
                    id=f"m{next(self._ids):04d}",
                    launch=player.launch.name,
                    workload=workload,
                    device=device,
                    phase=phase,
                    block=block,
                    process=result.process,
                    outcome=result.outcome,
                    seconds=tuple(result.seconds),
                    latency_s=median(result.latencies) if result.latencies else None,
                    warmup=result.warmup,
                    max_error=result.max_error,
                    tolerance=result.tolerance,
                    applied=result.applied,
                    peak_rss_bytes=result.peak_rss_bytes,
                    peak_device_bytes=result.peak_device_bytes,
                    first_s=result.first_s,
                    disturbance=disturbance,
                )


def heats(launches: Sequence[T], most: int) -> list[list[T]]:
    """Groups of at most ``most``, but of two at least, each with the first Launch in it."""
    first, *others = launches
    size = max(1, most - 1)
    return [[first, *others[i : i + size]] for i in range(0, len(others), size)] or [[first]]
