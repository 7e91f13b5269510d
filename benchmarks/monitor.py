"""What does watching cost? ``python -m benchmarks.monitor``.

A simulated hour at 2 samples a second of a host of 64 CPUs and 8 GPUs (files in memory made of real dumps, a stand-in
for NVML); then ten seconds of this machine as it is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.monitor.measure import monitor
from hwdiag.monitor.model import Monitored
from hwdiag.process.clock import Clock
from hwdiag.report.format import disk_size, percent
from hwdiag.report.table import Table
from tests.host.conftest import unpack
from tests.simulation.large_host import DUMP, LargeHost, Simulated

HZ, SECONDS = 2, 3600.0
LIVE_S = 10.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0, help="simulated hours of the large host (default: 1)")
    hours = parser.parse_args().hours
    sizes: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        large = LargeHost(unpack(DUMP, Path(folder)), Path(folder, "large"))
        sampler = Sampler(large.root(), nvml=large.nvml())

        def see(seconds: float, _: Sequence[float]) -> None:
            if len(sizes) < seconds // 60:
                sizes.append((seconds, psutil.Process().memory_info().rss))

        host, seconds = read_host(Root.live()), SECONDS * hours
        hour, _ = monitor(sampler, Path(folder, "h.parquet"), host, name="-", hz=HZ, seconds=seconds,
                          clock=Simulated(), see=see)  # fmt: skip
        sampler.close()
        here = Sampler(Root.live())
        live, _ = monitor(here, Path(folder, "l.parquet"), host, name="-", hz=HZ, seconds=LIVE_S, clock=Clock())
        here.close()
    early, late = (max(r for s, r in sizes if first <= s / seconds <= first + 1 / 3) for first in (0, 2 / 3))
    grown = late - early
    rows = [
        row(f"{hours:g} h of 64 CPUs and 8 GPUs, simulated", hour),
        row(f"{LIVE_S:g} s of this machine", live),
        ("its memory, last third over the first", "flat", f"{grown / 2**20:+.1f} MiB", yes(grown < 2 << 20)),
        ("its file", "-", disk_size(hour.cost.file_bytes), "-"),
    ]
    print(Table(f"Watching at {HZ} samples a second", ("What", "Target", "Measured", "Reached"), rows).to_text())


def row(what: str, done: Monitored) -> tuple[str, str, str, str]:
    each = done.cost.sampling_cpu_s / done.samples * 1e3
    columns = f"{len(done.columns)} columns, {each:.2f} ms of CPU a sample"
    return what, "< 1 % of a core", f"{percent(done.cost.share)} ({columns})", yes(done.cost.share < 0.01)


def yes(reached: bool) -> str:
    return "yes" if reached else "NO"


if __name__ == "__main__":
    main()
