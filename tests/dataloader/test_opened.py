"""Storage and page cache are those of the files that a Dataset opens, wherever its script lies, or "not measured"."""

from __future__ import annotations

import sqlite3
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwdiag.agent.dataloader import opened
from hwdiag.dataloader import show, storage
from hwdiag.dataloader.budget import BUDGETS, Data
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import FolderContent
from hwdiag.dataloader.run import DataloaderRun
from hwdiag.host.root import Root
from tests.conftest import make_host

numpy = pytest.importorskip("numpy")
pytest.importorskip("torch")
EACH, SAMPLES = 5000, 200
HEAD = """
import io, os, socket, sqlite3, tarfile, zipfile
import numpy, torch
HERE = {data!r}
class Data:
    def __len__(self): return {samples}
    def __getitem__(self, index):
{body}
        return torch.zeros(3)
def build_dataset(): return Data()
"""


def files(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(EACH))


def plain(folder: Path) -> int:
    """One file a sample, in folders by class, beside files of another kind."""
    files(folder, [f"class{n % 4}/{n}.bin" for n in range(SAMPLES)])
    files(folder, [f"class{n}/notes.txt" for n in range(4)])
    return EACH * SAMPLES


def shards(folder: Path) -> int:
    """A tenth of the samples in each of ten files."""
    files(folder, [f"shard-{n}.npy" for n in range(10)])
    return EACH * 10


def array(folder: Path) -> int:
    numpy.save(folder / "all.npy", numpy.zeros((SAMPLES, 100)))
    return (folder / "all.npy").stat().st_size


def zipped(folder: Path) -> int:
    with zipfile.ZipFile(folder / "all.zip", "w") as made:
        for n in range(SAMPLES):
            made.writestr(str(n), bytes(EACH))
    return (folder / "all.zip").stat().st_size


def tarred(folder: Path) -> int:
    files(folder, ["member"])
    with tarfile.open(folder / "all.tar", "w") as made:
        made.add(folder / "member")
    return (folder / "all.tar").stat().st_size


def database(folder: Path) -> int:
    """A library opens it, not Python; it stays open."""
    connection = sqlite3.connect(folder / "all.db")
    connection.execute("create table t (x blob)")
    connection.executemany("insert into t values (?)", [(bytes(EACH),)] * 20)
    connection.commit()
    connection.close()
    return (folder / "all.db").stat().st_size


def lmdb_file(folder: Path) -> int:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder / "all.lmdb"), subdir=False, map_size=1 << 20) as made, made.begin(write=True) as put:
        put.put(b"x", bytes(EACH))
    return (folder / "all.lmdb").stat().st_size


def none(folder: Path) -> int:  # noqa: ARG001
    return 0


Make = Callable[[Path], int]
CASES: dict[str, tuple[Make, str, str]] = {
    "a file a sample": (plain, "open(f'{HERE}/class{index % 4}/{index}.bin', 'rb').read()", "as lie beside them"),
    "by a path of os": (plain, "os.close(os.open(f'{HERE}/class{index % 4}/{index}.bin', os.O_RDONLY))", "beside them"),
    "shards": (shards, "open(f'{HERE}/shard-{index // 20}.npy', 'rb').read(10)", "all that were opened"),
    "mapped": (array, "numpy.load(f'{HERE}/all.npy', mmap_mode='r')[index].sum()", "all that were opened"),
    "zip": (zipped, "zipfile.ZipFile(f'{HERE}/all.zip').read(str(index))", "all that were opened"),
    "tar, opened once": (
        tarred,
        "self.tar = getattr(self, 'tar', None) or tarfile.open(f'{HERE}/all.tar')",
        "all that were opened",
    ),
    "a library's file": (
        database,
        "self.db = getattr(self, 'db', None) or sqlite3.connect(f'{HERE}/all.db'); self.db.execute('select * from t')",
        "all that were opened",
    ),
    "lmdb": (
        lmdb_file,
        "import lmdb; self.db = getattr(self, 'db', None) or lmdb.open(f'{HERE}/all.lmdb', subdir=False)",
        "all that were opened",
    ),
    "in a worker alone": (
        array,
        "torch.utils.data.get_worker_info() and numpy.load(f'{HERE}/all.npy', mmap_mode='r')",
        "all that were opened",
    ),
    "made by itself": (none, "torch.rand(4)", "opened no file"),
    "what it writes": (none, "open(f'{HERE}/log', 'a').write('x')", "opened no file"),
    "over the network": (
        none,
        "s = socket.socket(); s.setblocking(False); s.connect_ex(('192.0.2.7', 9)); s.close()",
        "reads from 192.0.2.7 over the network",
    ),
    "raises": (none, "raise ValueError('no label')", "no sample could be made"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_files_that_it_opens_are_found(feeder: Feeder, tmp_path: Path, name: str) -> None:
    make, body, told = CASES[name]
    data, script = tmp_path / "data", tmp_path / "script"
    data.mkdir()
    script.mkdir()
    files(script, ["photo.jpg", "large.bin"])  # beside the script, and none of the Dataset's
    total = make(data)
    path = script / "mine.py"
    path.write_text(HEAD.format(data=str(data), samples=SAMPLES, body=" " * 8 + body))
    task: dict[str, Any] = {"seed": 1, "timeout_s": 20, "seconds": 20, "limit_s": 60}
    outcome, said = feeder.ask("opened", data={"file": str(path)}, **task)
    assert outcome.ok, outcome.detail
    said.pop("memory")
    found = FolderContent.model_validate(said)
    assert told in (found.how or found.unknown)
    assert found.bytes == pytest.approx(total, rel=0.05)
    assert {Path(p).is_relative_to(data) for p in found.paths} == ({True} if total else set())
    if total:
        assert Path(found.real).is_relative_to(data)


def test_a_large_file_is_read_in_pieces_and_in_time(feeder: Feeder, tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as file:
        file.truncate(3 << 30)
    outcome, said = feeder.ask("read", limit_s=30, paths=[str(tmp_path / "large")], seconds=0.2, seed=1)
    assert outcome.ok, outcome.detail
    assert said["any_order"]["bytes_s"] > 0
    assert said["in_order"]["slow_s"] < 20


def test_what_is_not_known_is_said_and_not_measured(feeder: Feeder, tmp_path: Path) -> None:
    """With a picture beside the script, of which the storage was measured in its place."""
    files(tmp_path, ["photo.jpg"])
    path = tmp_path / "mine.py"
    path.write_text(HEAD.format(data="", samples=8, body="        pass"))
    data = Data("x", str(tmp_path), file=str(path))
    run = DataloaderRun(sys.executable, data, make_host(), BUDGETS["quick"], root=Root.live())
    run.look(feeder)
    run.read(feeder)
    section = show.storage(run.feed())
    assert section.verdict.startswith(
        "Storage and page cache are not measured: 8 samples of the Dataset opened no file"
    )
    assert str(tmp_path) not in repr(section)
    assert run.feed().storage.reading is None
    assert not storage.UNKNOWN.is_known


def test_a_hook_never_raises_and_notes_no_end_of_names() -> None:
    with open("/dev/null", "wb") as note:
        hook = opened.Hook(note.fileno())
        for args in ((None, None, None), (3, "r", 0), ("a\udcff", "r", None), (object(), "r", 0)):
            hook("open", args)
        for n in range(opened.MOST_FILES + 100):
            hook("open", (f"/x/{n}", "r", 0))
        hook("socket.connect", (None, "/a/unix/socket"))
        assert len(hook.known) == opened.MOST_FILES
