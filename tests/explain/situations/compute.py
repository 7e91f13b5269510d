"""Computes for some seconds in one or several processes, in Python or with torch."""

import argparse
import multiprocessing
import os
import time


def compute(seconds: float, torch_threads: int) -> None:
    """Keep a CPU busy, or several with torch."""
    end = time.perf_counter() + seconds
    if torch_threads:
        import torch

        torch.set_num_threads(torch_threads)
        x = torch.randn(500, 500)
        while time.perf_counter() < end:
            x = (x @ x).clamp(-1, 1)
    while time.perf_counter() < end:
        sum(range(1000))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=float, required=True)
    p.add_argument("--processes", type=int, default=1)
    p.add_argument("--affinity", type=int)
    p.add_argument("--torch", type=int, default=0)
    a = p.parse_args()
    if a.affinity is not None:
        time.sleep(0.5)
        os.sched_setaffinity(0, {a.affinity})
    started = multiprocessing.get_context("spawn")
    others = [started.Process(target=compute, args=(a.seconds, a.torch)) for _ in range(a.processes - 1)]
    for other in others:
        other.start()
    compute(a.seconds, a.torch)
    for other in others:
        other.join()
