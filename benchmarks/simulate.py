"""How far the product's decisions can be trusted, on hosts that are not there: ``python -m benchmarks.simulate``.

Every topic that decides runs the path that the product runs, down to the turns that its processes would take: the
search for a launch, the search for a DataLoader's setting with its alternatives, and the techniques. Noise is what
``record_noise.py`` recorded, as it was and with heavier tails, or of known spreads. Seeds are fixed: the same code
gives the same table. All of it takes an hour on two cores; ``--runs 500`` gives an impression in five minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from hwdiag.core.choices import Accuracy
from hwdiag.dataloader.alternatives import Alternative, decide
from hwdiag.dataloader.budget import BUDGETS as FEED_BUDGETS
from hwdiag.dataloader.run import DECODE_SHARE, EXTRA_SHARE, GRACE
from hwdiag.dataloader.search import LoaderLaboratory, crowded, find_setting, usable_cpus
from hwdiag.dataloader.setting import setting_of
from hwdiag.devices.gains import gains, measure_gains
from hwdiag.devices.model import Device
from hwdiag.devices.nets import tasks
from hwdiag.devices.study import EFFORTS, GAINS
from hwdiag.experiment.budget import BUDGETS, Budget
from hwdiag.experiment.lever import BASELINE, DEFAULT, Plan, within
from hwdiag.experiment.model import OVERALL, Comparison
from hwdiag.experiment.timetable import Effort
from hwdiag.experiment.workloads import gpt2, resnet18
from hwdiag.report.table import Table
from hwdiag.tune.tune import Tuned, tune
from tests.simulation.virtual import Flat, holds
from tests.simulation.virtual_hosts import random_host
from tests.simulation.virtual_loader import BOUNDS, FlatLoader, VirtualTrials, random_loader
from tests.simulation.virtual_machine import Noise, Timed, VirtualRunner, noises, spread_by, virtual_campaign

MIN_EFFECT = 0.03
STANDARD = BUDGETS["standard"]
FEED = FEED_BUDGETS["standard"]
BEFORE_S = 15.0
"""What comes before the search for a DataLoader's setting, beside the decoders."""
CPU = Device(name="cpu", title="a CPU that is not there")
TRIAL_NOISES: dict[str, tuple[float, float | None]] = {
    "trials spread by 3 %": (0.03, None),
    "trials spread by 12 %": (0.12, None),
    "trials spread by 5 %, heavy tails": (0.05, 2.0),
}
"""Spread of a trial, and the degrees of freedom of its tails."""
LOADER_NOISES = (0.01, 0.03)
WITHIN = 0.05

Row = tuple[str, str, str, str]
"""What, its target, what came out, and whether that reaches it."""


# --- the search for a launch ------------------------------------------------------------------------------------------


def search(
    known: Timed, seed: int, noise: Noise, *, nets: int, accuracy: Accuracy = "same"
) -> tuple[Tuned, VirtualRunner]:
    """Search as ``hwdiag run`` does at standard budget, on a random host, for so many nets."""
    virtual = random_host(seed)
    runner = VirtualRunner(known, noise, seed, len(virtual.host.usable_cpus))
    campaign = virtual_campaign(runner, STANDARD)
    workloads = (resnet18(), gpt2())[:nets]
    names = [w.name for w in workloads]
    return tune(campaign, virtual.factors, workloads, names, MIN_EFFECT, accuracy=accuracy), runner


def confirmed(tuned: Tuned) -> list[Comparison]:
    """Return what was judged."""
    return [c for c in tuned.comparisons if c.phase == "confirm"]


def chosen(tuned: Tuned, accuracy: Accuracy = "same") -> Plan:
    """Return the plan that is recommended overall: the surest of those that are better and whose results are of this
    accuracy; today's way where none is."""
    able = {plan.id for plan in tuned.plans if within(plan.accuracy, accuracy)}
    better = [c for c in confirmed(tuned) if c.workload == OVERALL and c.verdict == "better" and c.candidate in able]
    best = max(better, key=lambda c: c.speedup.low, default=None)
    return next(plan for plan in tuned.plans if plan.id == (best.candidate if best else BASELINE))


