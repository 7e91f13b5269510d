"""The search for a DataLoader's setting: its factors, and the laboratory that times trials of it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol

from hwdiag.dataloader.setting import setting_of
from hwdiag.experiment.campaign import batches
from hwdiag.experiment.laboratory import Block, scopes_of
from hwdiag.experiment.lever import DEFAULT, Factor, Lever, Plan
from hwdiag.experiment.model import Phase
from hwdiag.experiment.search import SearchResult, search
from hwdiag.experiment.space import SearchSpace
from hwdiag.experiment.timetable import Effort
from hwdiag.host.model import Host

MOST_AT_ONCE = 6
"""Plans of one block, today's default among them."""
MOST_WORKERS = 64
"""Up to so many, two for each CPU are asked for; beyond, one."""
DEFAULT_EVERY = 3
"""In the screening today's default is measured in every third block: plans of one block are compared with each other,
for which it does not matter. The confirmation has it in each."""
LONGEST = 0.04
"""Share of the time that one trial may take."""
NO_WAIT = 0.01
"""A training that waits for less of its time than this is called fed: more workers could not be told from it."""

WORKERS, START = "workers", "start method"
"""The factor that decides most, and the one that comes last: how workers start changes the start of an epoch, hardly
the batches after it, and each trial takes long."""
EFFECT, SMALL_EFFECT = 10.0, 0.05
"""Standard deviation of what the number of workers does to the logarithm of the speed; and of what goes with it, where
that is one of several small things."""
SETTING_SHARE = 0.8
"""Of the run's error budget; the alternatives to a batch as found have the rest."""
SAMPLE = "sample"
"""The one workload of a loader: one sample."""


class Try(Protocol):
    """Runs one plan once."""

    def __call__(self, plan: Plan, phase: Phase, block: int) -> float | None:
        """Return the seconds for one sample, or None where it failed."""


def usable_cpus(host: Host) -> int:
    """Return the CPUs' worth of time that this process may use."""
    cpus = len(host.usable_cpus) or 1
    return max(1, min(cpus, math.ceil(host.limits.cpu_quota))) if host.limits.cpu_quota else cpus


