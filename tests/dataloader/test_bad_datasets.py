"""Datasets that raise, hang, leak, die or cannot be sent: one clear line each, and nothing left running."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.memory_footprint import OWN_THREADS, growth_of
from hwdiag.process.model import Outcome

Write = Callable[[str], str]
ONE_WORKER = {"workers": 1, "batch_size": 4}


def trial(feeder: Feeder, file: str, do: str = "trial", **more: Any) -> tuple[Outcome, dict[str, Any]]:
    task = {"setting": ONE_WORKER, "seed": 1, "timeout_s": 2, "warmup_s": 0.0, "seconds": 0.2, "limit_s": 30, **more}
    return feeder.ask(do, data={"file": file}, **task)


def test_one_that_works(feeder: Feeder, dataset_file: Write) -> None:
    file = dataset_file("return torch.full((3,), float(index))")
    outcome, said = trial(feeder, file)
    assert outcome.ok, outcome.detail
    assert said["batches"] >= 1
    assert said["batch_s"] > 0
    outcome, said = trial(feeder, file, "look", batch_size=4)
    assert (said["length"], said["batch_bytes"], said["tensors"]) == (64, 4 * 3 * 4, 1)


def test_what_one_question_sets_does_not_reach_the_next(
    feeder: Feeder, dataset_file: Write, pictures: Path, tmp_path: Path
) -> None:
    """Decoders are compared on one CPU; loaders have all of them."""
    paths, note = [str(next(pictures.glob("*.jpg")))], tmp_path / "cpus"
    assert feeder.ask("compare", limit_s=60, paths=paths, size=64, seconds=0.1, seed=1)[0].ok
    body = f"open({str(note)!r}, 'w').write(str(len(os.sched_getaffinity(0))))\nreturn torch.zeros(3)"
    assert trial(feeder, dataset_file(body))[0].ok
    assert int(note.read_text()) == len(os.sched_getaffinity(0))


def test_one_that_raises_is_named_with_its_index(feeder: Feeder, dataset_file: Write) -> None:
    outcome, _ = trial(feeder, dataset_file("raise ValueError('no label')"), "look", batch_size=4)
    assert outcome.detail == "dataset[0] raises ValueError: no label"


def test_one_that_raises_in_a_worker_only(feeder: Feeder, dataset_file: Write) -> None:
    body = "assert not torch.utils.data.get_worker_info(), 'not in a worker'\nreturn torch.zeros(3)"
    outcome, _ = trial(feeder, dataset_file(body))
    assert outcome.detail == "the Dataset raises in a worker: AssertionError: not in a worker"


def test_what_cannot_be_pickled(feeder: Feeder, dataset_file: Write) -> None:
    path = Path(dataset_file("return threading.Lock()"))
    path.write_text(path.read_text().replace("return Data()", "return Data(), list"))
    outcome, _ = trial(feeder, str(path), "look", batch_size=4)
    assert outcome.detail.startswith("a batch cannot be sent from a worker: it holds what cannot be pickled; TypeError")
    outcome, _ = trial(feeder, str(path))
    assert "it holds what cannot be pickled" in outcome.detail


def test_a_worker_that_the_kernel_kills(feeder: Feeder, dataset_file: Write) -> None:
    body = "if torch.utils.data.get_worker_info():\n    os.kill(os.getpid(), signal.SIGKILL)\nreturn torch.zeros(3)"
    outcome, _ = trial(feeder, dataset_file(body))
    assert outcome.detail.startswith("a worker of the DataLoader died: it ")


def test_a_process_that_dies_itself(feeder: Feeder, dataset_file: Write) -> None:
    outcome, _ = trial(feeder, dataset_file("os.kill(os.getpid(), signal.SIGSEGV)"), setting={"batch_size": 4})
    assert (outcome.kind, outcome.detail) == ("signal", "the process died: killed by SIGSEGV")
    assert trial(feeder, dataset_file("return torch.zeros(3)"))[0].ok  # the child itself lives on


def test_one_that_hangs(feeder: Feeder, dataset_file: Write) -> None:
    file = dataset_file("time.sleep(3600)")
    assert trial(feeder, file, timeout_s=1)[0].detail == "a worker gave no batch for 1 s"
    outcome, _ = trial(feeder, file, setting={"batch_size": 4}, limit_s=1)
    assert (outcome.kind, outcome.detail) == ("timeout", "no answer for 1 s: killed")


def test_one_that_starts_a_process_of_its_own_session(feeder: Feeder, dataset_file: Write, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    body = f"""
    import subprocess
    child = subprocess.Popen(['sleep', '3600'], start_new_session=True)
    open({str(note)!r}, 'w').write(str(child.pid))
    return torch.zeros(3)
    """
    assert trial(feeder, dataset_file(body))[0].ok
    assert not Path(f"/proc/{note.read_text()}/cmdline").exists()


def test_too_few_open_files(feeder: Feeder, dataset_file: Write) -> None:
    file = dataset_file("return [torch.zeros(3) for _ in range(40)]")
    setting = {"workers": 2, "prefetch": 8, "batch_size": 1, "sharing": "file_descriptor"}
    outcome, _ = trial(feeder, file, setting=setting, most_files=64, timeout_s=5)
    assert outcome.detail.startswith("too many open files: raise the limit (ulimit -n)")


def test_one_that_takes_too_much_memory_is_stopped(feeder: Feeder, dataset_file: Write) -> None:
    file = dataset_file("time.sleep(0.01)\nhoard.append(bytearray(os.urandom(1 << 20)) * 8)\nreturn torch.zeros(3)")
    path = Path(file)
    path.write_text("hoard = []\n" + path.read_text())
    outcome, _ = trial(feeder, file, limit_bytes=600 << 20, seconds=20)
    assert outcome.kind == "out-of-memory"
    assert outcome.detail.endswith("GiB of the 0.59 GiB that may be used")


def test_one_that_leaks_is_seen(feeder: Feeder, dataset_file: Write) -> None:
    path = Path(dataset_file("hoard.append(bytearray(1 << 20))\nreturn torch.zeros(3)"))
    path.write_text("hoard = []\n" + path.read_text())
    outcome, said = trial(feeder, str(path), "fill", memory=True, seconds=1, pauses=4)
    assert outcome.ok, outcome.detail
    assert 0.8 < growth_of(said) / (4 << 20) < 1.3  # four samples of a MiB each
    steady = dataset_file("return torch.zeros(3)")
    assert growth_of(trial(feeder, steady, "fill", memory=True, seconds=1, pauses=4)[1]) == 0


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_too_small_a_dev_shm(dataset_file: Write) -> None:
    """In a mount namespace of its own, with 1 MiB of /dev/shm, as Docker gives 64."""
    file = dataset_file("return torch.zeros(1 << 20)")
    code = (
        "import sys; from hwdiag.dataloader.child import Feeder; f = Feeder(sys.executable)\n"
        f"with f: print(f.ask('trial', data={{'file': {file!r}}}, setting={ONE_WORKER!r}, seed=1, timeout_s=5,"
        " warmup_s=0, seconds=0.2, limit_s=30)[0].detail)"
    )
    mount = f"mount -t tmpfs -o size=1m tmpfs /dev/shm && exec {sys.executable} -c '{code.replace(chr(39), chr(34))}'"
    run = subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True, text=True, timeout=60)
    if "unshare failed" in run.stderr:
        pytest.skip(run.stderr.strip())
    assert run.stdout.strip().startswith("/dev/shm is too small for the batches on their way"), run.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "has no function build_dataset()"),
        ("def build_dataset(): return 3", "build_dataset() gave a int, which has no __getitem__ and __len__ and is no"),
        ("def build_dataset(): return []", "build_dataset() gave a Dataset of length 0"),
        ("def build_dataset(): raise KeyError('where')", "KeyError: 'where'"),
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
    ],
)
def test_a_file_that_gives_no_dataset(feeder: Feeder, tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "odd.py"
    path.write_text(source)
    outcome, _ = trial(feeder, str(path), "look", batch_size=4)
    assert not outcome.ok
    assert message in outcome.detail
    assert "\n" not in outcome.detail


STREAM = """
import torch
from torch.utils.data import IterableDataset, get_worker_info


