"""Snapshots: the same facts elsewhere, nobody's names in them, and no harm from a stranger's."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.host import archive as archives
from hwdiag.host import read_host
from hwdiag.host.archive import MANIFEST, open_archive, open_root, write_archive
from hwdiag.host.model import Host
from hwdiag.host.snapshot import RecordingRoot, make_snapshot, package

from .conftest import DUMPS, small_machine
from .test_host_gpu import GB10, FakeNvml

NAMES = sorted(p.name.removesuffix(".tar.gz") for p in DUMPS.glob("*.tar.gz"))
ABSENT = pytest.param("", marks=pytest.mark.skip(f"no dumps of real machines in {DUMPS}"))
VARIES = {"source", "read_at"}


def facts(host: Host, *names: str) -> dict[str, Any]:
    """Everything of a host but where it was read from and when."""
    found = host.model_dump(exclude=VARIES)
    for name in names:
        del found["system"][name]
    return found


def packed(folder: Path, target: Path, *, with_names: bool = False) -> Host:
    """Packs an unpacked dump as if it were this machine; gives the Host that was read for it."""
    recorder = RecordingRoot(str(folder))
    host = read_host(recorder)
    write_archive(target, *package(recorder, host, with_names=with_names))
    return host


@pytest.mark.parametrize("name", NAMES or [ABSENT])
def test_every_dump_reads_the_same_from_its_archive(name: str, unpacked: Callable[[str], Path]) -> None:
    host = read_host(open_root(unpacked(name)))
    assert facts(read_host(open_root(DUMPS / f"{name}.tar.gz"))) == facts(host)


@pytest.mark.parametrize("name", NAMES or [ABSENT])
def test_every_dump_reads_the_same_from_a_snapshot(name: str, unpacked: Callable[[str], Path], tmp_path: Path) -> None:
    target = tmp_path / "s.tar.gz"
    host = packed(unpacked(name), target)
    started = time.process_time()
    again = read_host(open_archive(target))
    assert time.process_time() - started < 1.5, "the dump's 0.3 s and the unpacking, on a busy machine"
    hidden = ("hostname", "machine_hash", "boot_id", "cmdline")
    assert facts(again, *hidden) == facts(host, *hidden)
    assert again.source == "snapshot"
    assert again.read_at == host.read_at
    assert target.stat().st_size < 300_000


def test_this_machine_reads_the_same_from_a_snapshot(tmp_path: Path) -> None:
    host = make_snapshot(tmp_path / "s.tar.gz", with_names=True)
    again = read_host(open_root(tmp_path / "s.tar.gz"))
    assert facts(again) == facts(host)
    assert host.source == "live"


def test_gpus_are_remembered_without_their_serial_numbers(tmp_path: Path) -> None:
    recorder = RecordingRoot(str(tmp_path))
    host = read_host(recorder, nvml=FakeNvml([GB10]))
    for with_names in (True, False):
        write_archive(tmp_path / "s.tar.gz", *package(recorder, host, with_names=with_names))
        (gpu,) = read_host(open_archive(tmp_path / "s.tar.gz")).gpus
        assert gpu.name == "NVIDIA GB10"
        assert (gpu.uuid is not None) == with_names


SECRETS = (
    "0123456789abcdef0123456789abcdef",  # machine id
    "11111111-2222-3333-4444-555555555555",
    "00:1a:2b:3c:4d:5e",
    "192.168.7.8",
    "fileserver.example.org",
    "alice",
    "marvin",
    "00000000deadbeef",
    "SN-4711",
    "c0ffee" * 10,
)


@pytest.fixture
def chatty(tmp_path: Path) -> Path:
    """A machine that names its owner wherever the readers look."""
    group = f"/user.slice/alice.slice/docker-{'c0ffee' * 10}.scope"
    files = small_machine() | {
        "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "/etc/hostname": "marvin\n",
        "/proc/sys/kernel/hostname": "marvin\n",
        "/proc/sys/kernel/random/boot_id": "11111111-2222-3333-4444-555555555555\n",
        "/proc/version": "Linux version 6.1.0 (alice@marvin) (gcc 12) #1 SMP\n",
        "/proc/cmdline": "BOOT_IMAGE=/marvin/vmlinuz root=UUID=11111111-2222-3333-4444-555555555555 quiet "
        "ip=192.168.7.8::1 nfsroot=fileserver.example.org:/x BOOTIF=00:1a:2b:3c:4d:5e clearcpuid=avx2 x=ftp://alice@y "
        "init=/home/alice/init -- --owner alice\n",
        "/proc/self/cgroup": f"0::{group}\n",
        "/proc/self/status": "Name:\talice\nCpus_allowed_list:\t0-1\nMems_allowed_list:\t0\n",
        "/proc/self/mountinfo": "1 2 0:1 / /home/alice rw - nfs fileserver.example.org:/x rw\n"
        "2 2 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        f"/sys/fs/cgroup{group}/cpu.max": "150000 100000\n",
        "/sys/class/dmi/id/product_name": "Box\n",
        "/sys/class/dmi/id/product_serial": "SN-4711\n",
    }
    files["/proc/cpuinfo"] += "Hardware\t: X\nSerial\t\t: 00000000deadbeef\n"
    folder = tmp_path / "chatty"
    for path, text in files.items():
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder


def everything(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def test_a_snapshot_names_nobody_unless_asked(chatty: Path, tmp_path: Path) -> None:
    host = packed(chatty, tmp_path / "with.tar.gz", with_names=True)
    packed(chatty, tmp_path / "without.tar.gz")
    told = [s for s in SECRETS if s in everything(tmp_path / "with.tar.gz")]
    assert set(told) == set(SECRETS) - {"SN-4711"}, "which no reader asks for"
    assert [s for s in SECRETS if s in everything(tmp_path / "without.tar.gz")] == []
    again = read_host(open_archive(tmp_path / "without.tar.gz"))
    assert again.limits == host.limits, "renamed groups are still found"
    assert again.limits.cpu_quota == 1.5
    assert again.system.container == host.system.container == "docker"
    assert (again.system.kernel, again.system.machine_hash) == ("6.1.0", None)
    assert "clearcpuid=avx2" in (again.system.cmdline or "")


def test_a_compilers_folders_are_left_out(tmp_path: Path) -> None:
    recorder = RecordingRoot(str(tmp_path))
    host = read_host(recorder)
    clang = '"clang" "-target-cpu" "znver4" "-fdebug-compilation-dir=/home/alice"\n'
    recorder.outputs |= {"gcc": "  -march=         \tznver3\n  -mtune=  x\n", "clang": clang}
    manifest, _ = package(recorder, host)
    assert manifest.outputs == {"gcc": "  -march=         \tznver3", "clang": '"-target-cpu" "znver4"'}


def test_a_file_that_could_not_be_read_is_still_a_gap(tmp_path: Path) -> None:
    class Denied(RecordingRoot):
        def _read(self, path: str, limit: int) -> bytes:
            if path == "/proc/meminfo":
                error = PermissionError(13, "Permission denied")
                self._fail(path, error)
                raise error
            return super()._read(path, limit)

    recorder = Denied(str(tmp_path))
    host = read_host(recorder)
    write_archive(tmp_path / "s.tar.gz", *package(recorder, host))
    assert [(g.what, g.why) for g in read_host(open_archive(tmp_path / "s.tar.gz")).gaps] == [
        ("/proc/meminfo", "permission denied")
    ]


def test_same_answers_same_bytes(chatty: Path, tmp_path: Path) -> None:
    recorder = RecordingRoot(str(chatty))
    host = read_host(recorder)
    for name in "ab":
        write_archive(tmp_path / name, *package(recorder, host))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HwdiagError, match="cannot write"):
        make_snapshot(tmp_path / "no" / "s.tar.gz")


# From a stranger


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type = kind
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def hostile(path: Path, *entries: tarfile.TarInfo, manifest: bytes | None = b'{"schema_version": 1}') -> Path:
    """An archive with these entries, each of one byte if a file, and a manifest that is nearly whole."""
    whole = {"schema_version": 1, "made_by": "x", "made_at": "2026-11-20T10:00:00Z"}
    data = json.dumps(whole).encode() if manifest == b'{"schema_version": 1}' else manifest
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        for e in entries:
            e.size = 1 if e.isreg() else 0
            archive.addfile(e, io.BytesIO(b"1"))
        if data is not None:
            info = tarfile.TarInfo(MANIFEST)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_what_is_plain_is_opened(tmp_path: Path) -> None:
    root = open_archive(hostile(tmp_path / "s", entry("sys/a"), entry("sys/b/c")))
    assert (root.integer("/sys/a"), root.names("/sys"), root.names("/")) == (1, ("a", "b"), ("sys",))
    assert root.exists("/sys/b")
    assert not root.exists("/etc/passwd")
    assert root.text("/etc/passwd") is None
    assert root.output("true") is None


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (entry("../evil"), "no path below"),
        (entry("a/../../evil"), "no path below"),
        (entry("/etc/passwd"), "no path below"),
        (entry("a//b"), "no path below"),
        (entry("a", tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (entry("a", tarfile.LNKTYPE, linkname="b"), "is a link"),
        (entry("a", tarfile.CHRTYPE), "is a device"),
        (entry("a", tarfile.BLKTYPE), "is a device"),
        (entry("a", tarfile.FIFOTYPE), "is a device"),
        (entry("a", tarfile.CONTTYPE), "no plain file"),
    ],
)
def test_what_is_no_plain_file_below_the_top_is_refused(tmp_path: Path, what: tarfile.TarInfo, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_archive(hostile(tmp_path / "s", what))
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


def test_folders_are_no_content_of_a_snapshot(tmp_path: Path) -> None:
    root = open_archive(
        hostile(tmp_path / "s", entry("sys", tarfile.DIRTYPE), entry("./sys/a"), entry(".", tarfile.DIRTYPE))
    )
    assert (root.integer("/sys/a"), root.source) == (1, "snapshot")


@pytest.mark.parametrize("top", ["", "./", "spark/"])
def test_the_archive_of_a_dump_is_read_as_its_folder_would_be(tmp_path: Path, top: str) -> None:
    """With folder entries and links, as tar(1) packs it; no link leads out of it."""
    links = {
        "sys/a/up": "../b",
        "sys/a/out": "../../../etc",
        "sys/a/top": "/sys/b",
        "sys/a/loop": "loop",
        "sys/a/gone": "x",
    }
    entries = [entry(f"{top}{name}", tarfile.SYMTYPE, linkname=target) for name, target in links.items()]
    folders = [entry(f"{top}{name}", tarfile.DIRTYPE) for name in ("sys/", "sys/a", "sys/empty")]
    root = open_archive(hostile(tmp_path / "s", *folders, entry(f"{top}sys/b/c"), *entries, manifest=None))
    assert root.source == "directory"
    assert root.names("/sys") == ("a", "b", "empty")
    assert [root.integer(f"/sys/a/{name}/c") for name in ("up", "top", "out", "loop", "gone")] == [
        1,
        1,
        None,
        None,
        None,
    ]
    assert (root.names("/sys/empty"), root.names("/sys/a/up"), root.link("/sys/a/up")) == ((), ("c",), "../b")
    assert (root.exists("/sys/a/up/c"), root.exists("/sys/a/out"), root.exists("/etc/passwd")) == (True, False, False)
    assert {g.what for g in root.gaps} == {"/sys/a/out/c", "/sys/a/loop/c"}
    assert (root.uname, root.gpus, root.output("true"), root.affinity) == (None,) * 4


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'a' is in it twice"):
        open_archive(hostile(tmp_path / "s", entry("a"), entry("a")))


def numbered(first: int) -> bytes:
    """A thousand headers of empty files: one header, whose name and checksum are changed."""
    whole = bytearray(entry("f0000000").tobuf(tarfile.USTAR_FORMAT))
    # The checksum is the sum of all bytes, and only the seven digits change.
    without_digits = int(whole[148:154], 8) - 7 * ord("0")
    headers = []
    for number in range(first, first + 1000):
        digits = b"%07d" % number
        whole[1:8] = digits
        whole[148:154] = b"%06o" % (without_digits + sum(digits))
        headers.append(bytes(whole))
    return b"".join(headers)


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with gzip.open(path, "wb", 1) as file:
        for first in range(0, 200_000, 1000):
            file.write(numbered(first))
    with tarfile.open(path, "r|gz") as archive:
        assert [archive.next().name for _ in range(3)] == ["f0000000", "f0000001", "f0000002"]
    started = time.process_time()
    with pytest.raises(UsageError, match="more than 100000 entries"):
        open_archive(path)
    assert time.process_time() - started < 20


def test_more_entries_than_any_host_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10)
    assert open_archive(hostile(tmp_path / "ok", *(entry(f"f{i}") for i in range(9)))).integer("/f8") == 1
    with pytest.raises(UsageError, match="more than 10 entries"):
        open_archive(hostile(tmp_path / "s", *(entry(f"f{i}") for i in range(10))))


def bomb(path: Path, header: bytes, claimed: int) -> Path:
    """A header, and so many bytes of zeros after it, 1000 times smaller in the file."""
    with gzip.open(path, "wb", 1) as file:
        file.write(header)
        for _ in range(claimed >> 20):
            file.write(bytes(1 << 20))
    return path


LONG = [pytest.param(kind, marks=pytest.mark.long) for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE)]


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, *LONG])
def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, kind: bytes) -> None:
    """In a file's content, or in a header that tarfile itself reads whole."""
    claimed = 400 << 20
    path = bomb(tmp_path / "s", entry("a", kind, size=claimed).tobuf(tarfile.GNU_FORMAT), claimed)
    assert path.stat().st_size < 3 << 20
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r"larger than|damaged"):
            open_archive(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * archives.MAX_TOTAL_BYTES


def test_many_files_that_are_too_much_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 20_000)
    with pytest.raises(UsageError, match="when uncompressed"):
        open_archive(hostile(tmp_path / "s", *(entry(f"f{i}") for i in range(100))))


