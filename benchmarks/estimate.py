"""What counting and comparing cost, and how far off estimates are, as one table; ``--check`` also checks them here.

The check takes some twenty minutes and says nothing on a machine that others keep busy.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hwdiag.agent.nets import NAMES
from hwdiag.compare.steps import RecordComparison, load
from hwdiag.estimate.check import check
from hwdiag.estimate.constants import fitted_constants
from hwdiag.estimate.model import MEAN_TARGET, WORST_TARGET
from hwdiag.estimate.show import check as check_section
from hwdiag.experiment.net_count import NetSpec, count_nets
from hwdiag.host import Root, read_host
from hwdiag.report.progress import lines
from hwdiag.report.table import Table

RECORDS = 10_000
HOSTS = 2_500
MEDIAN, NINETIETH, RANKED = 0.20, 0.45, 0.95
EXAMPLE = Path(__file__).resolve().parents[1] / "outputs" / "example" / "record.json"
Row = tuple[str, str, str, str]
"""What, its target, what was measured, and whether that reaches it."""


def main() -> None:
    """Run all and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="also check the estimator on this host")
    options = arguments.parse_args()
    rows = [*counting(), *published(), *comparing()]
    if options.check:
        checked, _ = check(sys.executable, read_host(Root.live()), progress=lines(sys.stderr))
        print(check_section(checked), end="\n\n")
        target = f"<= {MEAN_TARGET:.0%} mean, {WORST_TARGET:.0%} worst"
        reached = "yes" if checked.verdict.startswith("The estimator holds") else checked.verdict.partition(":")[0]
        rows.append(
            ("estimates on this host", target, f"{checked.mean_error:.1%}, {checked.worst.error:+.1%}", reached)
        )
    print(Table("estimating and comparing", ("What", "Target", "Measured", "Reached"), rows))


def counting() -> Iterator[Row]:
    """Seconds and memory of counting each listed net; the child's imports are on top."""
    started = time.perf_counter()
    counts = count_nets(sys.executable, [NetSpec(net=name) for name in NAMES])
    whole = time.perf_counter() - started
    slowest = max(counts, key=lambda c: c.took_s or 0)
    took, used = slowest.took_s or 0, max(c.cpu_s or 0 for c in counts)
    said = f"{took:.2f} s ({slowest.spec.net}); most CPU {used:.2f} s"
    yield "slowest count", "< 3 s", said, "yes" if took < 3 else "no"
    imports = whole - sum(c.took_s or 0 for c in counts)
    yield f"imports, once for all {len(counts)} nets", "", f"{imports:.1f} s", ""
    most = max(c.peak_rss_bytes or 0 for c in counts)
    yield "memory of counting, torch included", "< 1 GB", f"{most / 1e9:.2f} GB", "yes" if most < 1e9 else "no"


def published() -> Iterator[Row]:
    """The errors on published speeds, each device left out, of each group of devices."""
    found = fitted_constants()
    for group in ("CPUs", "datacenter GPUs", "consumer GPUs and SoCs"):
        e = next(e for e in found.evidence if e.device_class == group and e.work is None)
        good = e.median <= MEDIAN and e.ninetieth <= NINETIETH
        said = f"{e.median:.1%}, {e.ninetieth:.1%} ({e.points} points, {e.devices} devices)"
        yield f"{group}: median error, nine of ten", f"<= {MEDIAN:.0%}, {NINETIETH:.0%}", said, "yes" if good else "no"
    good = found.ranked >= RANKED
    yield "order of pairs 25 % apart", f">= {RANKED:.0%}", f"{found.ranked:.1%}", "yes" if good else "no"


def comparing() -> Iterator[Row]:
    """Ten thousand records of the example's host, four of each of many others."""
    values = {**json.loads(EXAMPLE.read_text()), "findings": [], "checks": []}
    values["studies"] = {"tune": {**values["studies"]["tune"], "measurements": [], "comparisons": []}}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(RECORDS):
            host, time_ = i % HOSTS, i // HOSTS
            system = {**values["host"]["system"], "machine_hash": f"{host:064}"}
            one = {**values, "name": f"host{host}", "started_at": f"2026-11-0{1 + time_}T10:00:00Z"}
            one["host"] = {**values["host"], "system": system}
            path = Path(folder) / "outputs" / f"host{host}" / str(time_) / "record.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(one))
        params = load({"records": [f"{folder}/outputs"]})
        for what, target in (
            (f"{RECORDS:,} records, read for the first time", ""),
            ("the same, once indexed", "< 5 s"),
        ):
            started, used = time.perf_counter(), time.process_time()
            found = RecordComparison(params, keep=Path(folder) / "index.parquet")
            for section in (found.overview(), found.differences(), found.speeds(), found.histories()):
                repr(section)
            took, used = time.perf_counter() - started, time.process_time() - used
            good = ("yes" if took < 5 else "no") if target else ""
            yield what, target, f"{took:.1f} s ({used:.1f} s of CPU)", good


if __name__ == "__main__":
    main()
