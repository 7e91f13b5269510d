"""The pictures made on the spot, what a folder holds, how it is read, and the decoders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hwdiag.agent.dataloader.decoders import jpeg_size, scale_of
from hwdiag.dataloader import storage
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import Decoding, FolderContent, Reading
from hwdiag.dataloader.pictures import make_pictures, synthetic_set
from hwdiag.host.model import Disk
from hwdiag.host.root import Root
from tests.conftest import make_host, script

PIL = pytest.importorskip("PIL.Image")


def test_the_set_is_the_same_for_the_same_seed(tmp_path: Path, pictures: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    again.mkdir()
    other.mkdir()
    make_pictures(again, 1)
    make_pictures(other, 1, seed=2)
    for path in sorted(again.iterdir()):
        assert path.read_bytes() == (pictures / path.name).read_bytes()
    assert {p.read_bytes() for p in other.iterdir()}.isdisjoint({p.read_bytes() for p in again.iterdir()})


def test_its_jpegs_are_as_large_as_photographs(pictures: Path) -> None:
    """0.15 to 0.5 bytes a pixel: noise alone would take more than 1, a smooth gradient less than 0.05."""
    sizes = [(p.stat().st_size, PIL.open(p).size) for p in pictures.glob("*.jpg")]
    assert len(sizes) >= 15
    assert 0.15 < sum(s for s, _ in sizes) / sum(w * h for _, (w, h) in sizes) < 0.5
    assert len({size for _, size in sizes}) >= 3


def test_the_set_is_made_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = synthetic_set(2)
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert synthetic_set(2) == folder
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    assert [p.name for p in (tmp_path / "hwdiag").iterdir()] == [folder.name]


def test_a_folder_is_looked_at_and_read(feeder: Feeder, pictures: Path) -> None:
    outcome, said = feeder.ask("find", limit_s=10, folder=str(pictures))
    found = FolderContent.model_validate(said)
    assert outcome.ok
    assert len(found.paths) == found.files == 24
    assert found.bytes == sum(p.stat().st_size for p in pictures.iterdir())
    outcome, said = feeder.ask("read", limit_s=10, paths=found.paths, seconds=0.2, seed=1)
    reading = Reading.model_validate(said)
    assert reading.in_order.bytes_s > 1e5
    assert reading.metadata > 100
    assert reading.cold is None or 0 <= reading.cold <= 1


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm")
def test_what_lies_in_memory_is_not_called_cold(feeder: Feeder, pictures: Path) -> None:
    folder = Path("/dev/shm") / f"hwdiag-test-{os.getpid()}"
    shutil.copytree(pictures, folder)
    try:
        paths = [str(p) for p in folder.iterdir()]
        _, said = feeder.ask("read", limit_s=10, paths=paths, seconds=0.1, seed=1)
    finally:
        shutil.rmtree(folder)
    assert said["cold"] in (0, None)


def test_reading_that_hangs_costs_one_answer(feeder: Feeder, tmp_path: Path) -> None:
    """A pipe without a writer hangs when it is opened, as a network file system does whose server is gone."""
    os.mkfifo(tmp_path / "a.jpg")
    outcome, said = feeder.ask("read", limit_s=0.5, paths=[str(tmp_path / "a.jpg")], seconds=0.1, seed=1)
    assert (outcome.kind, said) == ("timeout", {})
    assert "no answer for 0 s in read: killed" in outcome.detail
    assert feeder.ask("find", limit_s=10, folder=str(tmp_path))[0].ok


HUNG = """
import ctypes, os, sys
from hwdiag.dataloader.budget import BUDGETS, Data
from hwdiag.dataloader.run import DataloaderRun
from hwdiag.host.read import read_host
from hwdiag.host.root import Root