class Stream(IterableDataset):
    def __iter__(self):
        about = get_worker_info() if {shares} else None
        first, step = (about.id, about.num_workers) if about else (0, 1)
        for n in range(first, {count}, step):
            yield torch.full((3,), float(n))


def build_dataset():
    return Stream()
"""


@pytest.mark.parametrize(("shares", "doubled"), [(True, False), (False, True)])
def test_one_without_getitem_is_loaded(feeder: Feeder, tmp_path: Path, shares: bool, doubled: bool) -> None:
    """And it is told whether each of its workers gives the same samples."""
    path = tmp_path / "stream.py"
    path.write_text(STREAM.format(shares=shares, count=40))
    outcome, said = trial(feeder, str(path), "look", batch_size=4)
    assert outcome.ok, outcome.detail
    assert (said["length"], said["stream"], said["doubled"]) == (None, True, doubled)
    for setting in ({"batch_size": 4}, {"workers": 2, "batch_size": 4}):
        outcome, said = trial(feeder, str(path), setting=setting)
        assert outcome.ok, outcome.detail
        assert said["batches"] > 10  # more than one epoch of it
    outcome, said = trial(feeder, str(path), "epochs", setting={"workers": 2, "batch_size": 4}, batches=8)
    assert outcome.ok, outcome.detail


def test_one_without_samples(feeder: Feeder, tmp_path: Path) -> None:
    path = tmp_path / "stream.py"
    path.write_text(STREAM.format(shares=True, count=0))
    outcome, _ = trial(feeder, str(path), "look", batch_size=4)
    assert outcome.detail == "the Dataset gives no whole batch"


def test_threads_that_libraries_start_in_a_worker_are_seen(feeder: Feeder, dataset_file: Write) -> None:
    """Two of its own send batches; OpenBLAS, MKL and the like would start theirs beside them."""
    body = "time.sleep(0.02)\nreturn torch.zeros(3)"
    plain = trial(feeder, dataset_file(body), "fill", memory=True, seconds=1, pauses=1)[1]["memory"]["threads"]
    head = "[threading.Thread(target=time.sleep, args=(3600,), daemon=True).start() for _ in range(4)]\n"
    many = trial(feeder, dataset_file(head + body), "fill", memory=True, seconds=1, pauses=1)[1]["memory"]["threads"]
    assert plain <= OWN_THREADS
    assert many >= plain + 4
