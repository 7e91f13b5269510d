"""What hwdiag finds by combining levers, beside an exhaustive grid: ``python -m benchmarks.levers``.

For each net two searches at standard budget, for unchanged results and in fewer bits; then every sensible combination
of threads, heap, precision and layout, each measured once and the best of them again. Both choices of the search and
both best of the grid meet today's way at the end in one interleaved run, of which the table's ratios are. The machine
should have nothing else to do. ``--small`` takes small nets and little time, to see that it works.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.exhaustive import combinations, fastest, measured_once
from hwdiag.core.choices import Accuracy
from hwdiag.devices.nets import NETS
from hwdiag.experiment.budget import BUDGETS, Budget
from hwdiag.experiment.campaign import Campaign, at_once
from hwdiag.experiment.interleaved import Turn
from hwdiag.experiment.laboratory import Block, Scope, blocks_of, speedups
from hwdiag.experiment.lever import BASELINE, DEFAULT, Factor, Plan, within
from hwdiag.experiment.model import Measurement, Workload
from hwdiag.experiment.net_facts import NetFacts
from hwdiag.experiment.statistics import ratio_interval
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process.model import Software
from hwdiag.process.software import probe_software
from hwdiag.report.progress import lines
from hwdiag.report.table import Table
from hwdiag.tune.factors import factors
from hwdiag.tune.tune import tune

GRID = ("placement", "heap", "precision", "layout")
"""Factors whose combinations the grid has; those of placement are the thread counts alone."""
NEAREST, AGAIN = 6, 4
"""Combinations of each accuracy that are measured again, and how often."""
ACCURACIES: tuple[Accuracy, ...] = ("same", "reduced")
SMALL = {
    "bert-base": {"batch": 1, "tokens": 16},
    "resnet50": {"batch": 1, "side": 64},
    "gpt2": {"batch": 1, "tokens": 16},
    "unet-block": {"batch": 1, "side": 8},
    "resnet18": {"batch": 4, "side": 48},
}


@dataclass(frozen=True)
class Task:
    """A net in one mode, and what levers have a hold on."""

    workload: Workload
    facts: NetFacts


def tasks(small: bool) -> dict[str, Task]:
    """Return the nets of the issue, by their names on the command line."""
    found = {
        "bert-base": ("bert-base", "inference", NetFacts(is_net=True, attention=True, linear_layers=True)),
        "resnet50": ("resnet50", "inference", NetFacts(is_net=True, convolutions=True)),
        "gpt2-decode": ("gpt2", "decode", NetFacts(is_net=True, attention=True, linear_layers=True)),
        "unet-block": ("unet-block", "inference", NetFacts(is_net=True, convolutions=True, attention=True)),
        "resnet18-training": ("resnet18", "training", NetFacts(is_net=True, convolutions=True, training=True)),
    }
    return {
        name: Task(workload_of(name, net, mode, SMALL[net] if small else None), facts)
        for name, (net, mode, facts) in found.items()
    }


def workload_of(name: str, net: str, mode: str, size: dict[str, int] | None) -> Workload:
    """Return a net in this mode as a workload."""
    usual = NETS[net].training if mode == "training" else NETS[net].inference
    size = size or ({"batch": 1, "tokens": 64} if mode == "decode" else usual)
    about = {"name": name, "title": name, "kind": mode, "family": "model", "dtype": "float32", "what": net}
    return Workload.model_validate({**about, "size": size, "flops": 0, "bytes": 0})


def grid(known: Sequence[Factor]) -> list[Plan]:
    """Return every combination of the grid's levers, or none of each factor."""
    by_name = {factor.name: factor.levers for factor in known}
    by_name["placement"] = tuple(x for x in by_name.get("placement", ()) if x.launch.cpus is None)
    return [p for p in combinations(by_name.get(name, ()) for name in GRID) if within(p.accuracy, "reduced")]


def searched(task: Task, host: Host, budget: Budget, known: Sequence[Factor], accuracy: Accuracy) -> tuple[Plan, float]:
    """Return what a search recommends for this accuracy, and how long it took."""
    campaign = campaign_of(host, budget)
    tuned = tune(campaign, known, [task.workload], [task.workload.name], 0.03, accuracy=accuracy)
    able = {plan.id: plan for plan in tuned.plans if within(plan.accuracy, accuracy)}
    better = [c for c in tuned.comparisons if c.phase == "confirm" and c.verdict == "better" and c.candidate in able]
    best = max(better, key=lambda c: c.speedup.low, default=None)
    return able[best.candidate if best else BASELINE], budget.total_s - campaign.remaining_s


