"""What looks from inside: it sees what the program's own meter sees, and the program does not notice it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwdiag.process.observation.inside_model import InsideReport
from hwdiag.process.observation.repeated import run_again
from hwdiag.process.observation.witness import TraceRecording, Witness, activity, interval, read_reports

pytestmark = pytest.mark.usefixtures("clean_environment")

pytest.importorskip("torch", reason="no torch in this Python")

METER = """
import sys, threading, queue, time, torch
from torch.utils.data import DataLoader, Dataset

WAY = sys.argv[1]

class Made(Dataset):
    def __len__(self):
        return 10**6

    def __getitem__(self, i):
        return make()

def make():
    began = time.perf_counter()
    while time.perf_counter() - began < 0.01:
        pass
    return torch.ones(64)

def make_batches():
    while True:
        yield torch.stack([make() for _ in range(4)])

def threaded():
    found = queue.Queue(maxsize=1)
    def fill():
        for batch in DataLoader(Made(), batch_size=4):
            found.put(batch)
    threading.Thread(target=fill, daemon=True).start()
    while True:
        yield found.get()

if __name__ == "__main__":
    torch.set_num_threads(1)
    time.sleep(1.5)  # what is before the loop does not count
    net, other = torch.nn.Linear(64, 64), torch.randn(160, 160)
    loader = DataLoader(Made(), batch_size=4, num_workers=int(WAY) if WAY.isdigit() else 0)
    batches = {"generator": make_batches, "thread": threaded}.get(WAY, lambda: iter(loader))()
    start, waited = time.perf_counter(), 0.0
    while (now := time.perf_counter()) - start < 5:
        batch = next(batches)
        waited += time.perf_counter() - now
        until = time.perf_counter() + 0.03
        while time.perf_counter() < until:
            net(batch)
            other @ other
    print("share", waited / (time.perf_counter() - start))
"""


def looked_at(witness: Witness, *argv: str) -> tuple[tuple[InsideReport, ...], subprocess.CompletedProcess[str]]:
    environment = {**os.environ, **witness.variables}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return witness.collect()[0], done


@pytest.mark.parametrize(
    ("way", "within"),
    [
        pytest.param("0", 0.05, marks=pytest.mark.long),
        ("1", 0.05),
        pytest.param("generator", 0.1, marks=pytest.mark.long),
        pytest.param("thread", 0.12, marks=pytest.mark.long),
    ],
)
def test_the_share_of_input_is_the_programs_own(tmp_path: Path, way: str, within: float) -> None:
    """A DataLoader without workers and with one, a generator of the person's own, and a DataLoader in a thread."""
    script = tmp_path / "train.py"
    script.write_text(METER)
    with Witness(None) as witness:
        reports, done = looked_at(witness, sys.executable, str(script), way)
    own = float(done.stdout.split()[1])
    loop = reports[0].loop
    assert loop is not None, done.stderr
    assert loop.input == pytest.approx(own, abs=within)
    assert loop.low - 0.05 <= own <= loop.high + 0.05
    if way.isdigit():
        assert [loader.workers for loader in reports[0].loaders] == [int(way)]


UNNOTICED = """
import gc, os, random, sys, threading, torch
print(threading.active_count(), sorted(t.name for t in threading.enumerate()), torch.randn(2, generator=None).shape)
torch.manual_seed(1); random.seed(1)
print(torch.randn(3).tolist(), random.random(), sys.path[0] != "", "sitecustomize" in sys.modules)
class Broken(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, i): raise KeyError("broken")
try:
    next(iter(torch.utils.data.DataLoader(Broken())))
except KeyError as error:
    import traceback
    print([frame.name for frame in traceback.extract_tb(error.__traceback__)])
with torch.autograd.profiler.profile() as own:
    torch.ones(3) + 1
print(sum(e.count for e in own.key_averages() if e.key == "aten::ones"))
pid = os.fork()
if not pid:
    for _ in range(2000): torch.ones(3) + 1
    os._exit(7)
print(os.wait()[1] >> 8)
"""


