"""What does observing a command cost? ``python -m benchmarks.observe [PAIRS]``.

A training of ten seconds with eight threads and four workers, observed and not, in fresh processes that alternate; then
a gigabyte of output through a pipe and through a terminal, against a plain copy by cat(1) and by script(1).
"""

from __future__ import annotations

import os
import pty
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from hwdiag.experiment.statistics import ratio_interval
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.process.observation.observe import observe_command
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


def main(argv: Sequence[str]) -> None:
    """Print the table."""
    pairs = int(argv[0]) if argv else 8
    rows = [*training(pairs), *output()]
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
            speeds = {}
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


def interval(ratios: Sequence[float]) -> str:
    """Return the estimate of ratios with its 95 % interval, in words."""
    found = ratio_interval(ratios)
    return f"{found.median:.3f}x ({found.low:.3f} to {found.high:.3f}, {len(ratios)} pairs)"


def output() -> list[tuple[str, str, str, str]]:
    """Return how long a gigabyte takes through what observes, and through a plain copy."""
    print_it = f"head -c {GIGABYTE} /dev/zero | tr '\\0' x"
    make = ["sh", "-c", print_it]
    rows = []
    with open("/dev/null", "wb") as null:
        start = time.monotonic()
        with subprocess.Popen(make, stdout=subprocess.PIPE) as plain:
            subprocess.run(["cat"], stdin=plain.stdout, stdout=null, check=True)
        plain_s = time.monotonic() - start
        program = observe_command(make, stdio=(None, null.fileno(), None))
        rows.append(row("a gigabyte through a pipe, against cat", program.ending.seconds, plain_s))
    if shutil.which("script"):
        start = time.monotonic()
        subprocess.run(["script", "-qec", print_it, "/dev/null"], stdout=subprocess.DEVNULL, check=True)
        plain_s = time.monotonic() - start
        ours, theirs = pty.openpty()
        reader = threading.Thread(target=drain, args=(ours,), daemon=True)
        reader.start()
        program = observe_command(make, stdio=(None, theirs, None))
        rows.append(row("a gigabyte through a terminal, against script", program.ending.seconds, plain_s))
        os.close(theirs)
        reader.join(5)
    return rows


def drain(file: int) -> None:
    try:
        while os.read(file, 1 << 16):
            pass
    except OSError:
        pass


def row(what: str, took: float, plain: float) -> tuple[str, str, str, str]:
    return what, "no more than it", f"{took:.2f} s against {plain:.2f} s", yes(took <= 1.1 * plain)


def yes(reached: bool) -> str:
    return "yes" if reached else "NO"


if __name__ == "__main__":
    main(sys.argv[1:])
