"""What a training waits for, looked at from outside: real ones that know it themselves, and made-up /proc trees."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from hwdiag.cli import main
from hwdiag.dataloader.input_bound_rules import bound, reasons, verdict
from hwdiag.dataloader.input_bound_show import waiting
from hwdiag.dataloader.input_bound_steps import watch_pid
from hwdiag.process.observation import stack_sampling
from hwdiag.process.observation.processes import CALLS, NotShown, Processes, Training, Wait, trainings
from hwdiag.process.observation.waiting import Look, interval, watch
from hwdiag.process.observation.waiting_model import TrainingWaits

pytest.importorskip("torch")

TRAINING = """
import json, sys, time
import torch
from torch.utils.data import DataLoader, Dataset

make_s, step_s, workers, method = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

class Data(Dataset):
    def __len__(self):
        return 1 << 20

    def __getitem__(self, index):
        time.sleep(make_s / 4)
        return torch.zeros(4)

if __name__ == "__main__":
    more = {"multiprocessing_context": method} if workers else {}
    batches = iter(DataLoader(Data(), 4, num_workers=workers, **more))
    for _ in range(2 * max(1, workers)):
        next(batches)
    print("ready", flush=True)
    began, waited = time.perf_counter(), 0.0
    while time.perf_counter() - began < float(sys.argv[5]):
        asked = time.perf_counter()
        next(batches)
        waited += time.perf_counter() - asked
        time.sleep(step_s)
    print(json.dumps(waited / (time.perf_counter() - began)), flush=True)
    sys.stdin.read()
