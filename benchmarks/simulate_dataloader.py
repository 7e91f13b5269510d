"""How far the search for a DataLoader's setting can be trusted: ``python -m benchmarks.simulate_dataloader``.

100 hosts that are not there, of 2 to 128 CPUs, a third each bound by the disk, by decoding and by the training process.
Seeds are fixed: the same code gives the same table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from hwdiag.dataloader.budget import BUDGETS
from hwdiag.dataloader.run import DECODE_SHARE, EXTRA_SHARE
from hwdiag.dataloader.search import DEFAULT, Races, find_setting, usable_cpus
from hwdiag.report.table import Table
from tests.simulation.virtual_loader import BOUNDS, VirtualTrials, random_loader

HOSTS = 100
MIN_EFFECT = 0.03
NOISES = (0.01, 0.03)
"""Of one trial; on the two cores that hwdiag is written on it is 3 to 5 %."""
WITHIN = 0.05
STANDARD = BUDGETS["standard"]
BEFORE_S = 15.0
"""What comes before the search, beside the decoders."""


@dataclass(frozen=True)
class Regret:
    """How a search ended on a host of which everything is known."""

    bound: str
    cpus: int
    behind: float
    """Time under the setting that is recommended over the least possible, less 1."""
    seconds: float
    trials: int
    exhaustive: int
    """Settings of an exhaustive search, each of which would take a trial at least."""


def regret(seed: int, noise: float) -> Regret:
    """Search on one host."""
    loader = random_loader(seed)
    trials = VirtualTrials(loader, noise, STANDARD.window_s, STANDARD.warmup_s, seed)
    races = Races(trials.run, lambda s: "" if s.makes_sense else "no meaning", seed)
    decision = find_setting(
        loader.questions,
        races,
        budget_s=(1 - DECODE_SHARE - EXTRA_SHARE) * STANDARD.total_s - BEFORE_S,
        min_effect=MIN_EFFECT,
        rounds=STANDARD.rounds,
        most_pairs=STANDARD.most_pairs,
        clock=lambda: trials.now,
    )
    chosen = decision.launch if decision.verdict == "better" else DEFAULT
    least, count = loader.least()
    behind = loader.seconds(chosen) / least - 1
    return Regret(loader.bound, usable_cpus(loader.host), behind, trials.now, trials.done, count)


def rows() -> Iterator[Sequence[str]]:
    """One a noise, for all hosts and for each that is bound by something."""
    for noise in NOISES:
        with ProcessPoolExecutor() as pool:
            found = list(pool.map(partial(regret, noise=noise), range(HOSTS)))
        for bound in ("any", *BOUNDS):
            some = [f for f in found if bound in ("any", f.bound)]
            behind = [f.behind for f in some]
            half, most = np.quantile(behind, [0.5, 0.95])
            within = sum(b <= WITHIN for b in behind)
            share = max(f.trials / f.exhaustive for f in some)
            longest = max(f.seconds for f in some)
            reached = "yes" if within >= 0.95 * len(some) else "NO"
            yield (
                f"{noise:.0%}",
                bound,
                f"{within} of {len(some)}",
                reached,
                f"{half:.1%}",
                f"{most:.1%}",
                f"{share:.1%}",
                f"{longest:.0f} s",
            )


def main() -> None:
    """Print the table."""
    header = ("Noise", "Bound by", "Within 5 %", "95 % of them", "Median", "95th", "Trials, of all", "Longest")
    caption = "The search for a DataLoader's setting, behind the best of all, on hosts that are not there"
    print(Table(caption, header, tuple(map(tuple, rows())), frozenset(range(4, 8))).to_text())


if __name__ == "__main__":
    main()