def loader_factors(
    host: Host, *, batch_sizes: Sequence[int] = (), start_methods: Sequence[str] = (), cuda: bool = False
) -> list[Factor]:
    """Return what may be set, the fewest workers first: they win where all are equal."""
    cpus = usable_cpus(host)
    most = max(cpus, min(2 * cpus, MOST_WORKERS))
    counts = sorted({1, cpus // 4, cpus // 2, cpus, most} - {0})
    found = [
        Factor(WORKERS, tuple(with_workers(n) for n in counts), refine=around(counts), effect=EFFECT),
        Factor(
            "batches ahead",
            tuple(lever("batches ahead", f"{n} ahead", prefetch=n) for n in (1, 4, 8)),
            effect=SMALL_EFFECT,
        ),
        Factor("batch size", tuple(lever("batch size", f"batches of {n}", batch_size=n) for n in batch_sizes)),
        Factor("pinned memory", (lever("pinned memory", "pinned memory", pin_memory=True),) if cuda else ()),
        Factor("worker CPUs", tuple(placings(host))),
        Factor("worker threads", (lever("worker threads", "2 threads each", threads=2),) if cpus > 1 else ()),
        Factor("sharing", (lever("sharing", "file_system", sharing="file_system"),), effect=SMALL_EFFECT),
        Factor(START, tuple(lever(START, name, start_method=name) for name in start_methods)),
    ]
    return [factor for factor in found if factor.levers]


def lever(factor: str, title: str, **sets: Any) -> Lever:
    """Return a lever that sets these arguments."""
    return Lever(id=f"loader.{title.replace(' ', '-')}", factor=factor, title=title, loader=sets)


def with_workers(number: int) -> Lever:
    """Return so many workers."""
    return lever(WORKERS, f"{number} worker{'s' * (number > 1)}", workers=number)


def around(counts: Sequence[int]) -> Callable[[Plan], list[Lever]]:
    """Return what gives the numbers of workers near the best: some more and some less, and half or twice as many where
    the first or the last of ``counts`` was the best."""
    least, most = next((n for n in counts if n > 1), 1), max(counts)

    def near(best: Plan) -> list[Lever]:
        number = setting_of(best).workers or 0
        found = [3 * number // 4, 3 * number // 2]
        found += [2 * number] if number >= most else []
        found += [number // 2] if 1 < number <= least else []
        return [with_workers(n) for n in dict.fromkeys(found) if n not in (0, number)]

    return near


def placings(host: Host) -> list[Lever]:
    """Return where workers may stay: those of one NUMA node together, all in turn; or each on a CPU of its own."""
    usable = set(host.usable_cpus)
    nodes = [tuple(c for c in node.cpus if c in usable) for node in host.numa]
    nodes = [cpus for cpus in nodes if cpus]
    found = []
    if len(nodes) > 1:
        found.append(lever("worker CPUs", "nodes in turn", places=tuple(nodes)))
        found += [lever("worker CPUs", f"on node {n}", places=(cpus,)) for n, cpus in enumerate(nodes)]
    cores = host.usable_cores
    if len(cores) > 1:
        found.append(lever("worker CPUs", "a core each", places=tuple(cores)))
    return found


def crowded(plan: Plan, cpus: int) -> str:
    """Return why a plan has no meaning, or crowds its workers onto some of the CPUs; empty where neither is so."""
    setting = setting_of(plan)
    if not setting.makes_sense:
        return "without workers it has no meaning"
    held = len({cpu for place in setting.places for cpu in place})
    needed = min(setting.workers or 0, cpus)
    return f"its workers would share {held} of {cpus} CPUs" if setting.places and held < needed else ""


class LoaderLaboratory:
    """Times plans beside today's default, one trial after the other. What does not fit, or fails, is left out."""

    def __init__(
        self, run: Try, refused: Callable[[Plan], str], seed: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``refused`` says why a plan is not to be tried, or nothing."""
        self.run, self.clock = run, clock
        self._refused = refused
        self.why_not: dict[str, str] = {}
        """Why plans were not tried, by title."""
        self.longest_s = math.inf
        """Seconds of a trial beyond which a plan is not tried: so few of them fit that none could be confirmed."""
        self.took: dict[int, float] = {}
        """Seconds of the last trial, by the number of workers."""
        self.seed, self._random = seed, random.Random(seed)
        self._numbers = count(1)

    def refused(self, plan: Plan) -> str:
        """Return why a plan is not to be tried, and keep it."""
        why = self._refused(plan) or self._too_long(plan)
        if why:
            self.why_not[plan.title] = why
        return why

    def _too_long(self, plan: Plan) -> str:
        """Return that a trial would take too long, by the nearest number of workers that was tried; empty if not."""
        workers = setting_of(plan).workers or 0
        nearest = max((n for n in self.took if 0 < n <= workers), default=0)
        takes = self.took[nearest] * workers / nearest if nearest else 0.0
        return f"a trial of {workers} workers would take {takes:.0f} s" if takes > self.longest_s else ""

    def _timed(self, plan: Plan, phase: Phase, number: int) -> float | None:
        """Time a plan once, and note how long that took."""
        began = self.clock()
        seconds = self.run(plan, phase, number)
        self.took[setting_of(plan).workers or 0] = self.clock() - began
        return seconds

    def measure(self, plans: Sequence[Plan], phase: Phase) -> list[Block]:
        """Time each plan once."""
        return [self._block(batch, phase) for batch in batches([DEFAULT, *plans], MOST_AT_ONCE)]

    def _block(self, plans: Sequence[Plan], phase: Phase) -> Block:
        number = next(self._numbers)
        if phase == "screen" and (number - 1) % DEFAULT_EVERY:
            plans = [plan for plan in plans if not plan.is_default]
        times = {plan.id: self._timed(plan, phase, number) for plan in self._random.sample(plans, len(plans))}
        return Block(number, {plan: {SAMPLE: seconds} for plan, seconds in times.items() if seconds is not None})


def find_setting(
    factors: Sequence[Factor], laboratory: LoaderLaboratory, effort: Effort, min_effect: float
) -> SearchResult:
    """Find the best setting: the number of workers in races, what goes with it all together, and the whole afresh."""
    laboratory.longest_s = LONGEST * effort.total_s
    by_name = {factor.name: factor for factor in factors}
    first, last = by_name.pop(WORKERS), [by_name.pop(START)] if START in by_name else []
    return search(
        laboratory,
        SearchSpace(first, list(by_name.values()), last),
        scopes_of([SAMPLE]),
        effort,
        min_effect,
        is_paired=False,
        refused=laboratory.refused,
        share=SETTING_SHARE,
        seed=laboratory.seed,
    )