device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"nas:/pictures", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit(77)
run = DataloaderRun(sys.executable, Data("x", sys.argv[1]), read_host(Root.live()), BUDGETS["quick"], timeout_s=1.0)
feed = run.all()
print(feed.storage.kind, "|", feed.problem)
"""


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="needs root and /dev/fuse")
def test_a_file_system_that_hangs_ends_with_one_line(tmp_path: Path) -> None:
    """A FUSE mount whose server never answers, in a mount namespace of its own; no child is left in it."""
    argv = ["unshare", "--mount", sys.executable, "-c", HUNG, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no FUSE can be mounted here: {done.stderr.strip()}")
    assert done.stdout.strip() == f"fuse | {tmp_path} cannot be looked at: no answer for 1 s in find: killed", (
        done.stderr
    )
    assert [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in (p.info["cmdline"] or ())] == []


def test_a_loader_skips_a_broken_picture_and_names_it(feeder: Feeder, pictures: Path, tmp_path: Path) -> None:
    """Each worker writes the name down; its place is taken by the next one."""
    paths = [str(p) for p in sorted(pictures.iterdir())]
    victim, note = tmp_path / "broken.jpg", tmp_path / "skipped"
    victim.write_bytes(Path(paths[0]).read_bytes()[:500])
    data = {"paths": [*paths[:7], str(victim)], "size": 32, "broken": str(note)}
    task = {"seed": 1, "timeout_s": 10, "warmup_s": 0.0, "seconds": 0.3, "limit_s": 30}
    outcome, said = feeder.ask("trial", data=data, setting={"workers": 2, "batch_size": 8}, **task)
    assert outcome.ok, outcome.detail
    assert said["batches"] >= 2
    assert {line.partition("\t")[0] for line in note.read_text().splitlines()} == {str(victim)}


def test_an_interpreter_that_is_none_is_told(tmp_path: Path) -> None:
    with Feeder(str(tmp_path / "no-python")) as none:
        assert none.ask("find", limit_s=5, folder="/")[0].kind == "not-started"
    dead = script(tmp_path / "python", "echo no such luck >&2; exit 3")
    with Feeder(dead) as broken:
        outcome, _ = broken.ask("find", limit_s=5, folder="/")
    assert outcome.kind == "error"
    assert "no such luck" in outcome.detail


def test_a_broken_picture_among_many_is_named(feeder: Feeder, pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(pictures, folder)
    victim = sorted(folder.glob("*.jpg"))[3]
    victim.write_bytes(victim.read_bytes()[:2000])
    paths = [str(p) for p in sorted(folder.iterdir())]
    outcome, said = feeder.ask("compare", limit_s=60, paths=paths, size=224, seconds=0.5, seed=1)
    assert outcome.ok, outcome.detail
    said.pop("memory")
    found = Decoding.model_validate(said)
    assert [b.path for b in found.broken] == [str(victim)]
    assert "truncated" in found.broken[0].why
    whole, reduced = (d for d in found.decoders if d.key == "pillow")
    assert not whole.reduced
    assert reduced.reduced
    assert whole.difference == 0
    assert reduced.difference is not None
    assert 0 < reduced.difference < 5
    assert {d.key for d in found.decoders} | set(found.missing) == {
        "pillow", "opencv", "simplejpeg", "pyturbojpeg", "torchvision",
    }  # fmt: skip


def test_a_folder_of_broken_pictures_is_one_clear_line(feeder: Feeder, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    outcome, _ = feeder.ask("compare", limit_s=60, paths=[str(tmp_path / "a.jpg")], size=224, seconds=0.5, seed=1)
    assert outcome.kind == "error"
    assert "none of 1 pictures can be decoded" in outcome.detail
    assert "\n" not in outcome.detail


def test_a_python_without_decoders_is_told(python_without_torch: str, pictures: Path) -> None:
    with Feeder(python_without_torch) as bare:
        paths = [str(p) for p in pictures.iterdir()]
        outcome, _ = bare.ask("compare", limit_s=60, paths=paths, size=224, seconds=0.5, seed=1)
    assert outcome.detail.endswith("no decoder is installed in this Python: pip install pillow")


def test_the_size_of_a_jpeg_is_read_from_its_header(pictures: Path) -> None:
    for path in pictures.iterdir():
        data = path.read_bytes()
        assert jpeg_size(data) == (PIL.open(path).size if path.suffix == ".jpg" else None)
    large = next(p.read_bytes() for p in pictures.glob("*.jpg") if min(PIL.open(p).size) == 768)
    assert [scale_of(large, least) for least in (0, 768, 384, 383, 192, 90)] == [1, 1, 2, 2, 4, 8]
    assert jpeg_size(b"\xff\xd8\xff") is None


def test_the_file_system_is_read_from_the_mount_table(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "21 1 259:2 / / rw,relatime - ext4 /dev/nvme0n1p2 rw\n"
        "40 21 0:50 / /data rw - nfs4 nas:/pictures rw\n"
        "41 40 259:7 / /data/my\\040hot rw - xfs /dev/nvme1n1p1 rw\n"
    )
    for number, name in (("259:2", "nvme0n1/nvme0n1p2"), ("259:7", "nvme1n1/nvme1n1p1")):
        device = tmp_path / "sys/devices/block" / name
        device.mkdir(parents=True)
        (device / "partition").write_text("1\n")
        (tmp_path / "sys/dev/block").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/dev/block" / number).symlink_to(Path("../../devices/block") / name)
    disks = (Disk(name="nvme1n1", kind="nvme", scheduler="none", read_ahead_kb=128),)
    host = make_host().model_copy(update={"disks": disks})
    root = Root.directory(tmp_path)
    hot = storage.storage_of(root, host, "/data/my hot/set", "259:7")
    assert (hot.kind, hot.disk, hot.scheduler, hot.read_ahead_kb) == ("xfs", "nvme1n1", "none", 128)
    remote = storage.storage_of(root, host, "/data/cold", "0:50")
    assert (remote.kind, remote.source, remote.disk) == ("nfs4", "nas:/pictures", None)
    assert storage.is_remote(remote.kind)
    assert storage.is_remote("fuse.sshfs")
    assert not storage.is_remote(hot.kind)
    assert storage.storage_of(root, host, "/database", None).kind == "ext4"
