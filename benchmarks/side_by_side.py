"""The Launch that the search chose, beside what others advise, all in turns in one run.

    python -m benchmarks.side_by_side [--workload gpt2] [--pairs 12] [--exhaustive]

Rivals: today's default; the environment of a widely copied guide for dual Xeons; ``torch.backends.xeon.run_cpu`` with
its default advice; with ``--exhaustive`` also the best of every combination of the search's own levers, each
measured once and the best of them again (it takes long). The search may take what a vendor does not support, as a
person may choose.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.exhaustive import blocks_beside, combinations, fastest, gain, measured_once
from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.laboratory import Scope, speedups
from hwdiag.experiment.lever import BASELINE, Factor, Lever, Plan
from hwdiag.experiment.statistics import ratio_interval
from hwdiag.experiment.workloads import catalogue
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process.launch import Launch, MemoryPolicy
from hwdiag.process.model import Software
from hwdiag.process.software import probe_software
from hwdiag.report.progress import lines
from hwdiag.report.table import Table
from hwdiag.tune.dispatch import build_vendor_check
from hwdiag.tune.factors import factors
from hwdiag.tune.runtime import find_allocators
from hwdiag.tune.tune import Tuned, tune

NEAREST, AGAIN = 10, 4
"""Combinations that are measured again, and how often."""


def advice(name: str, launch: Launch) -> Plan:
    """Return what somebody advises as a plan."""
    return Plan.of(Lever(id=name.replace(" ", "-"), factor="advice", title=name, launch=launch))


def guide(software: Software) -> Plan:
    """Return what the guide sets on whatever host: eight threads bound close, tcmalloc, variables that nothing reads.

    As variables, which nobody verifies: where torch multiplies by MKL, that keeps it from eight threads on two CPUs.
    """
    tcmalloc = next((a for a in find_allocators(software.prefix) if "tcmalloc" in a.name), None)
    ignored = {"TORCH_NUM_THREADS": "8", "TORCH_DISABLE_AVX2": "1", "TORCH_DISABLE_AVX512": "1"}
    env = {"OMP_NUM_THREADS": "8", "OMP_PROC_BIND": "close", "OMP_PLACES": "cores", **ignored}
    return advice("a guide's environment", Launch(allocator=tcmalloc, env=env))


def run_cpu(host: Host) -> Plan:
    """Return ``python -m torch.backends.xeon.run_cpu`` on a host of one node: its cores, its memory, a thread each."""
    cpus = tuple(core[0] for core in host.usable_cores)
    memory = MemoryPolicy(mode="bind", nodes=(host.numa[0].id,)) if len(host.numa) == 1 else None
    return advice("xeon.run_cpu", Launch(threads=len(cpus), cpus=cpus, memory=memory))


def of_launch(factor: Factor) -> Factor:
    """Return a factor without what it changes within the process."""
    return replace(factor, levers=tuple(lever for lever in factor.levers if not lever.techniques))


def chosen(tuned: Tuned) -> Plan:
    """Return what the search recommends: the surest of what is better, else today's way."""
    better = [c for c in tuned.comparisons if c.phase == "confirm" and c.verdict == "better"]
    best = max(better, key=lambda c: c.speedup.low, default=None)
    return next(plan for plan in tuned.plans if plan.id == (best.candidate if best else BASELINE))


def main() -> None:
    """Search, then measure all rivals together, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="gpt2", help="what is to be fast (default: gpt2)")
    parser.add_argument("--pairs", type=int, default=12, help="pairs of processes for each rival (default: 12)")
    parser.add_argument("--exhaustive", action="store_true", help="with the best of all combinations")
    parser.add_argument("--budget", default="standard", choices=tuple(BUDGETS), help="of the search")
    args = parser.parse_args()
    host, software = read_host(Root.live()), probe_software(sys.executable)
    (workload,) = (w for w in catalogue(host) if w.name == args.workload)
    with tempfile.TemporaryDirectory() as folder:
        known = [
            of_launch(factor)
            for factor in factors(
                host,
                software,
                [workload],
                allocators=find_allocators(software.prefix),
                vendor_check=build_vendor_check(Path(folder)),
            )
        ]
        known = [factor for factor in known if factor.levers]
        campaign = Campaign(
            sys.executable, BUDGETS[args.budget], seed=1, child_timeout_s=120, progress=lines(sys.stderr)
        )
        ours = chosen(tune(campaign, known, [workload], [workload.name], 0.03, risky=True))
        took = campaign.budget.total_s - campaign.remaining_s
        scope = Scope(workload.name, (workload.name,))
        rivals = {"hwdiag's choice": ours, "a widely copied guide": guide(software), "xeon.run_cpu": run_cpu(host)}
        if args.exhaustive:
            every = combinations([factor.levers for factor in known])
            once = measured_once(campaign, every, workload)
            best = fastest(campaign, once, every, workload, nearest=NEAREST, again=AGAIN)
            print(
                f"exhaustive: {len(every)} combinations; the best looked like {gain(once, best, scope):.2f}x at first"
            )
            rivals["best of all combinations"] = best
        blocks = blocks_beside(campaign, [*rivals.values()], workload, args.pairs)
    print(f"the search took {took:.0f} s and chose: {ours.launch.describe()}")
    rows = []
    for name, plan in rivals.items():
        ratios = speedups(blocks, plan.id, scope)
        found = ratio_interval(ratios) if ratios and not plan.is_default else None
        figure = f"{found.median:.2f}x ({found.low:.2f} to {found.high:.2f})" if found else "the same, or failed"
        rows.append((name, plan.launch.describe(), figure, str(len(ratios))))
    header = ("Launch", "It sets", f"Speed-up on {args.workload} over today's default", "Pairs")
    print(Table("Side by side, in turns", header, tuple(rows)).to_text())


if __name__ == "__main__":
    main()