"""


@contextmanager
def training(path: Path, *words: Any) -> Iterator[subprocess.Popen[str]]:
    """One that is past its start; nothing of it is left."""
    path.write_text(TRAINING)
    argv = [sys.executable, str(path), *map(str, words)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()


@pytest.mark.parametrize(
    ("make_s", "step_s", "method"),
    [(0.06, 0.01, "fork"), (0.06, 0.04, "spawn"), pytest.param(0.001, 0.1, "fork", marks=pytest.mark.long)],
)
def test_the_share_is_what_the_training_says_itself(tmp_path: Path, make_s: float, step_s: float, method: str) -> None:
    with training(tmp_path / "train.py", make_s, step_s, 1, method, 4) as process:
        (found,) = watch(process.pid, 4.0)
        assert process.stdout is not None
        own = json.loads(process.stdout.readline())
    assert found.workers == 1
    assert found.hidden == ""
    assert found.share == pytest.approx(own, abs=0.1)
    if own > 0.15:
        assert bound(found) == "input-bound", (own, found)
    if own < 0.04:
        assert bound(found) != "input-bound", (own, found)


@pytest.mark.skipif(stack_sampling.installed() is None, reason="py-spy is not installed")
def test_without_workers_the_stacks_tell(tmp_path: Path) -> None:
    with training(tmp_path / "train.py", 0.03, 0.03, 0, "-", 8) as process:
        (found,) = watch_pid(process.pid, 4.0)
        assert process.stdout is not None
        own = json.loads(process.stdout.readline())
    assert found.stacks == pytest.approx(own, abs=0.15), found.stacks_why
    assert bound(found) == "input-bound"
    assert "is in its DataLoader" in verdict(found)
    alone = found.model_copy(update={"stacks": None, "stacks_why": "py-spy is not installed"})
    assert verdict(alone).endswith("from outside loading looks like computing; py-spy is not installed.")


def test_the_verb_of_a_command(tmp_path: Path) -> None:
    """Its output and exit status are its own; what is left of it is killed."""
    file = tmp_path / "train.py"
    file.write_text(TRAINING.replace("sys.stdin.read()", "sys.exit(3)"))
    command = [sys.executable, str(file), "0.04", "0.01", "1", "fork", "3"]
    argv = [sys.executable, "-m", "hwdiag", "dataloader", "--json", "--", *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("ready\n")
    (found,) = json.loads(done.stderr.partition("\nhwdiag:")[0])
    assert found["workers"] == 1
    assert found["shares"]["data"] > 0.2  # the end of the process counts too
    left = [p for p in psutil.process_iter(["cmdline"]) if str(file) in (p.info["cmdline"] or ())]
    assert left == []


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_commands_share_is_what_it_says_itself(tmp_path: Path, workers: int) -> None:
    """Its loop is measured from inside: imports and the start do not count, and no py-spy is needed."""
    file = tmp_path / "train.py"
    file.write_text(TRAINING.replace("sys.stdin.read()", ""))
    command = [sys.executable, str(file), "0.04", "0.02", str(workers), "fork", "4"]
    argv = [sys.executable, "-m", "hwdiag", "dataloader", "--json", "--", *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    own = float(done.stdout.splitlines()[-1])
    (found,) = (TrainingWaits.model_validate(w) for w in json.loads(done.stderr.partition("\nhwdiag:")[0]))
    assert found.stacks == pytest.approx(own, abs=0.06)
    assert bound(found) == "input-bound"
    assert "is in its DataLoader" in verdict(found)


def test_wrong_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataloader", "--pid", "999999999"]) == 2
    assert "there is no process 999999999" in capsys.readouterr().err
    assert main(["dataloader", "--pid", "1", "--", "true"]) == 2
    assert main(["dataloader", "--pid", "1", "--seconds", "0"]) == 2


def test_a_process_that_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert main(["dataloader", "--pid", str(process.pid), "--seconds", "0.5"]) == 1
        finally:
            process.kill()
    assert "No training was found" in capsys.readouterr().out


class Tree:
    """A /proc that is made up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "self").mkdir()
        (root / "self" / "syscall").write_text("running")

    def add(
        self, pid: int, parent: int, command: str, *, state: str = "S", comm: str = "python", maps: str = ""
    ) -> Path:
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "net").mkdir()
        stat = f"{pid} (odd) name) {state} {parent} " + " ".join(["0"] * 9) + " 100 50 " + " ".join(["0"] * 30)
        (folder / "cmdline").write_text(command if "\0" in command else command.replace(" ", "\0"))
        (folder / "maps").write_text(maps)
        (folder / "net" / "unix").write_text("Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 0 1 03 77 @x\n")
        for place in (folder, self.thread(pid, pid, comm, "running")):
            (place / "stat").write_text(stat)
            (place / "comm").write_text(comm + "\n")
        return folder

    def thread(self, pid: int, thread: int, comm: str, syscall: str) -> Path:
        folder = self.root / str(pid) / "task" / str(thread)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "comm").write_text(comm + "\n")
        (folder / "syscall").write_text(syscall + "\n")
        return folder

    def open(self, pid: int, number: int, file: str) -> None:
        (self.root / str(pid) / "fd" / str(number)).symlink_to(file)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_who_trains_and_who_loads_for_it(tree: Tree) -> None:
    """torchrun with two trainings: one forks its workers, one has them from a fork server; each has a tracker too."""
    server = "python\0-c\0from multiprocessing.forkserver import main; main(3)"
    tree.add(10, 1, "torchrun train.py", maps="libtorch_cpu.so")
    tree.add(20, 10, "python train.py", maps="libtorch_cpu.so")
    tree.add(21, 20, "python train.py", comm="pt_data_worker")
    tree.add(22, 20, "python train.py", comm="pt_data_worker")
    tree.add(23, 20, "python -c multiprocessing.resource_tracker")
    tree.add(24, 20, "nvidia-smi")
    tree.add(30, 10, "python train.py")
    tree.add(31, 30, server)
    tree.add(32, 31, server, comm="pt_data_worker")
    tree.add(33, 20, "python train.py", state="Z", comm="pt_data_worker")
    found = trainings(Processes(tree.root), 10)
    assert [(t.pid, t.workers) for t in found] == [(20, (21, 22)), (30, (32,))]
    assert found[0].described == "PID 20 (python train.py, 2 workers)"
    assert [t.pid for t in trainings(Processes(tree.root), 20)] == [20]


