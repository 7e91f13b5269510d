"""What hwdiag costs, and how its figures compare with bare programs', as one table: ``make bench``.

Everything compared is run interleaved, in fresh processes; a ratio is the median over blocks with its 95 % bootstrap
interval. The two workbook runs take some six minutes; ``--no-runs`` leaves them out. The simulated decisions have a
table of their own, ``python -m benchmarks.simulate``, which takes an hour.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, Turn
from hwdiag.experiment.lever import DEFAULT
from hwdiag.experiment.model import Measurement, Workload
from hwdiag.experiment.statistics import median_interval
from hwdiag.experiment.workloads import gpt2, matmul, memory_workloads
from hwdiag.host import Root, read_host
from hwdiag.host.model import Host
from hwdiag.process.launch import Launch
from hwdiag.report.table import Table

BLOCKS = 12
BARE_MM = """
import time, torch
n = {n}
a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
torch.mm(a, b, out=out)
def once():
    start = time.perf_counter()
    torch.mm(a, b, out=out)
    return time.perf_counter() - start
print(min(once() for _ in range(10)))
"""
"""Ten bare calls after one that warms up; the best of them."""

A = TypeVar("A")
B = TypeVar("B")
Row = tuple[str, str, str, str]
"""What, its target, what was measured, and whether that reaches it."""


def main() -> None:
    """Run all benchmarks and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--no-runs", action="store_true", help="leave out the two workbook runs")
    options = arguments.parse_args()
    host = read_host(Root.live())
    parts: list[Callable[[Host], Iterator[Row]]] = [start_up, parent_cost, bandwidth, matrix_product]
    if not options.no_runs:
        parts.append(workbook_runs)
    rows = [row for part in tqdm(parts, unit="part") for row in part(host)]
    cpu = f"{host.cpu.model}, {len(host.usable_cpus)} CPUs"
    print(Table(f"hwdiag on {cpu}", ("What", "Target", "Measured", "Reached"), tuple(rows)).to_text())


def start_up(_: Host) -> Iterator[Row]:
    """What a person waits for before anything is measured."""
    yield under("import hwdiag, with Python's own start", 0.15, wall([sys.executable, "-c", "import hwdiag"]))
    yield under("hwdiag host", 0.5, wall([sys.executable, "-m", "hwdiag", "host"]))


def wall(command: list[str]) -> list[float]:
    """Seconds that a command takes, over ten fresh processes, after one that warms the page cache."""
    times = []
    for _ in range(11):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return times[1:]


def under(what: str, limit_s: float, times: list[float]) -> Row:
    """A row for a time that should stay below a limit: the median decides, the worst is told."""
    median = statistics.median(times)
    return what, f"< {limit_s:g} s", f"{median:.3f} s (worst {max(times):.3f} s)", yes(median < limit_s)


def parent_cost(host: Host) -> Iterator[Row]:  # noqa: ARG001
    """CPU time that the parent uses itself while processes measure."""
    turn = Turn(warmup_s=0.1, window_s=0.05, windows=60, min_samples=1)
    candidates = [Candidate(Launch(), [gpt2()], check=False) for name in ("default", "again")]
    start, used = time.perf_counter(), time.process_time()
    InterleavedBlock(sys.executable, turn, timeout_s=120).run(candidates, device="cpu", seed=1)
    share = (time.process_time() - used) / (time.perf_counter() - start)
    yield "parent's share of a core while two processes take turns", "< 2 %", f"{share:.2%}", yes(share < 0.02)


def bandwidth(host: Host) -> Iterator[Row]:
    """Copy and triad against a C program, block by block, medians of each process."""
    workloads = memory_workloads(host)
    elements = workloads[0].size["elements"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "stream"
        source = Path(__file__).with_name("stream.c")
        try:
            build = ["gcc", "-O3", "-march=native", "-fopenmp", str(source), "-o", str(program)]
            subprocess.run(build, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            yield "copy and triad against C", ">= 95 %", f"not measured: {error}", "-"
            return
        bare, ours = interleave(lambda: stream(program, elements), lambda: measured(workloads))
    for w in workloads:
        yield at_least_95(
            f"{w.name} against C STREAM", [(b[w.name], o[w.name]) for b, o in zip(bare, ours, strict=True)]
        )


def stream(program: Path, elements: int) -> dict[str, float]:
    """Median seconds of the C program's copy and triad."""
    done = subprocess.run([program, str(elements), "20"], check=True, capture_output=True, text=True)
    times: dict[str, list[float]] = {"copy": [], "triad": []}
    for line in done.stdout.splitlines()[4:]:  # the first two repeats warm up
        name, seconds = line.split()
        times[name].append(float(seconds))
    return {name: statistics.median(values) for name, values in times.items()}


def matrix_product(_: Host) -> Iterator[Row]:
    """The matrix product against the best of ten bare calls."""
    workload = matmul("float32", 4)
    code = BARE_MM.format(n=workload.size["n"])

    def bare() -> float:
        return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    best_bare, ours = interleave(bare, lambda: measurements((workload,))[0])
    yield at_least_95(
        "matrix product: best sample against best of ten bare calls",
        [(b, min(o.seconds)) for b, o in zip(best_bare, ours, strict=True)],
    )
    yield at_least_95(
        "matrix product: reported median against best of ten bare calls",
        [(b, o.median_s) for b, o in zip(best_bare, ours, strict=True)],
    )


def measurements(workloads: tuple[Workload, ...]) -> list[Measurement]:
    """One child's measurements at standard budget. Raises ``RuntimeError`` if one failed."""
    campaign = Campaign(sys.executable, BUDGETS["standard"], seed=time.time_ns() % 2**31, child_timeout_s=120)
    found = campaign.run([DEFAULT], workloads, "screen")
    failed = [m for m in found if not m.outcome.ok]
    if failed:
        raise RuntimeError(failed[0].outcome.detail)
    return sorted(found, key=lambda m: m.workload)


def measured(workloads: tuple[Workload, ...]) -> dict[str, float]:
    """Median seconds of each workload in one child."""
    return {m.workload: m.median_s for m in measurements(workloads)}


def interleave(first: Callable[[], A], second: Callable[[], B]) -> tuple[list[A], list[B]]:
    """Run both in turns, the other one first in every second block."""
    a, b = [], []
    for block in tqdm(range(BLOCKS), unit="block", leave=False):
        if block % 2:
            b.append(second())
            a.append(first())
        else:
            a.append(first())
            b.append(second())
    return a, b


def at_least_95(what: str, pairs: list[tuple[float, float]]) -> Row:
    """A row for speed relative to a bare program: its seconds over ours."""
    ratio = median_interval([bare / ours for bare, ours in pairs])
    figure = f"{ratio.median:.1%} ({ratio.low:.1%} to {ratio.high:.1%}, {ratio.processes} blocks)"
    return what, ">= 95 %", figure, yes(ratio.median >= 0.95)


def workbook_runs(_: Host) -> Iterator[Row]:
    """The whole workbook by papermill, at both budgets."""
    for budget, limit_s in (("quick", 90.0), ("standard", 300.0)):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "hwdiag", "diagnose", "--budget", budget], check=True, stdout=sys.stderr)
        yield under(f"papermill run, budget {budget}", limit_s, [time.perf_counter() - start])


def yes(reached: bool) -> str:
    """The last column."""
    return "yes" if reached else "NO"


if __name__ == "__main__":
    main()
