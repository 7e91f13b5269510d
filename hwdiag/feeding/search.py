"""The search for a DataLoader's setting: the same questions, races and confirmation as for a Launch."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Protocol

from hwdiag.feeding.setting import Setting
from hwdiag.feeding.together import ask_together
from hwdiag.host.model import Host
from hwdiag.measure.campaign import heats
from hwdiag.measure.model import Phase
from hwdiag.measure.search import CONFIRM_SHARE, Decision, Exploration, Question, Speedups, confirmed
from hwdiag.measure.stats import MIN_PAIRS, geometric_mean, pairs_needed

MOST_AT_ONCE = 6
"""Settings of one block, today's default among them."""
MOST_WORKERS = 64
"""Up to so many, two for each CPU are asked for; beyond, one."""
DEFAULT_EVERY, DEFAULTS = 3, 3
"""In the screening today's default is measured in every third block, and the median of the last three stands for it:
settings of one block are compared with each other, for which it does not matter. The confirmation has it in each."""
NO_WAIT = 0.01
"""A training that waits for less of its time than this is called fed: more workers could not be told from it."""

WORKERS, AGAIN, START = "workers", "workers, again", "start of the workers"
WORKERS_SHARE = 0.45
"""Of the time to explore, for the number of workers, which decides most. How they start comes last: it changes the
start of an epoch, hardly the batches after it, and each trial takes long."""

CONFIRM_MARGIN = 1.3
"""Time that is kept for the confirmation, over what the trials so far would take."""

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
    counts = sorted({1, cpus // 4, cpus // 2, cpus, most} - {0})
    ahead = [Setting(name=f"{n} ahead", prefetch=n) for n in (1, 4, 8)]
    methods = [Setting.model_validate({"name": name, "start_method": name}) for name in start_methods]
    found = [
        Question(WORKERS, tuple(with_workers(n) for n in counts), refine=around(counts)),
        Question("batches ahead", tuple(ahead)),
        Question("batch size", tuple(Setting(name=f"batches of {n}", batch_size=n) for n in batch_sizes)),
        Question("pinned memory", (Setting(name="pinned memory", pin_memory=True),) if cuda else ()),
        Question("CPUs of a worker", tuple(placings(host))),
        Question("threads of a worker", (Setting(name="2 threads each", threads=2),) if cpus > 1 else ()),
        Question("sharing", (Setting(name="file_system", sharing="file_system"),)),
        Question(START, tuple(methods)),
    ]
    return [question for question in found if question.options]


def find_setting(
    asked: Sequence[Question[Setting]],
    races: Races,
    *,
    budget_s: float,
    min_effect: float,
    rounds: int,
    most_pairs: int,
    clock: Callable[[], float] = time.monotonic,
) -> Decision[Setting]:
    """The best setting within ``budget_s`` seconds: the number of workers in races, as a Launch is searched for; what
    goes with it all together; and the whole measured afresh. The arguments are those of ``find_best``."""
    began = clock()
    deadline = began + budget_s * (1 - CONFIRM_SHARE)
    exploration = Exploration(races.measure, DEFAULT, deadline, rounds, clock)
    for question in asked:
        if question.name == WORKERS:
            exploration.ask(question, began + WORKERS_SHARE * (deadline - began))
    end = began + budget_s
    most_pairs = pairs_for(exploration, min_effect, most_pairs)
    exploration.deadline = max(deadline, end - CONFIRM_MARGIN * 2 * most_pairs * exploration.pace)
    others = [q for q in asked if q.name not in (WORKERS, START)]
    ask_together(exploration, [*again(exploration.best), *others], races.refused, end)
    exploration.explore([q for q in asked if q.name == START])
    return confirmed(exploration, asked, DEFAULT, end=end, min_effect=min_effect, most_pairs=most_pairs)


def pairs_for(exploration: Exploration[Setting], min_effect: float, most: int) -> int:
    """Pairs that the confirmation is going to want: of a large gain a twentieth is precise enough."""
    gain = geometric_mean(exploration.seen.get(exploration.best.name, [1.0]))
    return max(MIN_PAIRS, min(most, pairs_needed(exploration.noise, max(min_effect / 2, (gain - 1) / 20))))


def with_workers(count: int) -> Setting:
    """So many workers."""
    return Setting(name=f"{count} worker{'s' * (count > 1)}", workers=count)


def around(counts: Sequence[int]) -> Callable[[Setting], list[Setting]]:
    """Half or twice as many where the first or the last of those that were asked for was the best."""
    least, most = next((n for n in counts if n > 1), 1), max(counts)

    def beside(best: Setting) -> list[Setting]:
        count = best.workers or 0
        found = [2 * count] if count >= most else []
        found += [count // 2] if 1 < count <= least else []
        return [with_workers(n) for n in found]

    return beside


def again(best: Setting) -> list[Question[Setting]]:
    """Whether some more, or some less, are better together with the rest."""
    count = best.workers or 0
    counts = [n for n in (3 * count // 4, 3 * count // 2) if n not in (0, count)]
    return [Question(AGAIN, tuple(map(with_workers, counts)))] if counts else []


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
        self._today: list[float] = []

    def measure(self, settings: Sequence[Setting], blocks: int, phase: Phase) -> Speedups:
        """Speed-ups over today's default, one a block. What does not fit, or fails, is left out."""
        self.why_not |= {s.name: why for s in settings if (why := self.refused(s))}
        able = [s for s in settings if s.name not in self.why_not]
        found: dict[str, list[float]] = {}
        for _ in range(blocks):
            for heat in heats([DEFAULT, *able], MOST_AT_ONCE) if able else ():
                self._block += 1
                if phase == "screen" and self._today and self._block % DEFAULT_EVERY:
                    heat = heat[1:]
                times = {s.name: self.run(s, phase, self._block) for s in self._random.sample(heat, len(heat))}
                today = self._default_s(times.pop(DEFAULT.name, None), phase)
                for name, seconds in times.items():
                    if today is not None and seconds is not None:
                        found.setdefault(name, []).append(today / seconds)
        return found

    def _default_s(self, seconds: float | None, phase: Phase) -> float | None:
        """Today's default beside which this block's settings are put: in the screening, the last few times of it."""
        self._today += [] if seconds is None else [seconds]
        if phase != "screen":
            return seconds
        return median(self._today[-DEFAULTS:]) if self._today else None