def test_one_without_workers_is_found_by_torch(tree: Tree) -> None:
    tree.add(10, 1, "bash run.sh")
    tree.add(11, 10, "python train.py", maps="/x/libtorch_cpu.so")
    (found,) = trainings(Processes(tree.root), 10)
    assert (found.pid, found.workers) == (11, ())
    spawned = "python -c multiprocessing.spawn --multiprocessing-fork"
    tree.add(12, 11, spawned)
    (found,) = trainings(Processes(tree.root), 10)
    assert found.workers == (12,)


POLL, READ, FUTEX, IOCTL = (
    next(n for n, c in CALLS["aarch64"].items() if c == w) for w in ("poll", "read", "futex", "ioctl")
)


def test_what_a_thread_waits_for(tree: Tree) -> None:
    folder = tree.add(20, 1, "python train.py")
    (folder / "mem").write_bytes(bytes(64) + struct.pack("=ihh", 5, 1, 0))
    tree.open(20, 5, "pipe:[55]")
    tree.open(20, 6, "/dev/nvidia0")
    processes = Processes(tree.root, "aarch64")

    def wait(syscall: str) -> Wait:
        tree.thread(20, 20, "python", syscall)
        return processes.wait(20, 20)

    assert wait(f"{POLL} 0x40 0x1 0x1388 0x0 0x0 0x0 0x1 0x2") == Wait("poll", "pipe:[55]")
    assert wait(f"{READ} 0x5 0x0 0x4 0x0 0x0 0x0 0x1 0x2") == Wait("read", "pipe:[55]")
    assert wait(f"{IOCTL} 0x6 0x0 0x4 0x0 0x0 0x0 0x1 0x2") == Wait("ioctl", "/dev/nvidia0")
    assert wait(f"{FUTEX} 0x5 0x189 0x0 0x7f 0x0 0x0 0x1 0x2") == Wait("futex", timed=True)
    assert wait(f"{FUTEX} 0x5 0x80 0x0 0x0 0x0 0x0 0x1 0x2") == Wait("futex")
    assert wait("running") == wait("-1 0x0 0x0") == Wait()
    assert wait("230 0x0 0x0 0x1 0x0 0x0 0x0 0x1 0x2") == Wait("other")


def doing(tree: Tree, syscall: str, state: str = "S") -> str | None:
    folder = tree.root / "20" / "task" / "20"
    text = (folder / "stat").read_text()
    (folder / "stat").write_text(text.replace(f") {text.rpartition(') ')[2][0]} ", f") {state} "))
    tree.thread(20, 20, "python", syscall)
    return Look(Processes(tree.root, "aarch64"), Training(20, "python train.py", (21,)))._doing()


def test_what_counts_as_waiting_for_data(tree: Tree) -> None:
    """The workers' pipe, a socket to one of them, a file, or the thread that pins memory: nothing else."""
    tree.add(20, 1, "python train.py")
    tree.add(21, 20, "python train.py", comm="pt_data_worker")
    for pid in (20, 21):
        tree.open(pid, 5, "pipe:[55]")
        tree.open(pid, 0, "pipe:[11]")
    tree.open(20, 6, "pipe:[66]")
    tree.open(20, 7, "socket:[77]")
    tree.open(20, 8, "socket:[88]")
    tree.open(20, 9, "/dev/nvidia0")

    def read(number: int) -> str:
        return f"{READ} {number:#x} 0x0 0x4 0x0 0x0 0x0 0x1 0x2"

    expected = {5: "data", 6: "waits", 0: "waits", 7: "data", 8: "waits", 9: "gpu"}
    assert {number: doing(tree, read(number)) for number in expected} == expected
    timed = f"{FUTEX} 0x5 0x189 0x0 0x7f 0x0 0x0 0x1 0x2"
    assert doing(tree, timed) == "waits"
    tree.thread(20, 25, "pt_data_pin", read(5))
    assert doing(tree, timed) == "data"
    tree.thread(20, 25, "pt_data_pin", "running")
    assert doing(tree, timed) == "waits"
    assert doing(tree, read(5), state="R") == "computes"
    assert doing(tree, read(6), state="D") == "disk"


