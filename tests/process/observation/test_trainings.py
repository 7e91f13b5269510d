"""Observing programs that use torch: who trains and who loads, what is mapped, and those that start in unusual ways."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from hwdiag.process.observation.observe import observe_command

pytest.importorskip("torch")

TRAINS = """
    import sys, time, torch
    from torch.utils.data import DataLoader, Dataset

    class Slow(Dataset):
        def __len__(self):
            return 100000

        def __getitem__(self, i):
            time.sleep(0.02)
            return torch.zeros(3)

    if __name__ == "__main__":
        torch.set_num_threads(2)
        start = time.monotonic()
        for batch in DataLoader(Slow(), batch_size=8, num_workers=2):
            torch.mm(torch.randn(300, 300), torch.randn(300, 300))
            if time.monotonic() - start > 4:
                break
"""


def script(folder: Path, text: str) -> str:
    path = folder / "train.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


def test_a_training_is_seen_with_its_workers_libraries_and_waits(tmp_path: Path) -> None:
    program = observe_command([sys.executable, script(tmp_path, TRAINS)])
    assert program.ending.outcome.ok, program.ending.stderr
    workers = [p for p in program.processes if p.worker]
    (main,) = [p for p in program.processes if p.torch and not p.worker]
    assert len(workers) == 2
    assert {p.parent for p in workers} == {main.pid}
    names = {library.rpartition("/")[2] for library in main.libraries}
    assert {"libtorch_cpu.so", "libc10.so"} <= names
    assert any("gomp" in name or "iomp" in name or "libomp" in name for name in names)
    (waited,) = program.waits
    assert waited.pid == main.pid
    assert waited.workers == 2
    assert waited.share > 0.3, "its workers sleep: it waits for them, where others leave it a CPU"
    assert waited.worker_cpu is not None
    assert waited.worker_cpu < 0.5
    assert program.shared_memory.size_bytes
    assert main.most_open_files
    assert program.cost.share < 0.1


def test_one_that_ends_before_torch_is_there_has_no_training(tmp_path: Path) -> None:
    program = observe_command([sys.executable, script(tmp_path, "raise SystemExit('no data')\nimport torch")])
    assert program.ending.status == 1
    assert program.ending.stderr == "no data\n"
    assert not program.waits
    assert not any(p.torch for p in program.processes)


def test_ranks_under_torchrun_are_the_trainings_and_their_launcher_is_none(tmp_path: Path) -> None:
    ranks = """
        import os, time, torch
        start = time.monotonic()
        while time.monotonic() - start < 6:
            torch.mm(torch.randn(300, 300), torch.randn(300, 300))
    """
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    program = observe_command([*argv, script(tmp_path, ranks)])
    assert program.ending.outcome.ok, program.ending.stderr
    trains = [p for p in program.processes if p.environment.get("LOCAL_RANK") in ("0", "1")]
    assert len(trains) == 2
    assert {w.pid for w in program.waits} == {p.pid for p in trains}
    assert all(p.environment["OMP_NUM_THREADS"] == "1" for p in trains), "torchrun sets it"


@pytest.mark.long
def test_ranks_that_are_spawned_are_no_workers_of_a_loader(tmp_path: Path) -> None:
    spawns = """
        import time, torch
        import torch.multiprocessing as mp

        def rank(number):
            start = time.monotonic()
            while time.monotonic() - start < 5:
                torch.mm(torch.randn(300, 300), torch.randn(300, 300))

        if __name__ == "__main__":
            mp.spawn(rank, nprocs=2)
    """
    program = observe_command([sys.executable, script(tmp_path, spawns)])
    assert program.ending.outcome.ok, program.ending.stderr
    ranks = [p for p in program.processes if "--multiprocessing-fork" in p.command]
    assert len(ranks) == 2
    assert not any(p.worker for p in program.processes)
    assert {w.pid for w in program.waits} == {p.pid for p in ranks}


def test_threads_that_are_started_after_a_fork_are_seen(tmp_path: Path) -> None:
    forks = """
        import os, threading, time
        def work():
            end = time.monotonic() + 1
            while time.monotonic() < end: pass
        if not os.fork():
            threads = [threading.Thread(target=work, name=f"t{n}") for n in range(4)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            os._exit(0)
        os.wait()
    """
    program = observe_command([sys.executable, "-S", script(tmp_path, forks)])
    parent, child = sorted(program.processes, key=lambda p: p.most_threads)
    assert (parent.most_threads, child.most_threads) == (1, 5)
    assert child.parent == parent.pid
