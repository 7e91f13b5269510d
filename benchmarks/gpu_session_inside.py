# ruff: noqa: E402
# mypy: ignore-errors
"""Runs in the interpreter that is measured: the agent's figures beside events and triton's do_bench of the same calls.

Prints a line of JSON for each workload. Standard library, torch and the agent alone.
"""

import gc
import json
import runpy
import sys
import time
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parents[1] / "hwdiag" / "agent" / "main.py"))  # makes the package
import torch
from hwdiag_agent import device_time, measure, switches
from hwdiag_agent.channel import one_line

ROUNDS = 5


def by_events(module, step, loops):
    """Return the seconds of an iteration by two events around a loop, as anybody would write it."""
    first, last = module.Event(enable_timing=True), module.Event(enable_timing=True)
    module.synchronize()
    first.record()
    for _ in range(loops):
        step()
    last.record()
    module.synchronize()
    return first.elapsed_time(last) / 1e3 / loops


def by_do_bench(step):
    """Return the seconds by triton's do_bench, which empties the L2 cache before each call; None without triton."""
    try:
        from triton.testing import do_bench
    except ImportError:
        return None
    return do_bench(step, warmup=10, rep=50, return_mode="median") / 1e3


def flags():
    places = ((path, switches.holder_of(torch, path)) for path in switches.NAMES)
    found = {path: str(getattr(*place)) for path, place in places if place is not None}
    return {**found, "products": torch.get_float32_matmul_precision(), "gradients": torch.is_grad_enabled()}


def compared(device, workload):
    """Return all figures of one workload; hwdiag's and the bare ones in turns."""
    restore, before = switches.kept(torch), flags()
    prepared = measure.Prepared(torch, device, workload, check=True, warmup_s=0.2)
    module = prepared.accelerator.each[0].module if workload["kind"] == "file" else prepared.accelerator.module
    loops = max(prepared.loops, 5)
    ours, bare = [], []
    for _ in range(ROUNDS):
        ours.append(sorted(prepared.sample(0.05, 3)))
        bare.append(by_events(module, prepared.step, loops))
    own = prepared.accelerator.each[0] if workload["kind"] == "file" else prepared.accelerator
    found = {
        "wall_s": sorted(s[len(s) // 2] for s in ours)[ROUNDS // 2],
        "events_s": sorted(bare)[ROUNDS // 2],
        **device_time.timed(torch, own, prepared.step, prepared.loops),
        "do_bench_s": by_do_bench(prepared.step) if device.startswith("cuda") else None,
        "max_error": prepared.max_error,
        "tolerance": prepared.tolerance,
    }
    del prepared
    restore()
    return {**found, "changed": [name for name, value in flags().items() if value != before.get(name)]}


def main():
    device, workloads = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    gc.disable()
    for workload in workloads:
        begun = time.time()
        try:
            found = compared(device, workload)
        except Exception as error:
            found = {"failed": one_line(error)}
        gc.collect()
        print(json.dumps({"name": workload["name"], "took_s": time.time() - begun, **found}), flush=True)


if __name__ == "__main__":
    main()
