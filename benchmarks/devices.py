"""How near does the profile come to the same calls timed bare? ``python -m benchmarks.devices``.

In one process, so that both meet the same machine: the agent's sampling and a bare loop on operands of its own take
turns, window by window. On a GPU the bare times are CUDA events'.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from hwdiag.devices.kernels import kernels, precisions
from hwdiag.devices.model import Device
from hwdiag.experiment.model import Workload
from hwdiag.experiment.statistics import median_interval
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.report.table import Table

ROUNDS = 15
LEAST = {"cpu": 0.95, "cuda": 0.97}

INSIDE = r"""
import gc, json, statistics, sys, time
import torch
from hwdiag.agent.measure import Prepared
device, rounds, workloads = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
F = torch.nn.functional


def bare_call(w):
    s, new = w["size"], lambda *shape: torch.randn(*shape, device=device).to(getattr(torch, w["dtype"]))
    if w["kind"] in ("matmul", "precision"):
        a, b, out = new(s["n"], s["n"]), new(s["n"], s["n"]), new(s["n"], s["n"])
        return lambda: torch.mm(a, b, out=out)
    if w["kind"] == "conv2d":
        x = new(s["batch"], s["channels"], s["side"], s["side"])
        k = new(s["filters"], s["channels"], s["kernel"], s["kernel"])
        return lambda: F.conv2d(x, k, stride=s["stride"], padding=s["kernel"] // 2)
    if w["kind"] == "attention":
        q, k, v = (new(s["batch"], s["heads"], s["tokens"], s["width"]) for _ in range(3))
        return lambda: F.scaled_dot_product_attention(q, k, v)
    x, y, z = (torch.ones(s["elements"], device=device, dtype=getattr(torch, w["dtype"])) for _ in range(3))
    return {
        "copy": lambda: y.copy_(x),
        "triad": lambda: torch.add(x, y, alpha=3.0, out=z),
        "elementwise": lambda: torch.mul(x, 2.0, out=y),
        "reduction": lambda: torch.sum(x),
    }[w["kind"]]


def bare_seconds(call, calls):
    if device == "cpu":
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(); start.record()
    for _ in range(calls):
        call()
    end.record(); torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3 / calls


gc.disable()
for w in workloads:
    ours, call = Prepared(torch, device, w, check=False, warmup_s=0.2), bare_call(w)
    for _ in range(5):
        call()
    ratios = []
    for n in range(rounds):
        samples = max(3, int(0.05 / (ours.each_s * ours.loops)))
        bare = lambda: statistics.median(bare_seconds(call, ours.loops) for _ in range(samples))
        measured = lambda: statistics.median(ours.sample(0.05, 3))
        first, second = (bare, measured) if n % 2 else (measured, bare)
        a, b = first(), second()
        ratios.append(a / b if n % 2 else b / a)
    print(json.dumps({"name": w["name"], "ratios": ratios}), flush=True)
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:0 and the like (default: cpu)")
    name = parser.parse_args().device
    device = Device(name=name, title=name)
    chosen = [
        w for w in (*kernels(read_host(Root.live()), device, compared=name != "cpu"), *precisions(device)) if can(w)
    ]
    told = json.dumps([w.model_dump() for w in chosen])
    arguments = [sys.executable, "-c", INSIDE, name, str(ROUNDS), told]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    least = LEAST[name.partition(":")[0]]
    rows = []
    for line in done.stdout.splitlines():
        found = json.loads(line)
        r = median_interval(found["ratios"])
        reached = "yes" if r.median >= least else "NO"
        rows.append((found["name"], f"{r.median:.1%} ({r.low:.1%} to {r.high:.1%})", reached))
    header = ("Kernel", "Its rate, of the same call timed bare", f">= {least:.0%}")
    print(Table(f"{name}: {ROUNDS} windows each, in turns in one process", header, rows).to_text())


def can(w: Workload) -> bool:
    """Whether there is a bare call for it; int8 and fp8 need scales, and a start of a kernel is a call itself."""
    return w.family in ("compute", "memory") and w.what in (None, "fp64", "fp32", "bf16")


if __name__ == "__main__":
    main()