def test_the_program_does_not_notice_it() -> None:
    """Threads, random numbers, tracebacks, its own profiler and forked children are as without."""
    quiet = {**os.environ, "KINETO_LOG_LEVEL": "99"}
    argv = [sys.executable, "-c", UNNOTICED]
    alone = subprocess.run(argv, env=quiet, capture_output=True, text=True, timeout=120, check=False)
    with Witness() as witness:
        reports, done = looked_at(witness, sys.executable, "-c", UNNOTICED)
    assert (done.returncode, done.stderr) == (0, alone.stderr)
    first = re.sub(r"(True|False)$", "", done.stdout, flags=re.M)
    assert first == re.sub(r"(True|False)$", "", alone.stdout, flags=re.M)
    assert reports[0].why == "the program's own profiler"
    assert reports[0].ended


def test_a_forked_child_does_not_record_on() -> None:
    """It grew by half a KiB with each operation, for as long as it lived."""
    code = """
import os, torch
x = torch.ones(8)
size = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
x + 1
if not os.fork():
    before = size()
    for _ in range(60000): x + 1
    print(size() - before, flush=True)
    os._exit(0)
os.wait()
"""
    with Witness() as witness:
        _, done = looked_at(witness, sys.executable, "-c", code)
    assert int(done.stdout) < 40


def test_all_threads_are_recorded_and_named() -> None:
    code = """
import threading, torch
def work():
    a = torch.ones(200, 200)
    for _ in range(40): a = torch.mm(a, a) / 200
thread = threading.Thread(target=work); thread.start(); thread.join()
"""
    with Witness() as witness:
        reports, _ = looked_at(witness, sys.executable, "-c", code)
    traced = reports[0].traced
    assert reports[0].all_threads
    assert traced is not None
    assert {o.name: o.calls for o in traced.operations}["aten::mm"] == 40
    assert {h.name: h.flop for h in traced.heavy}["aten::mm"] == 2 * 200**3


SPAWNED = """
import sys, time, torch
def rank(number):
    net, until = torch.nn.Linear(64, 64), time.time() + 3
    while time.time() < until: net(torch.ones(8, 64))
class Slow(torch.utils.data.Dataset):
    def __len__(self): return 200
    def __getitem__(self, i):
        time.sleep(0.01)
        return torch.zeros(4)
if __name__ == "__main__":
    if sys.argv[1] == "ranks":
        torch.multiprocessing.spawn(rank, nprocs=2)
    else:
        for batch in torch.utils.data.DataLoader(Slow(), num_workers=1, multiprocessing_context="spawn"): pass
"""


@pytest.mark.long
@pytest.mark.parametrize(("way", "computing"), [("ranks", 2), ("workers", 0)])
def test_spawned_ranks_are_looked_at_and_spawned_workers_are_not(tmp_path: Path, way: str, computing: int) -> None:
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED)
    with Witness() as witness:
        reports, done = looked_at(witness, sys.executable, str(script), way)
    assert done.returncode == 0, done.stderr
    assert len([r for r in reports if r.torch]) == 1 + computing
    loops = [r.loop for r in reports if r.loop is not None and r.loop.shares.get("model", 0.0) > 0.5]
    assert len(loops) == computing


WITH_A_MODEL_READ_FIRST = """
import time, torch
kept = torch.nn.Linear(10, 10)
for _ in range(20):  # a model is read: memory grows, and seconds pass
    kept.register_parameter(f"p{_}", torch.nn.Parameter(torch.empty(10 << 18).fill_(1.0)))
    time.sleep(0.1)
a = torch.nn.Linear(512, 512)
x = torch.ones(256, 512)
until = time.time() + 2.5
while time.time() < until: a(x)
"""


def test_the_recording_waits_for_the_net_and_its_operations_are_held_against_the_hosts_rates() -> None:
    """A model of 200 MiB ended it before the first call."""
    with Witness(TraceRecording(seconds=1.0, patience=60.0)) as witness:
        reports, done = looked_at(witness, sys.executable, "-c", WITH_A_MODEL_READ_FIRST)
    traced, rates = reports[0].traced, reports[0].rates
    assert traced is not None, done.stderr
    calls = {o.name: o.calls for o in traced.operations}
    assert calls["aten::addmm"] > 5
    assert calls.get("aten::fill_", 0) < 10, "what was before it does not count"
    assert rates is not None
    assert rates.cpus == len(os.sched_getaffinity(0))
    assert rates.flop_rates["float"] > 1e8
    assert rates.bytes_rate > 1e7
    (product,) = rates.operations
    assert product.flop == 2 * 256 * 512 * 512
    assert 0.01 < product.factor(rates.bytes_rate) < 100