def test_sparse_files_that_claim_more_than_they_hold_are_refused(tmp_path: Path) -> None:
    header = entry("a", tarfile.GNUTYPE_SPARSE, size=0).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(UsageError, match=r"refused|damaged"):
        open_archive(bomb(tmp_path / "s", header, 1 << 20))


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, f"holds no {MANIFEST}"),
        (b"", "not JSON"),
        (b"\xff\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "schema version None"),
        (b'{"schema_version": 2}', "schema version 2; this hwdiag reads version 1"),
        (b'{"schema_version": 1, "made_by": "x", "made_at": "y", "affinity": "5-1"}', "affinity"),
        (b'{"schema_version": 1, "made_by": "x", "made_at": "y", "evil": 1}', "evil"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(tmp_path: Path, manifest: bytes | None, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_archive(hostile(tmp_path / "s", entry("x"), manifest=manifest))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 1000, gzip.compress(b""), gzip.compress(b"x" * 2000), b"\x1f\x8b\x08"],
    ids=["empty", "text", "gzip of nothing", "gzip of text", "gzip that is cut"],  # a gzip has the time in it
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot be read|damaged|refused"):
        open_archive(tmp_path / "s")


def test_open_chooses(tmp_path: Path) -> None:
    assert open_root().source == "live"
    assert open_root(tmp_path).source == "directory"
    assert open_root(hostile(tmp_path / "s")).source == "snapshot"
    with pytest.raises(UsageError, match="there is no snapshot"):
        open_root(tmp_path / "nowhere")