def campaign_of(host: Host, budget: Budget) -> Campaign:
    """Return a campaign of fresh processes."""
    return Campaign(
        sys.executable, budget, seed=1, child_timeout_s=300, progress=lines(sys.stderr),
        most=partial(at_once, host),
    )  # fmt: skip


def side_by_side(
    campaign: Campaign, plans: Sequence[Plan], workload: Workload, pairs: int
) -> tuple[list[Block], list[Measurement]]:
    """Measure these plans and today's way in turns, so many times."""
    seen: list[Measurement] = []
    for _ in range(pairs):
        seen += campaign.run([DEFAULT, *dict.fromkeys(p for p in plans if not p.is_default)], [workload], "confirm")
    return blocks_of(seen), seen


def is_of(accuracy: Accuracy, plan: Plan) -> bool:
    """Return whether a plan's results do for this accuracy."""
    return within(plan.accuracy, accuracy)


def rows_of(
    name: str, task: Task, host: Host, software: Software, budget: Budget, pairs: int, *, small: bool
) -> list[tuple[str, ...]]:
    """Return the table's rows for one net."""
    known = factors(host, software, [task.workload], facts=task.facts)
    found = {accuracy: searched(task, host, budget, known, accuracy) for accuracy in ACCURACIES}
    began = time.monotonic()
    campaign = campaign_of(host, budget)
    plans = grid(known)[: 5 if small else None]
    once = measured_once(campaign, plans, task.workload)
    best = {
        accuracy: fastest(
            campaign, once, plans, task.workload, nearest=NEAREST, again=1 if small else AGAIN,
            able=partial(is_of, accuracy),
        )
        for accuracy in ACCURACIES
    }  # fmt: skip
    took = time.monotonic() - began
    whole = [*(plan for plan, _ in found.values()), *best.values()]
    blocks, seen = side_by_side(campaign, whole, task.workload, pairs)
    scope = Scope(task.workload.name, (task.workload.name,))
    rows: list[tuple[str, ...]] = []
    for accuracy, (plan, search_s) in found.items():
        rows.append(
            (
                name,
                accuracy,
                plan.title,
                over(blocks, plan.id, scope, BASELINE),
                best[accuracy].title,
                over(blocks, plan.id, scope, best[accuracy].id, inverse=True),
                error_words(seen, plan.id),
                f"{search_s:.0f} of {took:.0f} s ({len(plans)} combinations)",
            )
        )
    return rows


def over(blocks: Sequence[Block], plan: str, scope: Scope, baseline: str, *, inverse: bool = False) -> str:
    """Return a speed-up with its interval; ``inverse`` gives the plan's time over the baseline's."""
    if plan == baseline:
        return "the same"
    ratios = speedups(blocks, plan, scope, baseline)
    if not ratios:
        return "failed"
    found = ratio_interval([1 / r for r in ratios] if inverse else ratios)
    return f"{found.median:.2f} ({found.low:.2f} to {found.high:.2f})"


def error_words(seen: Sequence[Measurement], plan: str) -> str:
    """Return the largest relative error against float64 that was measured under a plan."""
    errors = [m.max_error for m in seen if m.plan == plan and m.max_error is not None]
    return f"{max(errors):.1e}" if errors else "not measured"


def main() -> None:
    """Search, measure the grid, and print all side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", action="append", choices=tuple(tasks(False)), help="this one alone; may be repeated")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of processes at the end (default: 10)")
    parser.add_argument("--small", action="store_true", help="small nets, little time, a part of the grid")
    args = parser.parse_args()
    host, software = read_host(Root.live()), probe_software(sys.executable)
    budget = BUDGETS["standard"]
    if args.small:
        turn = Turn(warmup_s=0.02, window_s=0.02, windows=2, min_samples=1)
        budget = budget.model_copy(update={"total_s": 30, "noise_blocks": 1, "rounds": 1, "turn": turn})
    rows: list[tuple[str, ...]] = []
    for name in args.net or tasks(False):
        rows += rows_of(name, tasks(args.small)[name], host, software, budget, args.pairs, small=args.small)
        print(*rows[-2:], sep="\n", file=sys.stderr, flush=True)
    header = (
        "Net",
        "Accuracy",
        "hwdiag found",
        "Speed-up over today's way",
        "Best of the grid",
        "Time over the grid's best (<= 1.05)",
        "Error",
        "Search, of the grid",
    )
    print(Table("Levers together, side by side in turns", header, tuple(rows)).to_text())


if __name__ == "__main__":
    main()
