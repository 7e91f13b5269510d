"""What measures on a host that is not there: speed-ups with noise as it was recorded, by a clock that is not there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from benchmarks.virtual import DEFAULT
from hwdiag.host.model import Host
from hwdiag.measure.campaign import MOST_AT_ONCE, heats
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Phase

Noise = np.ndarray
"""One row per block: by what the processes of one block, which took turns, differ from each other."""


def recorded_noise(machine: Literal["quiet", "busy"]) -> Noise:
    """The medians that ``record_noise.py`` recorded, over their block's own: on two cores that nobody else used, or
    that others kept busy meanwhile."""
    recorded = json.loads(Path(__file__).with_name(f"noise-{machine}.json").read_text())
    medians = np.array(recorded["matmul-fp32"])
    return medians / np.median(medians, axis=1, keepdims=True)


class Timed(Protocol):
    """What is known of a host: its facts, and how fast it is under each Launch."""

    @property
    def host(self) -> Host:
        """Its facts."""

    def seconds(self, launch: Launch) -> float:
        """Time of one iteration, without noise."""


@dataclass
class VirtualMachine:
    """What measures on a virtual host: gives speed-ups with noise, and lets a virtual clock run."""

    virtual: Timed
    noise: Noise
    seed: int
    now: float = 0.0
    """Seconds since it was started."""
    processes: int = 0
    """Measured so far, the default's among them."""
    fails: frozenset[tuple[str, Phase]] = frozenset()
    """Launches by name that die in a phase."""
    _times: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._block = int(self._random.integers(len(self.noise)))

    def measure(self, launches: Sequence[Launch], n: int, phase: Phase) -> dict[str, list[float]]:
        """As ``search.Measure`` wants it."""
        found: dict[str, list[float]] = {}
        for _ in range(n):
            for heat in heats([DEFAULT, *launches], MOST_AT_ONCE):
                wobble = self._next(len(heat))
                alive = [i for i, x in enumerate(heat) if i == 0 or (x.name, phase) not in self.fails]
                times = {i: self._time(heat[i]) * wobble[i] for i in alive}
                for i in alive[1:]:
                    found.setdefault(heat[i].name, []).append(times[0] / times[i])
                self.processes += len(heat)
                self.now += block_s(len(heat), len(self.virtual.host.usable_cpus))
        return found

    def _next(self, k: int) -> np.ndarray:
        """Processes of the next recorded block, so that what lasts for several blocks does so here too."""
        self._block = (self._block + 1) % len(self.noise)
        return self._random.permutation(self.noise[self._block])[:k]

    def _time(self, launch: Launch) -> float:
        if launch.name not in self._times:
            self._times[launch.name] = self.virtual.seconds(launch)
        return self._times[launch.name]


def block_s(processes: int, cpus: int) -> float:
    """Seconds of a block at standard budget: torch takes 2.5 s of a CPU to import; then two nets take their turns."""
    return 2.5 * max(1.0, processes / cpus) + 1.0 * processes
