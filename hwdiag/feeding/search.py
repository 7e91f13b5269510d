"""The search for a DataLoader's setting: the same questions, races and confirmation as for a Launch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from hwdiag.feeding.model import Setting
from hwdiag.host.model import Host
from hwdiag.measure.campaign import heats
from hwdiag.measure.model import Phase
from hwdiag.measure.search import Question, Speedups

MOST_AT_ONCE = 6
"""Settings of one block; today's is in each, so that all are compared with one that ran just before or after."""
MOST_WORKERS = 64
"""Up to so many, two for each CPU are asked for; beyond, one."""
NO_WAIT = 0.01
"""A training that waits for less of its time than this is called fed: more workers could not be told from it."""

DEFAULT = Setting(name="default")
"""torch's own: no workers, nothing ahead."""


class Try(Protocol):
    """Runs one setting once."""

    def __call__(self, setting: Setting, phase: Phase, block: int) -> float | None:
        """Seconds for one sample; None where it failed."""


def usable_cpus(host: Host) -> int:
    """CPUs' worth of time that this process may use."""
    cpus = len(host.usable_cpus) or 1
    return max(1, min(cpus, math.ceil(host.limits.cpu_quota))) if host.limits.cpu_quota else cpus


def questions(
    host: Host, *, batch_sizes: Sequence[int] = (), start_methods: Sequence[str] = (), cuda: bool = False
) -> list[Question[Setting]]:
    """What may be set, in the order in which it is decided, the fewest workers first: they win where all are equal."""
    cpus = usable_cpus(host)
    most = max(cpus, min(2 * cpus, MOST_WORKERS))
    counts = sorted({*(2**n for n in range(most.bit_length())), cpus, most})
    ahead = [Setting(name=f"{n} ahead", prefetch=n) for n in (1, 4, 8)]
    methods = [Setting.model_validate({"name": name, "start_method": name}) for name in start_methods]
    found = [
        Question("workers", tuple(with_workers(n) for n in counts), refine=around),
        Question("batches ahead", tuple(ahead)),
        Question("batch size", tuple(Setting(name=f"batches of {n}", batch_size=n) for n in batch_sizes)),
        Question("pinned memory", (Setting(name="pinned memory", pin_memory=True),) if cuda else ()),
        Question("threads of a worker", (Setting(name="2 threads each", threads=2),) if cpus > 1 else ()),
        Question("CPUs of a worker", tuple(placings(host))),
        Question("start of the workers", tuple(methods)),
        Question("sharing", (Setting(name="file_system", sharing="file_system"),)),
    ]
    return [question for question in found if question.options]


def with_workers(count: int) -> Setting:
    """So many workers."""
    return Setting(name=f"{count} worker{'s' * (count > 1)}", workers=count)


def around(best: Setting) -> list[Setting]:
    """Between the counts that were asked for, next to the best of them."""
    count = best.workers or 0
    step = max(1, count // 4)
    return [with_workers(n) for n in (count - step, count + step) if n > 0 and count]


def placings(host: Host) -> list[Setting]:
    """Where workers may stay: those of one NUMA node together, all in turn; or each on a CPU of its own."""
    usable = set(host.usable_cpus)
    nodes = [tuple(c for c in node.cpus if c in usable) for node in host.numa]
    nodes = [cpus for cpus in nodes if cpus]
    found = [Setting(name="nodes in turn", places=tuple(nodes))] if len(nodes) > 1 else []
    found += [Setting(name=f"on node {n}", places=(cpus,)) for n, cpus in enumerate(nodes)] if len(nodes) > 1 else []
    cores = host.usable_cores
    if len(cores) > 1:
        found.append(Setting(name="a core each", places=tuple(cores)))
    return found


class Races:
    """Measures settings beside today's default, as ``find_best`` asks for it."""

    def __init__(self, run: Try, refused: Callable[[Setting], str], seed: int) -> None:
        """``refused`` says why a setting is not to be tried, or nothing."""
        self.run, self.refused = run, refused
        self.why_not: dict[str, str] = {}
        self._random = random.Random(seed)
        self._block = 0

    def measure(self, settings: Sequence[Setting], blocks: int, phase: Phase) -> Speedups:
        """Speed-ups over today's default, one a block. What does not fit, or fails, is left out."""
        self.why_not |= {s.name: why for s in settings if (why := self.refused(s))}
        able = [s for s in settings if s.name not in self.why_not]
        found: dict[str, list[float]] = {}
        for _ in range(blocks):
            for heat in heats([DEFAULT, *able], MOST_AT_ONCE) if able else ():
                self._block += 1
                times = {s.name: self.run(s, phase, self._block) for s in self._random.sample(heat, len(heat))}
                today = times.pop(DEFAULT.name)
                for name, seconds in times.items():
                    if today is not None and seconds is not None:
                        found.setdefault(name, []).append(today / seconds)
        return found
