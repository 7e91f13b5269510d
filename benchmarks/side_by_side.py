"""The Launch that the search chose, beside what others advise, all in turns in one run.

    .venv/bin/python benchmarks/side_by_side.py [--workload gpt2] [--pairs 12] [--exhaustive]

Rivals: today's default; the environment of a widely copied guide for dual Xeons; ``torch.backends.xeon.run_cpu`` with
its default advice; with ``--exhaustive`` also the best of every combination of the search's own options, each measured
once and the best of them again (it takes long). The search may take what a vendor does not support, as a person may
choose.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hwdiag.measure.compare import pair
from hwdiag.measure.questions import questions
from hwdiag.measure.search import Question

from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.model import Measurement, Workload
from hwdiag.experiment.statistics import geometric_mean, median_interval
from hwdiag.experiment.workloads import catalogue
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process.launch import Launch, MemoryPolicy
from hwdiag.process.model import Software
from hwdiag.process.software import probe_software
from hwdiag.report.progress import terminal_progress
from hwdiag.report.table import Table
from hwdiag.tune.dispatch import build_vendor_check
from hwdiag.tune.runtime import find_allocators
from hwdiag.tune.tune import DEFAULT, tune

NEAREST = 10
"""Combinations that are measured again, so often:"""
AGAIN = 4


def guide(software: Software) -> Launch:
    """What the guide sets on whatever host: eight threads bound close, tcmalloc, and variables that nothing reads.

    As variables, which nobody verifies: where torch multiplies by MKL, that keeps it from eight threads on two CPUs.
    """
    tcmalloc = next((a for a in find_allocators(software.prefix) if "tcmalloc" in a.name), None)
    ignored = {"TORCH_NUM_THREADS": "8", "TORCH_DISABLE_AVX2": "1", "TORCH_DISABLE_AVX512": "1"}
    env = {"OMP_NUM_THREADS": "8", "OMP_PROC_BIND": "close", "OMP_PLACES": "cores", **ignored}
    return Launch(allocator=tcmalloc, env=env)


def run_cpu(host: Host) -> Launch:
    """``python -m torch.backends.xeon.run_cpu`` on a host of one node: its cores and its memory, a thread each."""
    cpus = tuple(core[0] for core in host.usable_cores)
    memory = MemoryPolicy(mode="bind", nodes=(host.numa[0].id,)) if len(host.numa) == 1 else None
    return Launch(threads=len(cpus), cpus=cpus, memory=memory)


def combinations(asked: Sequence[Question]) -> list[Launch]:
    """Every combination of the options, one or none of each question."""
    found = []
    for chosen in itertools.product(*((None, *q.options) for q in asked)):
        launch = DEFAULT
        for change in filter(None, chosen):
            launch = launch.plus(change)
        found.append(launch)
    return found[1:]


def best_of_all(campaign: Campaign, asked: Sequence[Question], workloads: Sequence[Workload]) -> Launch:
    """The fastest of all combinations: each measured once, and those that looked best again, as one block's luck
    makes the first of many."""
    every = combinations(asked)
    first = campaign.run([DEFAULT, *every], workloads, "screen")
    nearest = fastest_of(every, first, workloads)[:NEAREST]
    again = [m for _ in range(AGAIN) for m in campaign.run([DEFAULT, *nearest], workloads, "screen")]
    best = fastest_of(nearest, again, workloads)[0]
    gain = geometric_mean(speedups(again, best, workloads))
    print(f"exhaustive search: {len(every)} combinations; measured again, the fastest looked like {gain:.2f}x")
    return best.model_copy(update={"name": f"exhaustive: {best.name}"})


def fastest_of(launches: Sequence[Launch], seen: Sequence[Measurement], workloads: Sequence[Workload]) -> list[Launch]:
    """Those that ran, the fastest first."""
    gains = {launch.name: speedups(seen, launch, workloads) for launch in launches}
    there = [launch for launch in launches if gains[launch.name]]
    return sorted(there, key=lambda launch: geometric_mean(gains[launch.name]), reverse=True)


def speedups(seen: Sequence[Measurement], launch: Launch, workloads: Sequence[Workload]) -> tuple[float, ...]:
    """Over today's default, on all the workloads together."""
    return pair(seen, launch.name, "overall", [w.name for w in workloads]).ratios


def main() -> None:
    """Search, then measure all rivals together, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="gpt2", help="what is to be fast (default: gpt2)")
    parser.add_argument("--pairs", type=int, default=12, help="pairs of processes for each rival (default: 12)")
    parser.add_argument("--exhaustive", action="store_true", help="with the best of all combinations")
    args = parser.parse_args()
    host, software = read_host(Root.live()), probe_software(sys.executable)
    workloads = [w for w in catalogue(host) if w.name == args.workload]
    with tempfile.TemporaryDirectory() as folder:
        asked = questions(
            host,
            software,
            allocators=find_allocators(software.prefix),
            vendor_check=build_vendor_check(Path(folder)),
        )
        campaign = Campaign(
            sys.executable, BUDGETS["standard"], seed=1, child_timeout_s=120, progress=terminal_progress(sys.stderr)
        )
        tuned = tune(campaign, asked, workloads, [args.workload], 0.03, risky=True)
        took = campaign.budget.total_s - campaign.remaining_s
        chosen = next((c.candidate for c in tuned.comparisons if c.phase == "confirm" and c.verdict == "better"), None)
        ours = next((launch for launch in tuned.launches if launch.name == chosen), DEFAULT)
        rivals = [ours.model_copy(update={"name": "hwdiag's choice"}), guide(software), run_cpu(host)]
        if args.exhaustive:
            rivals.append(best_of_all(campaign, asked, workloads))
        seen = [m for _ in range(args.pairs) for m in campaign.run([DEFAULT, *rivals], workloads, "confirm")]
    print(f"the search took {took:.0f} s and chose: {ours.describe()}")
    rows = []
    for launch in rivals:
        ratios = speedups(seen, launch, workloads)
        found = median_interval(ratios) if ratios else None
        figure = "failed" if found is None else f"{found.median:.2f}x ({found.low:.2f} to {found.high:.2f})"
        rows.append((launch.name, launch.describe(), figure, str(len(ratios))))
    header = ("Launch", "It sets", f"Speed-up on {args.workload} over today's default", "Pairs")
    print(Table("Side by side, in turns", header, tuple(rows)).to_text())


if __name__ == "__main__":
    main()
