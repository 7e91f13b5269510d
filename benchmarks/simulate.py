"""How far the search can be trusted, on hosts that are not there: ``python -m benchmarks.simulate`` prints it.

Its noise is what ``record_noise.py`` recorded, as it was and made worse. Seeds are fixed: the same code gives the same
table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from hwdiag.measure.search import Decision, Question, find_best
from scipy import stats

from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.statistics import ALPHA, MIN_PAIRS, faster_p, judge, median_interval
from hwdiag.host.model import Host
from hwdiag.process.launch import Launch
from hwdiag.report.table import Table
from tests.simulation.virtual import DEFAULT, VirtualHost
from tests.simulation.virtual_hosts import random_host
from tests.simulation.virtual_machine import Noise, VirtualMachine, block_s, recorded_noise

MIN_EFFECT = 0.03
STANDARD = BUDGETS["standard"]
Row = tuple[str, str, str, str]
"""What, its target, what came out, and whether that reaches it."""


def main() -> None:
    """Run all and print the table."""
    print(Table("hwdiag's search, simulated", ("What", "Target", "Measured", "Reached"), tuple(rows())).to_text())


def rows() -> Iterator[Row]:
    """All of it; takes a minute."""
    busy = recorded_noise("busy")
    for name, kind in kinds_of().items():
        share = false_alarms(kind, 10_000)
        yield row(f"a Launch against itself: 'change it' ({name})", "<= 1 % of 10,000", f"{share:.2%}", share <= 0.01)
    for name, noise in {"quiet machine": recorded_noise("quiet"), "busy machine": busy}.items():
        share = idle_winners(noise, 1000)
        yield row(f"searches among equals that name a winner ({name})", "<= 1 % of 1000", f"{share:.1%}", share <= 0.01)
    for name, noise in noises().items():
        yield from on_hosts(noise, name)
    share = power(busy, 1.05, 200)
    yield "a true gain of 5 % found (busy machine)", "none: mostly undecided", f"{share:.1%}", ""


def on_hosts(noise: Noise, name: str) -> Iterator[Row]:
    """Power, regret and cost under one noise."""
    share = power(noise, 1.05, 500)
    yield row(f"a true gain of 5 % found at standard budget ({name})", ">= 90 % of 500", f"{share:.1%}", share >= 0.9)
    found = [regret(noise, seed) for seed in range(300)]
    behind, cost = [f.behind for f in found], max(f.measured / f.exhaustive for f in found)
    half, most = np.quantile(behind, [0.5, 0.95])
    yield row(f"behind the best of all Launches, median of 300 hosts ({name})", "<= 2 %", f"{half:.1%}", half <= 0.02)
    yield row(f"the same, in 95 % of them ({name})", "<= 5 %", f"{most:.1%}", most <= 0.05)
    yield row(f"measurements, of an exhaustive search's ({name})", "<= 25 %", f"{cost:.1%} at most", cost <= 0.25)
    few, many = (mean_measured(noise, cores) for cores in (8, 128))
    grown = f"{many / few:.2f}x ({few:.0f} to {many:.0f})"
    yield row(f"measurements on 128 cores over those on 8 ({name})", "<= 2x", grown, many <= 2 * few)


def row(what: str, target: str, measured: str, reached: bool) -> Row:
    """One line of the table."""
    return what, target, measured, "yes" if reached else "NO"


def kinds_of() -> Mapping[str, Noise]:
    """The recorded noise, and worse."""
    random = np.random.default_rng(0)
    quiet, busy = recorded_noise("quiet"), recorded_noise("busy")
    rising = np.linspace(1, 4, len(busy))[:, None]
    return {
        "quiet machine": quiet,
        "quiet machine, every third process slower by 20 %": slower(quiet, random),
        "busy machine": busy,
        "busy machine, heavier tails": busy * np.exp(0.03 * random.standard_t(2, busy.shape)),
        "busy machine, noise that grows fourfold": busy**rising,
        "busy machine, every third process slower by 20 %": slower(busy, random),
    }


def slower(noise: Noise, random: np.random.Generator) -> Noise:
    """The same with every third process, by chance, slower by 20 %."""
    return noise * np.where(random.random(noise.shape) < 1 / 3, 1.2, 1)


def noises() -> Mapping[str, Noise]:
    """What was recorded on the quiet machine, and noise of known spreads."""
    random = np.random.default_rng(0)
    known = {f"pairs spread by {s:.1%}": random.lognormal(0, s / np.sqrt(2), (200, 6)) for s in (0.016, 0.03)}
    return {"quiet machine": recorded_noise("quiet"), **known}


def false_alarms(noise: Noise, count: int, seed: int = 1) -> float:
    """Share of comparisons of a Launch with itself, in 8 to 16 blocks one after the other, that say "better"."""
    random = np.random.default_rng(seed)
    alarms = 0
    for pairs in range(MIN_PAIRS, STANDARD.most_pairs + 1):
        n = count // (STANDARD.most_pairs + 1 - MIN_PAIRS) + 1
        blocks = (random.integers(len(noise), size=(n, 1)) + np.arange(pairs)) % len(noise)
        first, second = random.permuted(
            np.broadcast_to(np.arange(noise.shape[1]), (*blocks.shape, noise.shape[1])), axis=2
        )[..., :2].transpose(2, 0, 1)
        ratios = noise[blocks, first] / noise[blocks, second]
        # The test for all at once by its normal approximation, and the whole judgement for those that come near.
        p_values = stats.wilcoxon(np.log(ratios), axis=1, alternative="greater", method="asymptotic").pvalue
        hopeful = ratios[(p_values < 4 * ALPHA) & (np.median(ratios, axis=1) >= 1 + MIN_EFFECT)]
        alarms += sum(judge(median_interval(list(r)), faster_p(r), MIN_EFFECT)[0] == "better" for r in hopeful)
    return alarms / count


@dataclass(frozen=True)
class Flat:
    """A host on which nothing makes a difference but one option, or none."""

    like: VirtualHost
    option: str | None
    gain: float

    @property
    def host(self) -> Host:
        """Its facts."""
        return self.like.host

    @property
    def questions(self) -> tuple[Question, ...]:
        """Those of the host that it is like."""
        return self.like.questions

    def seconds(self, launch: Launch) -> float:
        """Of one iteration."""
        return 1 / self.gain if self.option in launch.name.split(" + ") else 1.0


def decide(virtual: VirtualHost | Flat, machine: VirtualMachine) -> Decision:
    """The search at standard budget, less what it takes to measure the noise first."""
    noise_s = STANDARD.noise_blocks * block_s(2, len(virtual.host.usable_cpus))
    return find_best(
        virtual.questions,
        machine.measure,
        budget_s=STANDARD.total_s - noise_s,
        min_effect=MIN_EFFECT,
        rounds=STANDARD.rounds,
        most_pairs=STANDARD.most_pairs,
        default=DEFAULT,
        clock=lambda: machine.now,
    )


def idle_winners(noise: Noise, count: int) -> float:
    """Share of searches among equals that name a winner."""
    return float(np.mean([decide_flat(noise, seed, None, 1.0).verdict == "better" for seed in range(count)]))


def power(noise: Noise, gain: float, count: int) -> float:
    """Share of searches that find the one option which is better, among all that are not."""
    found = 0
    for seed in range(count):
        options = [o.name for q in random_host(seed).questions for o in q.options]
        option = options[seed % len(options)]
        decision = decide_flat(noise, seed, option, gain)
        found += decision.verdict == "better" and option in decision.launch.name.split(" + ")
    return found / count


def decide_flat(noise: Noise, seed: int, option: str | None, gain: float) -> Decision:
    """A search where at most one option makes a difference."""
    flat = Flat(random_host(seed), option, gain)
    return decide(flat, VirtualMachine(flat, noise, seed))


@dataclass(frozen=True)
class Regret:
    """How a search ended on a host of which everything is known."""

    behind: float
    """Time under the Launch that it recommends over the least possible, less 1."""
    measured: int
    """Processes."""
    exhaustive: int
    """Those of measuring every combination of the options, and the default beside it, as often as a finalist."""


def regret(noise: Noise, seed: int) -> Regret:
    """Search on a random host."""
    virtual = random_host(seed)
    machine = VirtualMachine(virtual, noise, seed)
    decision = decide(virtual, machine)
    chosen = decision.launch if decision.verdict == "better" else DEFAULT
    pairs = decision.speedup.processes if decision.speedup else MIN_PAIRS
    behind = virtual.seconds(chosen) / least_seconds(seed) - 1
    return Regret(behind, machine.processes, 2 * pairs * virtual.exhaustive())


@cache
def least_seconds(seed: int) -> float:
    """Of all Launches there are on this random host; finding it out takes longer than a search."""
    return random_host(seed).best_seconds()[0]


def mean_measured(noise: Noise, cores: int, seeds: Sequence[int] = range(40)) -> float:
    """Processes of a search, the mean over hosts with so many cores."""
    counts = []
    for seed in seeds:
        virtual = random_host(seed, cores=cores)
        machine = VirtualMachine(virtual, noise, seed)
        decide(virtual, machine)
        counts.append(machine.processes)
    return float(np.mean(counts))


if __name__ == "__main__":
    main()
