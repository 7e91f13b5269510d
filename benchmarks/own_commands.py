"""Does a gain that ``tune -- command`` claims hold outside hwdiag? ``python -m benchmarks.own_commands``.

Twenty small scripts with an argument parser and a training loop, made from a few families, none written for hwdiag.
Each is tuned; what ``launch.sh`` gives is then measured again by interleaved pairs of plain processes, and the ratio's
median is held against tune's interval.
It takes seven minutes a script on a machine at rest: ``--scripts 3`` gives an impression.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from hwdiag.experiment.model import OVERALL
from hwdiag.record import store
from hwdiag.record.tuning import tuning
from hwdiag.report.table import Table

PAIRS, WANTED = 8, 0.95
HEAD = """
import argparse, torch
parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default={steps})
parser.add_argument("--batch", type=int, default={batch})
parser.add_argument("--width", type=int, default={width})
args = parser.parse_args()
torch.manual_seed(0)
"""
TAIL = """
optimizer = torch.optim.{optimizer}(net.parameters(), lr=1e-3)
for step in range(args.steps):
    optimizer.zero_grad()
    loss = net(x).float().square().mean()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
"""
FAMILIES = {
    "mlp": """
net = torch.nn.Sequential(torch.nn.Linear(args.width, 4 * args.width), torch.nn.GELU(),
                          torch.nn.Linear(4 * args.width, args.width))
x = torch.randn(args.batch, args.width)
""",
    "convolutions": """
net = torch.nn.Sequential(torch.nn.Conv2d(3, args.width, 3, padding=1), torch.nn.ReLU(),
                          torch.nn.Conv2d(args.width, args.width, 3, padding=1), torch.nn.ReLU(),
                          torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(args.width, 10))
x = torch.randn(args.batch, 3, 48, 48)
""",
    "transformer": """
net = torch.nn.TransformerEncoderLayer(args.width, 4, batch_first=True, dropout=0.0)
x = torch.randn(args.batch, 32, args.width)
""",
    "recurrent": """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(args.width, args.width, batch_first=True)
    def forward(self, x):
        return self.lstm(x)[0]
net = Net()
x = torch.randn(args.batch, 24, args.width)
""",
}


def script(number: int) -> tuple[str, str]:
    """Return the name and the text of one of the scripts; the same for the same number."""
    order = random.Random(number)
    family = [*FAMILIES][number % len(FAMILIES)]
    sizes = {"steps": order.choice((20, 40)), "batch": order.choice((8, 16, 32)), "width": order.choice((32, 64, 128))}
    text = HEAD.format(**sizes) + FAMILIES[family] + TAIL.format(optimizer=order.choice(("SGD", "AdamW")))
    return f"{family}-{number}", text


def tuned(path: Path, folder: Path, minutes: float) -> tuple[Path | None, tuple[float, float, float] | None, str]:
    """Tune a script, with outputs/ in this folder.

    Return the launch script, and the gain that is claimed with its interval; where there is none, why.
    """
    command = [sys.executable, "-m", "hwdiag", "tune", "--minutes", f"{minutes:g}", "--json", "--"]
    env = {**os.environ, "HWDIAG_HOME": str(folder)}
    done = subprocess.run([*command, sys.executable, str(path)], capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        return None, None, (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
    record_path = next(folder.rglob(store.FILE))
    claims = [
        c
        for c in tuning(store.load(record_path)).comparisons
        if (c.phase, c.workload, c.verdict) == ("confirm", OVERALL, "better")
    ]
    launch = next(iter(sorted(record_path.parent.rglob("launch.sh"))), None)
    if not claims or launch is None:
        return None, None, "no gain claimed"
    gain = max(claims, key=lambda c: c.speedup.low).speedup
    return launch, (gain.low, gain.median, gain.high), ""


def seconds(command: list[str]) -> float:
    """Return the wall time of a command that succeeds."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def measured_again(path: Path, launch: Path, seed: int) -> float:
    """Return the median ratio of interleaved pairs of plain processes, in an order by chance within each."""
    order, ratios = random.Random(seed), []
    plain = [sys.executable, str(path)]
    ways = {"plain": plain, "launch": [str(launch), *plain]}
    for _ in range(PAIRS):
        took = {name: seconds(ways[name]) for name in order.sample([*ways], 2)}
        ratios.append(took["plain"] / took["launch"])
    return median(ratios)


def main() -> None:
    """Tune the scripts, measure what is claimed again, and print how often it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scripts", type=int, default=20, help="how many of them (default: 20)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (default: 0)")
    parser.add_argument("--minutes", type=float, default=5.0, help="of tune, for each script (default: 5)")
    parser.add_argument("--json", type=Path, help="file to which each row is added")
    args = parser.parse_args()
    rows, held, claimed = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="hwdiag-own-") as scratch:
        for number in range(args.first, args.first + args.scripts):
            name, text = script(number)
            folder = Path(scratch) / name
            folder.mkdir()
            path = folder / "train.py"
            path.write_text(text)
            launch, claim, why = tuned(path, folder, args.minutes)
            if launch is None or claim is None:
                rows.append((name, why, "-", "-"))
            else:
                again = measured_again(path, launch, number)
                holds = claim[0] <= again <= claim[2]
                held, claimed = held + holds, claimed + 1
                rows.append(
                    (name, "{1:.2f}x ({0:.2f} to {2:.2f})".format(*claim), f"{again:.2f}x", "yes" if holds else "NO")
                )
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
            if args.json:
                with args.json.open("a") as lines:
                    lines.write(json.dumps(rows[-1]) + "\n")
    print(Table("Gains of own commands", ("Script", "tune says", "Measured again", "Within"), tuple(rows)).to_text())
    print(f"{held} of {claimed} claims hold (target: {WANTED:.0%}); {len(rows) - claimed} scripts claim none")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