def null_launch(seed: int, noise: Noise) -> bool:
    """Return whether a search among equals says "better" anywhere."""
    return any(c.verdict == "better" for c in search(Flat(), seed, noise, nets=2)[0].comparisons)


def power_launch(seed: int, noise: Noise, gain: float) -> bool:
    """Return whether a search on one net finds the one lever that is better, among all that are not."""
    able = [factor for factor in random_host(seed).factors if not factor.slow_s]
    levers = [lever for factor in able for lever in factor.levers if not lever.risk]
    lever = levers[seed % len(levers)]
    tuned, _ = search(Flat(lever, gain), seed, noise, nets=1, accuracy=lever.accuracy)
    plan = chosen(tuned, lever.accuracy)
    return holds(plan.launch, lever.launch) and {*lever.techniques} <= {*plan.techniques}


@dataclass(frozen=True)
class Regret:
    """How a search ended on a host of which everything is known."""

    behind: float
    """Time under what it recommends over the least possible, less 1."""
    measured: int
    """Processes, or trials."""
    exhaustive: int
    """Those of measuring every combination once, and of a launch as often as a finalist, the default beside it."""
    seconds: float
    about: str = ""
    reduced: float = 0.0
    """The same as ``behind`` of the best plan that may compute in fewer bits, which the same search finds."""


def regret_launch(seed: int, noise: Noise, cores: int | None = None) -> Regret:
    """Search on a random host; levers with a risk take part, as a person may choose."""
    virtual = random_host(seed, cores=cores)
    runner = VirtualRunner(virtual, noise, seed, len(virtual.host.usable_cpus))
    workloads = (resnet18(),)
    campaign = virtual_campaign(runner, STANDARD)
    tuned = tune(campaign, virtual.factors, workloads, [workloads[0].name], MIN_EFFECT, risky=True)
    pairs = max((c.speedup.processes for c in confirmed(tuned)), default=1)
    behind = {
        accuracy: virtual.seconds(plan.launch, plan.techniques)
        / (least_seconds(seed, cores) / np.exp(virtual.best_inside(accuracy)))
        - 1
        for accuracy in ("same", "reduced")
        for plan in [chosen(tuned, accuracy)]
    }
    exhaustive = 2 * pairs * virtual.exhaustive()
    return Regret(behind["same"], runner.processes, exhaustive, runner.now, reduced=behind["reduced"])


@cache
def least_seconds(seed: int, cores: int | None) -> float:
    """Return the time under the best of all launches on this random host; finding it out takes longer than a search."""
    return random_host(seed, cores=cores).best_seconds()[0]


# --- the search for a DataLoader's setting ----------------------------------------------------------------------------


def loader_effort() -> Effort:
    """Return the search's share of a standard run."""
    seconds = (1 - DECODE_SHARE - EXTRA_SHARE) * FEED.total_s - BEFORE_S
    return Effort(seconds, FEED.rounds, FEED.most_pairs, finalists=1, grace=GRACE)


def loader_laboratory(trials: VirtualTrials) -> LoaderLaboratory:
    """Return what times trials on a virtual host."""
    cpus = usable_cpus(trials.loader.host)
    return LoaderLaboratory(trials.run, lambda plan: crowded(plan, cpus), trials.seed, trials.clock)


ALTERNATIVES = [
    Alternative("uint8", "", ""),
    Alternative("reduced", "", ""),
    Alternative("opencv", "", ""),
    Alternative("one thread", "", ""),
    Alternative("page", "", "", group="disk", loses=True),
    *(Alternative(name, "", "", group="cache") for name in ("worker", "shared", "lmdb")),
]


