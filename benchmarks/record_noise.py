"""Record how far processes differ here that are alike: ``python -m benchmarks.record_noise > noise.json``.

Six processes of today's default take turns in each block, as the candidates of a search do, and tell their medians;
``other_cpu`` is how many CPUs others kept busy meanwhile. What ``simulate.py`` draws its noise from. Ctrl-C ends it
with the blocks so far.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time

from tqdm import trange

from benchmarks.twins import twins
from hwdiag.core.text import now
from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import MOST_AT_ONCE, Campaign
from hwdiag.experiment.workloads import matmul
from hwdiag.host import Root, read_host

BLOCKS = 70
TWINS = twins(MOST_AT_ONCE)
WORKLOADS = (matmul("float32", 4, n=1024),)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=BLOCKS, help=f"blocks of six processes (default: {BLOCKS})")
    asked = parser.parse_args().blocks
    host = read_host(Root.live())
    budget = BUDGETS["standard"].model_copy(update={"total_s": 1e9})
    campaign = Campaign(sys.executable, budget, seed=1, child_timeout_s=120)
    block_s = []
    with contextlib.suppress(KeyboardInterrupt):
        for _ in trange(asked, unit="block"):
            start = time.monotonic()
            campaign.run(TWINS, WORKLOADS, "noise")
            block_s.append(round(time.monotonic() - start, 2))
    blocks = range(1, len(block_s) + 1)
    medians = {
        w.name: [
            [float(f"{m.median_s:.5g}") for m in campaign.measurements if (m.block, m.workload) == (b, w.name)]
            for b in blocks
        ]
        for w in WORKLOADS
    }
    lines = [
        f'"how": "benchmarks/record_noise.py: for each workload and block the medians, in seconds, of {len(TWINS)} '
        'processes of the default that took turns, at the turns of budget standard, while others used the machine too"',
        f'"when": "{now()}"',
        f'"host": {json.dumps(f"{host.cpu.model}, {len(host.usable_cpus)} CPUs")}',
        f'"other_cpu": {json.dumps([other_cpu(campaign, b) for b in blocks])}',
        f'"block_s": {json.dumps(block_s)}',
        *(f'"{name}": [\n  {rows(values)}\n]' for name, values in medians.items()),
    ]
    print("{\n" + ",\n".join(lines) + "\n}")


def other_cpu(campaign: Campaign, block: int) -> float | None:
    """CPUs kept busy by others in this block."""
    seen = next(m.disturbance.other_cpu for m in campaign.measurements if m.block == block)
    return None if seen is None else round(seen, 2)


def rows(values: list[list[float]]) -> str:
    """One block a line."""
    return ",\n  ".join(json.dumps(row) for row in values)


if __name__ == "__main__":
    main()
