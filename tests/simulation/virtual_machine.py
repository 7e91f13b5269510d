"""A laboratory that is not there: times with noise as it was recorded, by a clock that is not there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from hwdiag.experiment.campaign import MOST_AT_ONCE, heats
from hwdiag.experiment.laboratory import Block
from hwdiag.experiment.lever import BASELINE, DEFAULT, Plan
from hwdiag.experiment.model import Phase

Noise = np.ndarray
"""One row per block: by what the processes of one block, which took turns, differ from each other."""


def recorded_noise(machine: Literal["quiet", "busy"]) -> Noise:
    """The medians that ``record_noise.py`` recorded, over their block's own: on two cores that nobody else used, or
    that others kept busy meanwhile."""
    recorded = json.loads(Path(__file__).with_name(f"noise-{machine}.json").read_text())
    medians = np.array(recorded["matmul-fp32"])
    return medians / np.median(medians, axis=1, keepdims=True)


class Timed(Protocol):
    """How fast plans are, as it is known."""

    @property
    def workloads(self) -> tuple[str, ...]:
        """Names of what is timed."""

    def seconds(self, plan: Plan) -> Mapping[str, float]:
        """Time of one iteration of each workload, without noise."""


@dataclass
class VirtualMachine:
    """Measures plans on what is known, with noise, and lets a virtual clock run."""

    known: Timed
    noise: Noise
    seed: int
    cpus: int
    """Processes that start side by side without taking longer."""
    now: float = 0.0
    """Seconds since it was started."""
    processes: int = 0
    """Measured so far, the default's among them."""
    fails: frozenset[tuple[str, Phase]] = frozenset()
    """Plans by id that die in a phase."""
    _times: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._row = int(self._random.integers(len(self.noise)))
        self._numbers = count(1)

    def clock(self) -> float:
        """Seconds since it was started."""
        return self.now

    def measure(self, plans: Sequence[Plan], phase: Phase) -> list[Block]:
        """As a laboratory does."""
        return [self._block(heat, phase) for heat in heats([DEFAULT, *plans], MOST_AT_ONCE)]

    def _block(self, plans: Sequence[Plan], phase: Phase) -> Block:
        wobble = {workload: self._next(len(plans)) for workload in self.known.workloads}
        seconds = {
            plan.id: {w: float(time * wobble[w][i]) for w, time in self._time(plan).items()}
            for i, plan in enumerate(plans)
            if (plan.id, phase) not in self.fails or plan.id == BASELINE
        }
        self.processes += len(plans)
        self.now += block_s(len(plans), self.cpus)
        return Block(next(self._numbers), seconds)

    def _next(self, k: int) -> np.ndarray:
        """Processes of the next recorded block, so that what lasts for several blocks does so here too."""
        self._row = (self._row + 1) % len(self.noise)
        return self._random.permutation(self.noise[self._row])[:k]

    def _time(self, plan: Plan) -> Mapping[str, float]:
        if plan.id not in self._times:
            self._times[plan.id] = self.known.seconds(plan)
        return self._times[plan.id]


def block_s(processes: int, cpus: int) -> float:
    """Seconds of a block at standard budget: torch takes 2.5 s of a CPU to import; then two nets take their turns."""
    return 2.5 * max(1.0, processes / cpus) + 1.0 * processes