def test_what_the_kernel_hides_is_said(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add(20, 1, "python train.py")
    processes = Processes(tree.root, "aarch64")

    def refused(*_: object, **__: object) -> str:
        raise PermissionError

    monkeypatch.setattr("hwdiag.process.observation.processes.read_bytes", refused)
    with pytest.raises(NotShown, match="ptrace_scope"):
        processes.wait(20, 20)


def waited(**more: Any) -> TrainingWaits:
    values = {
        "pid": 7,
        "words": "python train.py",
        "workers": 2,
        "seconds": 20.0,
        "looks": 900,
        "low": 0.5,
        "high": 0.7,
    }
    return TrainingWaits.model_validate({**values, "shares": {"data": 0.6, "computes": 0.4}, **more})


def test_the_verdict_says_how_sure_it_is_and_why() -> None:
    assert verdict(waited()) == (
        "PID 7 (python train.py) is input-bound: it waits for data 60% of the time (50% to 70%); faster input could "
        "make it 2.50x as fast at most."
    )
    assert bound(waited(low=0.0, high=0.04)) == "not input-bound"
    assert bound(waited(low=0.03, high=0.1)) == "undecided"
    assert bound(waited(stacks=0.2, stacks_low=0.01, stacks_high=0.4)) == "undecided"
    assert bound(waited(workers=0, stacks=0.05)) == "undecided"
    assert bound(waited(workers=0, stacks=0.01)) == "not input-bound"
    hidden = waited(looks=0, shares={}, hidden="the kernel does not show it", stacks_why="py-spy is not installed")
    assert bound(hidden) == "unknown"
    assert verdict(hidden).endswith("is not known: the kernel does not show it; py-spy is not installed.")
    assert "more workers" in reasons(waited(worker_cpu=0.97))[0]
    assert "the storage is what is slow" in reasons(waited(worker_cpu=0.2, worker_disk=0.7))[0]
    assert "too many run beside it" in reasons(waited(for_a_cpu=0.3))[0]
    assert "62%" in reasons(waited(gpu=0.62))[0]
    section = waiting([waited(worker_cpu=0.97)])
    assert "is waiting for data from its workers" in repr(section)
    assert waiting([]).verdict.startswith("No training was found")


def test_the_interval_holds_the_share_and_one_second_is_none() -> None:
    low, high = interval([Counter(data=n, computes=10 - n) for n in (4, 5, 6, 5, 4, 6, 5, 5)])
    assert 0.4 < low < 0.5 < high < 0.6
    assert interval([Counter(data=5)]) == (0.0, 1.0)


def test_the_stacks_of_the_main_thread_alone_count() -> None:
    loader = "/x/site-packages/torch/utils/data/dataloader.py"
    text = (
        f"thread (77): MainThread;main (train.py:3);_BaseDataLoaderIter.__next__ ({loader}:700);poll (x.py:1) 20\n"
        f"thread (77): MainThread;main (train.py:3);__next__ ({loader}:700) 10\n"
        f"thread (77): MainThread;main (train.py:3);DataLoader.__init__ ({loader}:200) 4\n"
        "thread (77): MainThread;main (train.py:4);forward (net.py:9) 6\n"
        f"thread (78): pin;run (threading.py:1);_BaseDataLoaderIter.__next__ ({loader}:1300) 40\n"
        "nonsense\n"
    )
    assert stack_sampling.share_of(text) == 0.75
    assert stack_sampling.share_of("") is None


def test_looking_costs_next_to_nothing() -> None:
    """It looks 50 times a second at one training of two workers; this process is the training."""
    before = os.times()
    watch(os.getpid(), 2.0)
    after = os.times()
    assert (after.user + after.system) - (before.user + before.system) < 0.3


def test_a_training_that_failed_is_never_called_not_input_bound() -> None:
    calm = waited(low=0.0, high=0.04, shares={"data": 0.02, "computes": 0.98})
    assert "is not input-bound" in verdict(calm)
    failed = verdict(calm, "exit status 1: DataLoader worker (pid 7) is killed by signal: Killed.")
    assert "not input-bound" not in failed
    assert "is not known" in failed
    assert "killed by signal" in failed
    assert "is input-bound" in verdict(waited(), "exit status 1"), "what waited before it failed waited all the same"
    assert "The command failed: exit status 1" in waiting([], "exit status 1").verdict