def null_loader(seed: int, noise: tuple[float, float | None]) -> bool:
    """Return whether a run among equals says "better" anywhere: of the setting, a decoder, or a cache."""
    trials = VirtualTrials(FlatLoader(random_loader(seed).host), noise[0], FEED.window_s, FEED.warmup_s, seed, noise[1])
    found = find_setting(trials.loader.factors, loader_laboratory(trials), loader_effort(), MIN_EFFECT)
    is_better = found.decision().verdict == "better"
    end = trials.now + EXTRA_SHARE * FEED.total_s
    others = decide(
        ALTERNATIVES,
        trials.timed,
        MIN_EFFECT,
        end=end,
        grace_s=GRACE * EXTRA_SHARE * FEED.total_s,
        is_setting_better=is_better,
        clock=trials.clock,
    )
    return is_better or any(c.verdict == "better" for c in others.values())


def regret_loader(seed: int, noise: float) -> Regret:
    """Search on one host."""
    loader = random_loader(seed)
    trials = VirtualTrials(loader, noise, FEED.window_s, FEED.warmup_s, seed)
    decision = find_setting(loader.factors, loader_laboratory(trials), loader_effort(), MIN_EFFECT).decision()
    plan = decision.plan if decision.verdict == "better" else DEFAULT
    least, count = loader.least()
    return Regret(loader.seconds(setting_of(plan)) / least - 1, trials.done, count, trials.now, loader.bound)


# --- techniques -------------------------------------------------------------------------------------------------------


def null_techniques(seed: int, noise: Noise) -> bool:
    """Return whether a study of techniques that change nothing says "better" of one of them."""
    effort = EFFORTS["standard"]
    workloads = [*tasks(effort.nets, ("inference",), CPU), *tasks(effort.trained, ("training",), CPU)]
    budget = Budget(total_s=effort.gains_s, noise_blocks=0, rounds=0, most_pairs=0, finalists=0, turn=GAINS)
    campaign = virtual_campaign(VirtualRunner(Flat(), noise, seed, 8), budget, check_all=True)
    planned = measure_gains(
        campaign, CPU, workloads, rounds=effort.rounds, slow_rounds=effort.slow_rounds, slow_on=effort.slow_on
    )
    found = gains(campaign.measurements, workloads, (CPU,), planned, MIN_EFFECT)
    return any(g.comparison is not None and g.comparison.verdict == "better" for g in found)


# --- the table --------------------------------------------------------------------------------------------------------


def null_rows(pool: ProcessPoolExecutor, runs: int, only: str) -> Iterator[Row]:
    """Yield how often runs among equals say "better" anywhere."""
    topics: tuple[tuple[str, Callable[..., bool], dict[str, Any]], ...] = (
        ("launch", null_launch, dict(noises())),
        ("dataloader", null_loader, dict(TRIAL_NOISES)),
        ("techniques", null_techniques, dict(noises())),
    )
    for topic, run, kinds in topics:
        for name, noise in kinds.items() if only in ("", topic) else ():
            share = share_of(pool, partial(run, noise=noise), runs)
            what = f'{topic}: runs among equals that say "better" anywhere ({name})'
            yield row(what, f"<= 1 % of {runs}", f"{share:.2%}", share <= 0.01)


def launch_rows(pool: ProcessPoolExecutor, hosts: int) -> Iterator[Row]:
    """Yield power, regret and cost of the search for a launch."""
    kinds = {
        "quiet machine": noises()["quiet machine"],
        **{f"pairs spread by {spread:.1%}": spread_by(spread) for spread in (0.016, 0.03)},
    }
    for name, noise in kinds.items():
        share = share_of(pool, partial(power_launch, noise=noise, gain=1.05), hosts)
        yield row(f"launch: a true gain of 5 % found ({name})", f">= 90 % of {hosts}", f"{share:.1%}", share >= 0.9)
        found = each(pool, partial(regret_launch, noise=noise), range(hosts))
        half, most = np.quantile([f.behind for f in found], [0.5, 0.95])
        yield row(f"launch: behind the best of all, median ({name})", "<= 1 %", f"{half:.1%}", half <= 0.01)
        yield row(f"launch: the same, in 95 % of {hosts} hosts ({name})", "<= 5 %", f"{most:.1%}", most <= 0.05)
        half, most = np.quantile([f.reduced for f in found], [0.5, 0.95])
        yield row(f"launch: the same in fewer bits, median ({name})", "<= 1 %", f"{half:.1%}", half <= 0.01)
        yield row(f"launch: the same in fewer bits, in 95 % ({name})", "<= 5 %", f"{most:.1%}", most <= 0.05)
        cost = max(f.measured / f.exhaustive for f in found)
        yield row(f"launch: processes, of an exhaustive search's ({name})", "<= 25 %", f"{cost:.1%}", cost <= 0.25)
    few, many = (
        np.mean([f.measured for f in each(pool, partial(regret_launch, noise=spread_by(0.016), cores=c), range(40))])
        for c in (8, 128)
    )
    yield row("launch: processes on 128 cores over those on 8", "<= 2x", f"{many / few:.2f}x", bool(many <= 2 * few))
    share = share_of(pool, partial(power_launch, noise=noises()["busy machine"], gain=1.05), hosts)
    yield "launch: a true gain of 5 % found (busy machine)", "none: mostly undecided", f"{share:.1%}", ""