def test_a_process_that_is_killed_leaves_what_was_seen() -> None:
    code = """
import os, time, torch
net = torch.nn.Linear(64, 64)
until = time.time() + 4
while time.time() < until: net(torch.ones(8, 64))
os.kill(os.getpid(), 9)
"""
    with Witness(None) as witness:
        reports, _ = looked_at(witness, sys.executable, "-c", code)
    assert not reports[0].ended
    assert reports[0].loop is not None
    assert reports[0].loop.shares["model"] > 0.5


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("ctypes.CDLL(None).exit(3)", 3),
        ("t = threading.Thread(target=lambda: ctypes.PyDLL(None).exit(4)); t.start(); t.join()", 4),
        ("child = os.fork() or sys.exit(5); sys.exit(os.waitpid(child, 0)[1] >> 8)", 5),
    ],
    ids=["C code's", "a thread's", "a forked child's"],
)
def test_each_exit_ends_the_program_as_without_it(end: str, status: int) -> None:
    """Destructors of torch's profiler crashed the first two, and let the last one hang."""
    code = f"import ctypes, os, sys, threading, torch\nfor _ in range(50): torch.ones(8, 64).neg()\n{end}"
    with Witness(TraceRecording(seconds=30)) as witness:
        reports, done = looked_at(witness, sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (status, "")
    assert (reports[0].ended, reports[0].state) == (True, "written")


def test_denormal_parameters_and_a_growing_graph_are_seen() -> None:
    code = """
import time, torch
net = torch.nn.Linear(100, 100)
with torch.no_grad(): net.weight.mul_(1e-39)
total = 0.0
until = time.time() + 5
while time.time() < until:
    total = total + net(torch.ones(1, 100)).mean()
    time.sleep(0.005)
"""
    with Witness(None) as witness:
        reports, _ = looked_at(witness, sys.executable, "-c", code)
    small = reports[0].subnormal
    assert small is not None
    assert small.parameters == pytest.approx(0.55, abs=0.25), "all of the weight, none of the bias"
    assert small.examples == {"parameter (100, 100)": pytest.approx(1, abs=0.1)}
    earlier, later = reports[0].growth["graph_nodes"]
    assert later > 1.5 * earlier + 100


def test_what_processes_left_is_bounded_and_checked(tmp_path: Path) -> None:
    """It is data from outside."""
    (tmp_path / "hwdiag_1.1.report.json").write_text('{"pid": "x"}')
    (tmp_path / "hwdiag_2.1.report.json").write_text("[" * 3000)
    (tmp_path / "hwdiag_3.1.report.json").write_text(json.dumps({"pid": 3, "facts": {"a": "b" * 9999}, "threads": [7]}))
    (tmp_path / "hwdiag_x.started").write_text("python")
    (tmp_path / "hwdiag_4.1.started").write_text("python\0train.py")
    (tmp_path / "hwdiag_5.1.report.json").write_text(" " * (3 << 20))
    found = {r.pid: r for r in read_reports(tmp_path)}
    assert sorted(found) == [3, 4]
    assert len(found[3].facts["a"]) == 300
    assert found[4].command == ("python", "train.py")


def test_timing_again_ends_where_the_person_asks_for_the_end(tmp_path: Path) -> None:
    """It went on for up to 40 s after Ctrl-C."""
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    began = time.monotonic()
    assert run_again(str(slow), {}, os.environ, lambda: True) == ""
    assert time.monotonic() - began < 20
    assert run_again(str(tmp_path / "none"), {}, os.environ, lambda: False) == ""


def test_few_blocks_are_no_knowledge() -> None:
    assert interval([{"input": 1.0}, {"model": 1.0}]) == (0.0, 1.0)
    told = {"thread": "main", "blocks": [[10, {"input": 0.5, "model": 0.5}]] * 20, "before": {"import": 9.0}}
    seen = activity(told)
    assert (seen.input, seen.looks, seen.seconds) == (0.5, 200, 20.0)
    assert seen.low == pytest.approx(0.5)


def test_without_instruments_nothing_is_left() -> None:
    with Witness(TraceRecording(), rate=0, objects=False) as witness:
        reports, done = looked_at(witness, sys.executable, "-c", "print(1)")
    assert done.stdout == "1\n"
    assert [r.state for r in reports] == ["started"]
