"""A/A: today's default compared with itself on this machine, again and again. How often is "change it" the answer?

    python -m benchmarks.against_itself [--comparisons 300] [--pairs 8]

Each process measures all the workloads below, small ones so that it does not take all day; six processes take turns in
a block and give three pairs that share nothing. A comparison is ``--pairs`` pairs from as many blocks, judged by the
rule of the product. Comparisons of different workloads share their processes, as they do in the product.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator

from benchmarks.twins import twins
from hwdiag.experiment.budget import Budget
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.interleaved import Turn
from hwdiag.experiment.judge import judge
from hwdiag.experiment.laboratory import Block, Scope, blocks_of, speedups
from hwdiag.experiment.model import Workload
from hwdiag.experiment.statistics import faster_p, ratio_interval, spread
from hwdiag.experiment.workloads import catalogue
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.report.progress import lines

SIZES = {
    "matmul": {"n": 512},
    "onednn": {"n": 512},
    "numpy": {"n": 512},
    "conv2d": {"batch": 2, "channels": 3, "side": 112, "filters": 64, "kernel": 7, "stride": 2},
    "copy": {"elements": 4_000_000},
    "triad": {"elements": 4_000_000},
    "resnet18": {"batch": 1, "side": 112},
}
PLANS = twins(6)
PAIRS = [*zip(PLANS[::2], PLANS[1::2], strict=True)]
BUDGET = Budget(
    total_s=1,
    noise_blocks=0,
    rounds=0,
    most_pairs=0,
    finalists=0,
    turn=Turn(warmup_s=0.02, window_s=0.005, windows=6, min_samples=1),
)
MIN_EFFECT = 0.03


def small_workloads() -> list[Workload]:
    """Those of the product, small enough for thousands of processes."""
    full = catalogue(read_host(Root.live()))
    return [w.model_copy(update={"size": SIZES[w.kind]}) for w in full if w.kind in SIZES]


def ratios_of(block: Block, workloads: list[Workload]) -> Iterator[tuple[str, float]]:
    """Yield a comparison's name and one ratio for it, from one block."""
    for left, right in PAIRS:
        for w in workloads:
            for ratio in speedups([block], right.id, Scope(w.name, (w.name,)), left.id):
                yield f"{w.name} {left.id}", ratio


def main() -> int:
    """Measure, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=300, help="how many at least (default: 300)")
    parser.add_argument("--pairs", type=int, default=8, help="pairs of processes for each (default: 8)")
    args = parser.parse_args()
    workloads = small_workloads()
    campaign = Campaign(sys.executable, BUDGET, seed=1, child_timeout_s=300)
    progress = lines(sys.stderr)
    verdicts: Counter[str] = Counter()
    spreads: list[float] = []
    while sum(verdicts.values()) < args.comparisons:
        ratios: dict[str, list[float]] = defaultdict(list)
        for _ in range(args.pairs):
            done = sum(verdicts.values())
            progress(f"{done} of {args.comparisons} comparisons", done / args.comparisons)
            (block,) = blocks_of(campaign.run(PLANS, workloads, "noise"))
            for name, ratio in ratios_of(block, workloads):
                ratios[name].append(ratio)
        for values in ratios.values():
            verdicts[judge(ratio_interval(values), faster_p(values), MIN_EFFECT)[0]] += 1
            spreads.append(spread(values))
    total = sum(verdicts.values())
    print(f"A/A on this machine: {total} comparisons of today's default with itself, {args.pairs} pairs each")
    for verdict, count in verdicts.most_common():
        print(f"  {verdict:10} {count:4}  {count / total:6.1%}")
    print(f"spread of a pair's ratio: median {sorted(spreads)[len(spreads) // 2]:.1%}, largest {max(spreads):.1%}")
    print(f'"change it" in {verdicts["better"] / total:.1%} (target: at most 1 %)')
    return 0 if verdicts["better"] <= 0.01 * total else 1


if __name__ == "__main__":
    sys.exit(main())