def loader_rows(pool: ProcessPoolExecutor, hosts: int) -> Iterator[Row]:
    """Yield how near the search for a DataLoader's setting comes to the best of all."""
    for noise in LOADER_NOISES:
        found = each(pool, partial(regret_loader, noise=noise), range(hosts))
        for bound in ("any", *BOUNDS):
            some = [f.behind for f in found if bound in ("any", f.about)]
            within = sum(behind <= WITHIN for behind in some)
            half, most = np.quantile(some, [0.5, 0.95])
            yield row(
                f"dataloader: hosts bound by {bound} within 5 % of the best (trials spread by {noise:.0%})",
                ">= 95 %",
                f"{within} of {len(some)}; median {half:.1%}, 95th {most:.1%}",
                within >= 0.95 * len(some),
            )
        cost, longest = max(f.measured / f.exhaustive for f in found), max(f.seconds for f in found)
        yield row(f"dataloader: trials, of all settings ({noise:.0%})", "<= 25 %", f"{cost:.1%}", cost <= 0.25)
        mean = float(np.mean([f.seconds for f in found]))
        yield f"dataloader: seconds of a search ({noise:.0%})", "", f"{mean:.0f} s, at most {longest:.0f} s", ""


def row(what: str, target: str, measured: str, reached: bool) -> Row:
    """Return one line of the table."""
    return what, target, measured, "yes" if reached else "NO"


def each(pool: ProcessPoolExecutor, run: Callable[[int], Any], seeds: Sequence[int]) -> list[Any]:
    """Return what comes out for each seed."""
    return list(pool.map(run, seeds, chunksize=max(1, len(seeds) // 200)))


def share_of(pool: ProcessPoolExecutor, run: Callable[[int], bool], count: int) -> float:
    """Return the share of seeds for which it is so."""
    return float(np.mean(each(pool, run, range(count))))


def main() -> None:
    """Run all and print the table, each line as it is known to the standard error too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="runs among equals of each kind (default: 10000)")
    parser.add_argument("--hosts", type=int, default=500, help="hosts of each search for a launch (default: 500)")
    parser.add_argument("--loaders", type=int, default=400, help="hosts of each search for a loader (default: 400)")
    parser.add_argument("--only", choices=("launch", "dataloader", "techniques"), default="", help="one topic")
    args = parser.parse_args()
    lines = []
    with ProcessPoolExecutor() as pool:
        parts = [null_rows(pool, args.runs, args.only)]
        parts += [launch_rows(pool, args.hosts)] if args.only in ("", "launch") else []
        parts += [loader_rows(pool, args.loaders)] if args.only in ("", "dataloader") else []
        for part in parts:
            for line in part:
                print(*line, sep=" | ", file=sys.stderr, flush=True)
                lines.append(line)
    print(Table("hwdiag's decisions, simulated", ("What", "Target", "Measured", "Reached"), tuple(lines)).to_text())


if __name__ == "__main__":
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # for the processes of the pool
    main()
