"""Turns that are not there: times with noise as it was recorded, by a clock that is not there.

A ``Campaign`` plays its blocks with it in place of real processes, so all of the product's path above them is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from hwdiag.experiment.budget import Budget
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.interleaved import Candidate, ProcessResult
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance, Outcome

Noise = np.ndarray
"""One row per block: by what the processes of one block, which took turns, differ from each other."""


def recorded_noise(machine: Literal["quiet", "busy"]) -> Noise:
    """Return the medians that ``record_noise.py`` recorded, over their block's own: on two cores that nobody else used,
    or that others kept busy meanwhile."""
    recorded = json.loads(Path(__file__).with_name(f"noise-{machine}.json").read_text())
    medians: np.ndarray = np.array(recorded["matmul-fp32"])
    over: np.ndarray = medians / np.median(medians, axis=1, keepdims=True)
    return over


def noises() -> dict[str, Noise]:
    """Return the recorded noise of a quiet and of a busy machine, and the latter with heavier tails."""
    random = np.random.default_rng(0)
    busy = recorded_noise("busy")
    return {
        "quiet machine": recorded_noise("quiet"),
        "busy machine": busy,
        "busy machine, heavier tails": busy * np.exp(0.03 * random.standard_t(2, busy.shape)),
    }


def spread_by(spread: float) -> Noise:
    """Return noise by which the ratio of two processes of one block spreads so much."""
    return np.random.default_rng(0).lognormal(0, spread / np.sqrt(2), (200, 6))


class Timed(Protocol):
    """How fast plans are, as it is known."""

    def seconds(self, launch: Launch, techniques: Sequence[str] = ()) -> float:
        """Return the time of one iteration, without noise."""


@dataclass
class VirtualRunner:
    """Fills the results of candidates by what is known, with noise, and lets a virtual clock run."""

    known: Timed
    noise: Noise
    seed: int
    cpus: int
    """Processes that start side by side without taking longer."""
    now: float = 0.0
    """Seconds since it was started."""
    processes: int = 0
    """Started so far."""
    dies: Mapping[str, int] = field(default_factory=dict)
    """Launches, by what they set, that die from so many processes on."""

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._row = int(self._random.integers(len(self.noise)))
        self._numbers = count(1)
        self._times: dict[str, float] = {}

    def clock(self) -> float:
        """Return the seconds since it was started."""
        return self.now

    def run(self, candidates: Sequence[Candidate], *, device: str, seed: int) -> Disturbance:  # noqa: ARG002
        """Fill the candidates' results, as a block of processes does."""
        names = dict.fromkeys(name for candidate in candidates for name in candidate.todo)
        wobble = {name: self._next(len(candidates)) for name in names}
        for i, candidate in enumerate(candidates):
            self.processes += 1
            sets = " ".join([candidate.launch.describe(), *candidate.techniques])
            died = self.processes >= self.dies.get(sets, self.processes + 1)
            for name in candidate.todo:
                result = ProcessResult(process=next(self._numbers))
                if died:
                    result.outcome = Outcome(kind="error", detail="it died")
                else:
                    result.seconds = [self._time(candidate, sets) * float(wobble[name][i])]
                candidate.results[name] = result
        self.now += block_s(len(candidates), self.cpus)
        return Disturbance()

    def _next(self, k: int) -> np.ndarray:
        """Return the processes of the next recorded block, so that what lasts for several blocks does so here too."""
        self._row = (self._row + 1) % len(self.noise)
        return self._random.permutation(self.noise[self._row])[:k]

    def _time(self, candidate: Candidate, sets: str) -> float:
        if sets not in self._times:
            self._times[sets] = self.known.seconds(candidate.launch, candidate.techniques)
        return self._times[sets]


def virtual_campaign(runner: VirtualRunner, budget: Budget, *, check_all: bool = False) -> Campaign:
    """Return a campaign on virtual turns."""
    return Campaign(
        "python", budget, seed=runner.seed, child_timeout_s=1.0, clock=runner.clock, runner=runner, check_all=check_all
    )


def block_s(processes: int, cpus: int) -> float:
    """Return the seconds of a block at standard budget: torch takes 2.5 s of a CPU to import; then two nets take their
    turns."""
    return 2.5 * max(1.0, processes / cpus) + 1.0 * processes
