"""Error rates of ``hwdiag fleet`` in simulated fleets: how many have a false alarm, how many losses are found.

``python -m benchmarks.fleet_alarms`` makes records in memory: 40 hosts of one kind, five workloads, three dates. Speeds
scatter log-normally by 2 % from host to host, and by 2 % from run to run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np
from scipy.stats import beta

from hwdiag.compare.fleet.fleet import fleet_of
from hwdiag.host.identity import Identity
from hwdiag.record.row import RecordRow, Speed

DATES = ("2026-11-01T02:00:00Z", "2026-11-15T02:00:00Z", "2026-12-01T02:00:00Z")
AT = datetime(2026, 12, 1, 12, tzinfo=timezone.utc)
HOSTS, WORKLOADS, SPREAD, OWN = 40, 5, 0.02, 0.005


def record_row(host: int, at: str, seconds: Sequence[float]) -> RecordRow:
    """Return one record of a host."""
    identity = Identity(cpu="CPU", sockets=1, cores=64, threads=128, nodes=1, memory_bytes=2**38, machine=f"id{host}")
    speeds = tuple(
        Speed(
            workload=f"w{i}", version="1", family="compute", device="cpu", work=1e9, seconds=s, low=s * (1 - OWN),
            high=s * (1 + OWN), processes=12,
        )
        for i, s in enumerate(seconds)
    )  # fmt: skip
    return RecordRow(
        location=f"/n{host}/{at}", name=f"n{host}", host_key=identity.key, memory_bytes=2**38, started_at=at,
        schema_version=2, versions={}, cpu="CPU", cores=64, identity=identity, facts={}, speeds=speeds,
    )  # fmt: skip


def remarked(rng: np.random.Generator, loss: float, always: bool) -> tuple[bool, bool]:
    """Return whether a fleet's one host that lost speed was found, and whether anything was said of the others.

    ``always``: it was slow on all dates; else on the last alone.
    """
    own = np.exp(rng.normal(0, SPREAD, (HOSTS, WORKLOADS)))
    rows = []
    for date in DATES:
        seconds = own * np.exp(rng.normal(0, SPREAD, (HOSTS, WORKLOADS)))
        if always or date == DATES[-1]:
            seconds[0] /= 1 - loss
        rows += [record_row(i, date, each.tolist()) for i, each in enumerate(seconds)]
    found = fleet_of(rows, (), (), min_effect=0.05, now=AT)
    said = {host.name for host in found.hosts if host.remarks}
    return "n0" in said, bool(said - {"n0"})


def share(count: int, of: int) -> str:
    """Return a share with its 95 % interval (Clopper & Pearson 1934)."""
    low = beta.ppf(0.025, count, of - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, of - count) if count < of else 1.0
    return f"{count / of:.1%} ({low:.1%} to {high:.1%})"


def main() -> int:
    """Print the rates."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.fleet_alarms", description=__doc__)
    words.add_argument("--fleets", type=int, default=300)
    words.add_argument("--seed", type=int, default=1)
    args = words.parse_args()
    rng = np.random.default_rng(args.seed)
    print(f"{args.fleets} fleets each")
    for loss in (0.0, 0.1, 0.15, 0.2):
        for always in (False, True) if loss else (False,):
            results = [remarked(rng, loss, always) for _ in range(args.fleets)]
            alarms = sum(other or (not loss and own) for own, other in results)
            what = "no loss" if not loss else f"a loss of {loss:.0%} {'on all dates' if always else 'on the last date'}"
            found = "" if not loss else f"found {share(sum(own for own, _ in results), args.fleets)}, "
            print(f"{what}: {found}a false alarm in {share(alarms, args.fleets)} of the fleets", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
