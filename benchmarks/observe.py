"""What does observing a command cost? ``python -m benchmarks.observe``.

A training of ten seconds with eight threads and four workers, observed and not, in fresh processes that alternate; then
a fixed number of steps with one thread, alone, observed from outside, and from inside too, in many short runs that take
turns, by the CPU time of the program's process and by the clock; then a gigabyte of output through a pipe and through a
terminal, against a plain copy by cat(1) and by script(1).
"""

from __future__ import annotations

import argparse
import os
import pty
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hwdiag.experiment.statistics import ratio_interval
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.process.observation.observe import observe_command
from hwdiag.process.observation.witness import Witness
from hwdiag.report.format import percent
from hwdiag.report.table import Table

SECONDS, THREADS, WORKERS = 10, 8, 4
GIGABYTE = 10**9
TRAINING = f"""
import os, time, torch
from torch.utils.data import DataLoader, Dataset

class Pictures(Dataset):
    def __len__(self):
        return 10**6

    def __getitem__(self, i):
        x = torch.full((3, 64, 64), float(i % 7))
        for _ in range(20):
            x = torch.sin(x)
        return x

if __name__ == "__main__":
    torch.set_num_threads({THREADS})
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3))
    steps, start = 0, time.monotonic()
    for batch in DataLoader(Pictures(), batch_size=16, num_workers={WORKERS}):
        net(batch).sum().backward()
        steps += 1
        if time.monotonic() - start > {SECONDS}:
            break
    print(steps / (time.monotonic() - start))
"""

STEPS = """
import time, torch
from torch.utils.data import DataLoader
torch.set_num_threads(1)
data = [(torch.randn(256), i % 10) for i in range(32 * 400)]
net = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
start, cpu = time.perf_counter(), time.process_time()
for epoch in range(3):
    for x, y in DataLoader(data, batch_size=32, shuffle=True):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
print(time.process_time() - cpu, time.perf_counter() - start)
"""
"""A training of small steps: what is done at each of them costs most here. It tells its CPU time, which holds that of
what looks at it from inside, and the time by the clock."""
STEP_PAIRS = 5
"""Runs of it for each of the other programs: they are short."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8, help="pairs of runs of the training (default: 8)")
    pairs = parser.parse_args().pairs
    rows = [*training(pairs), *steps(STEP_PAIRS * pairs), *output(pairs)]
    print(Table("Observing a command", ("What", "Target", "Measured", "Reached"), rows).to_text())


def training(pairs: int) -> list[tuple[str, str, str, str]]:
    """Return what observing a training takes, and what it does to its speed."""
    shares, ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.py")
        path.write_text(TRAINING)
        argv = [sys.executable, "-W", "ignore", str(path)]
        sampler = Sampler(Root.live())
        for n in range(pairs):
            speeds: dict[bool, float] = {}
            for observed in ((True, False), (False, True))[n % 2]:
                if observed:
                    program = observe_command(argv, sampler=sampler)
                    speeds[observed] = float(program.ending.stdout)
                    shares.append(program.cost.share)
                else:
                    done = subprocess.run(argv, capture_output=True, text=True, check=True)
                    speeds[observed] = float(done.stdout)
            ratios.append(speeds[True] / speeds[False])
        sampler.close()
    median = statistics.median(shares)
    low, high = min(shares), max(shares)
    return [
        (f"share of one core, {SECONDS} s of training, {THREADS} threads, {WORKERS} workers", "< 2 %",
         f"{percent(median)} ({percent(low)} to {percent(high)}, {pairs} runs)", yes(median < 0.02)),
        ("its speed, observed over not observed", "-", interval(ratios), "-"),
    ]  # fmt: skip


def steps(rounds: int) -> list[tuple[str, str, str, str]]:
    """Return by how much a fixed number of steps takes more CPU time, and longer, when it is observed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "steps.py")
        path.write_text(STEPS)
        argv = [sys.executable, "-W", "ignore", str(path)]

        def alone() -> str:
            return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

        def outside() -> str:
            return observe_command(argv).ending.stdout

        def inside() -> str:
            with Witness(None) as witness:
                return observe_command(argv, witness=witness).ending.stdout

        ways = {"alone": alone, "outside": outside, "outside and inside": inside}
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for n in range(rounds):
            order = list(ways)
            for name in order[n % 3 :] + order[: n % 3]:
                cpu, wall = map(float, ways[name]().split())
                took[name].append((cpu, wall))
    rows = []
    for kind, what in enumerate(("CPU time", "time by the clock")):
        for name in ("outside", "outside and inside"):
            found = [theirs[kind] / own[kind] for theirs, own in zip(took[name], took["alone"], strict=True)]
            high = ratio_interval(found).high
            rows.append(
                (f"{what} of small steps, looked at from {name}", "<= 1.02x", interval(found), yes(high <= 1.02))
            )
    return rows


def interval(ratios: Sequence[float]) -> str:
    """Return the estimate of ratios with its 95 % interval, in words."""
    found = ratio_interval(ratios)
    return f"{found.median:.3f}x ({found.low:.3f} to {found.high:.3f}, {len(ratios)} pairs)"


def output(pairs: int) -> list[tuple[str, str, str, str]]:
    """Return how long output takes through what observes, over what it takes through a plain copy."""
    with open("/dev/null", "wb") as null:

        def cat() -> None:
            with subprocess.Popen(printing(GIGABYTE), stdout=subprocess.PIPE) as plain:
                subprocess.run(["cat"], stdin=plain.stdout, stdout=null, check=True)

        def pipe() -> None:
            observe_command(printing(GIGABYTE), stdio=(None, null.fileno(), None))

        rows = [row("a gigabyte through a pipe, time over cat's", pipe, cat, pairs)]
    if shutil.which("script"):
        ours, theirs = pty.openpty()
        threading.Thread(target=drain, args=(ours,), daemon=True).start()

        def script() -> None:
            argv = ["script", "-qec", printing(GIGABYTE // 10)[2], "/dev/null"]
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=theirs, check=True)

        def terminal() -> None:
            observe_command(printing(GIGABYTE // 10), stdio=(None, theirs, None))

        rows.append(row("a tenth of it through a terminal, time over script's", terminal, script, pairs))
        os.close(theirs)
    return rows


def printing(size: int) -> list[str]:
    """Return a command that prints so many bytes."""
    return ["sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x"]


def drain(file: int) -> None:
    """Read all that comes."""
    try:
        while os.read(file, 1 << 16):
            pass
    except OSError:
        pass


def row(what: str, ours: Callable[[], None], plain: Callable[[], None], pairs: int) -> tuple[str, str, str, str]:
    """Return the ratio of what both take, in pairs that alternate."""
    ratios = []
    for n in range(pairs):
        took = {}
        for run in ((ours, plain), (plain, ours))[n % 2]:
            start = time.monotonic()
            run()
            took[run] = time.monotonic() - start
        ratios.append(took[ours] / took[plain])
    return what, "<= 1.1x", interval(ratios), yes(ratio_interval(ratios).low <= 1.1)


def yes(reached: bool) -> str:
    return "yes" if reached else "NO"


if __name__ == "__main__":
    main()
