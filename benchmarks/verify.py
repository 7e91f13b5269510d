"""How often ``hwdiag verify`` raises a false alarm, and how much of a loss it sees: ``python -m benchmarks.verify``.

The product's own code measures, in turns that are not there, a record of 17 processes and then a verification, and
judges one by the other. Noise between processes is what ``record_noise.py`` recorded of a quiet machine, or has a known
spread; beyond it, the whole level differs from run to run. Seeds are fixed: the same code gives the same table.
``--real N`` verifies this host N times against a record instead, and prints what came out.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.estimates import estimates
from hwdiag.experiment.model import Workload
from hwdiag.experiment.workloads import resnet18
from hwdiag.parameters.verify import VerifyParams
from hwdiag.process.launch import Launch
from hwdiag.record.row import Speed
from hwdiag.verify.guard import guarded
from hwdiag.verify.speeds import Recorded, alike, judge_speeds, repeated
from tests.simulation.virtual_machine import Noise, VirtualRunner, recorded_noise, spread_by, virtual_campaign

CPUS = 8
OF_RECORD = 17
"""Processes of today's default in a record of the standard budget."""
LEAST = VerifyParams().loss / 100
WORKLOADS = (resnet18(), *(resnet18().model_copy(update={"name": f"resnet18-{n}"}) for n in (2, 3)))
"""Three, as a verification has at most."""
NOISES = {"quiet machine": "quiet", "processes spread by 3 %": 0.03, "processes spread by 5 %": 0.05}
LEVELS = (0.01, 0.02, 0.03)
"""Standard deviations of the level from run to run."""
LOSSES = (0.10, 0.15, 0.20, 0.30)


@dataclass(frozen=True)
class Level:
    """A machine on which an iteration takes so long."""

    each_s: float

    def seconds(self, launch: Launch, techniques: Sequence[str] = ()) -> float:  # noqa: ARG002
        """Return the time of one iteration, without noise."""
        return self.each_s


def noise_named(name: str) -> Noise:
    """Return one of ``NOISES``."""
    kind = NOISES[name]
    return recorded_noise("quiet") if isinstance(kind, str) else spread_by(kind * np.sqrt(2))


def speed(workload: Workload, level: float, noise: Noise, seed: int) -> Speed:
    """Return the speed that a record of a machine of this level has."""
    runner = VirtualRunner(Level(level), noise, seed, CPUS)
    campaign = virtual_campaign(runner, BUDGETS["standard"])
    while len(campaign.measurements) < OF_RECORD:
        campaign.run(alike(1), (workload,), "noise")
    same = [m.model_copy(update={"plan": "default"}) for m in campaign.measurements]
    seconds = estimates(same)[0].seconds
    return Speed(
        workload=workload.name, version="1", family="model", device="cpu", work=workload.flops,
        seconds=seconds.median, low=seconds.low, high=seconds.high, processes=seconds.processes,
    )  # fmt: skip


def verdict(noise_name: str, spread: float, loss: float, seed: int) -> str:
    """Return the worst that one verification says of the speeds: PASS, WARNING, CRITICAL or UNKNOWN."""
    noise, random = noise_named(noise_name), np.random.default_rng(seed)
    then, now = np.exp(spread * random.standard_normal(2))
    recorded = [Recorded(w, speed(w, float(then), noise, 2 * seed + i)) for i, w in enumerate(WORKLOADS)]
    runner = VirtualRunner(Level(float(now) / (1 - loss)), noise, 10**6 + seed, CPUS)
    measurements = repeated(virtual_campaign(runner, BUDGETS["standard"]), WORKLOADS).measurements
    said = [c.status for c in judge_speeds(recorded, measurements, LEAST, CPUS).causes]
    return next((s for s in ("CRITICAL", "WARNING", "UNKNOWN") if s in said), "PASS")


def share(count: int, runs: int) -> str:
    """Return a share with its 95 % upper or two-sided bound, by Clopper and Pearson."""
    from scipy.stats import beta

    low = 0.0 if count == 0 else float(beta.ppf(0.025, count, runs - count + 1))
    high = float(beta.ppf(0.975 if count else 0.95, count + 1, runs - count)) if count < runs else 1.0
    return f"{count / runs:.3%} ({low:.3%} to {high:.3%})"


def table(runs: int, power_runs: int, workers: int) -> None:
    """Print how often each verdict comes."""
    print("| noise | level from run to run | loss | runs | alarm (WARNING or CRITICAL) | UNKNOWN |")
    print("| --- | --- | --- | --- | --- | --- |")
    with ProcessPoolExecutor(workers) as pool:
        for noise in NOISES:
            rows = [(level, 0.0, runs) for level in LEVELS]
            rows += [(0.01, loss, power_runs) for loss in LOSSES] + [(LEVELS[-1], 0.20, power_runs)]
            for level, loss, count in rows:
                ask = partial(verdict, noise, level, loss)
                seen = Counter(pool.map(ask, range(count), chunksize=50))
                alarms = seen["WARNING"] + seen["CRITICAL"]
                told = f"{share(alarms, count)} | {share(seen['UNKNOWN'], count)}"
                print(f"| {noise} | {level:.0%} | {loss:.0%} | {count} | {told} |", flush=True)


def real(runs: int, record: str | None) -> None:
    """Verify this host so often, and print what came out."""
    seen: Counter[str] = Counter()
    took = []
    for _ in range(runs):
        began = time.monotonic()
        found = guarded(VerifyParams(record=record))
        took.append(time.monotonic() - began)
        seen[found.status] += 1
        print(f"{took[-1]:.1f} s: {found.line}", file=sys.stderr)
    print(f"{runs} verifications: {dict(seen)}; seconds: median {np.median(took):.1f}, most {max(took):.1f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="of each row without a loss")
    parser.add_argument("--power-runs", type=int, default=1000, help="of each row with a loss")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--real", type=int, metavar="N", help="verify this host N times instead")
    parser.add_argument("--record", metavar="PATH", help="of --real")
    args = parser.parse_args()
    if args.real:
        real(args.real, args.record)
    else:
        table(args.runs, args.power_runs, args.workers)


if __name__ == "__main__":
    main()
