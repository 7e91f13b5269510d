"""Damaged machines: whatever is wrong in /proc and /sys, the Host says what is known, and nothing else happens."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwdiag.host import Root, read_host
from hwdiag.host.archive import Archive, Failure, Manifest
from hwdiag.host.model import Host
from hwdiag.host.snapshot import RecordingRoot, package
from hwdiag.process.software import NOT_HERE
from hwdiag.report.host_table import host_table
from hwdiag.report.topology import draw_topology
from hwdiag.tune.placement import placement

from .conftest import DUMPS, MakeTree, small_machine

NAMES = ("small", *sorted(p.name.removesuffix(".tar.gz") for p in DUMPS.glob("*.tar.gz")))

Files = dict[str, bytes]

FUZZ = settings(
    max_examples=12,  # twice, so every dump is damaged in two dozen ways
    derandomize=True,  # the same everywhere
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_the_dumps_are_there() -> None:
    """Without them only the project's own small machine is damaged."""
    if len(NAMES) == 1:
        pytest.skip(f"no dumps of real machines in {DUMPS}")


@pytest.fixture(scope="session")
def recorded(unpacked: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """What the readers read of a dump, and the Host that they made of it; each read once per session."""
    known: dict[str, tuple[Manifest, Files, Host]] = {}

    def record(name: str) -> tuple[Manifest, Files, Host]:
        if name not in known:
            folder = tmp_path_factory.mktemp("small") if name == "small" else unpacked(name)
            if name == "small":
                for path, text in small_machine().items():
                    (folder / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
                    (folder / path.lstrip("/")).write_text(text)
            recorder = RecordingRoot(str(folder))
            host = read_host(recorder)
            known[name] = (*package(recorder, host, with_names=True), host)
        return known[name]

    return record


def sound(host: Host) -> None:
    """What holds of every Host, however damaged its machine: its parts fit each other, and it can be shown."""
    online = set(host.cpu.online)
    assert {c.id for c in host.cpu.logical} in (online, set())
    assert sorted(c for k in host.cpu.kinds for c in k.cpus) in (sorted(online), [])
    assert all(set(c.cpus) <= online and c.cpus and c.size_bytes >= 0 for c in host.cpu.caches)
    assert all(set(n.cpus) <= online for n in host.numa)
    assert set(host.usable_cpus) <= online
    assert len({n.id for n in host.numa}) == len(host.numa)
    assert not online & set(host.cpu.offline)
    assert host.cpu.cores is None or 0 <= host.cpu.cores <= len(online)
    assert host.cpu.sockets is None or 0 <= host.cpu.sockets <= len(online)
    assert host.limits.cpu_quota is None or host.limits.cpu_quota > 0
    assert all(b is None or b >= 0 for b in (host.memory.total_bytes, host.memory.available_bytes))
    assert not [g for g in host.gaps if re.match(r"(\w+Error|AssertionError|Exception)\b", g.why)], host.gaps
    assert Host.model_validate_json(host.model_dump_json()) == host


# Damage


LOSSES = ("empty", "binary", "delete", "folder", "denied", "broken")
"""Ways to lose a file whole: then nothing wrong may be said of it."""


def lose(manifest: Manifest, files: Files, name: str, how: str) -> Manifest:
    """Lose one file in this way; gives the manifest that goes with it."""
    if how == "empty":
        files[name] = b""
        return manifest
    if how == "binary":
        files[name] = b"\x7fELF\x00\xff\xfe" + files[name][:40]
        return manifest
    del files[name]
    path = f"/{name}"
    if how == "folder":
        return manifest.model_copy(update={"folders": {**manifest.folders, path: ("inside",)}})
    number = {"denied": errno.EACCES, "broken": errno.EIO}.get(how)
    if number is None:
        return manifest
    failure = Failure(number=number, text="went wrong")
    return manifest.model_copy(update={"failures": {**manifest.failures, path: failure}})


@st.composite
def losses(draw: Any) -> list[tuple[float, str]]:
    """Which files are lost, as places in the sorted list from 0 to 1, and how."""
    return draw(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(LOSSES)), min_size=1, max_size=4))


@pytest.mark.parametrize("name", NAMES)
@FUZZ
@given(wrong=losses())
def test_a_lost_file_is_unknown_and_nothing_is_made_up(
    recorded: Callable[[str], Any], name: str, wrong: list[tuple[float, str]]
) -> None:
    manifest, whole, right = recorded(name)
    files = dict(whole)
    order = sorted(files)
    chosen = {order[min(int(place * len(order)), len(order) - 1)]: how for place, how in wrong}
    for lost, how in chosen.items():
        manifest = lose(manifest, files, lost, how)
    root = Watched(manifest, files)
    host = read_host(root)
    sound(host)
    for what, value, wanted in zip(*plain(host, right), strict=True):
        # The nodes' sum for the whole memory, the product without its vendor: less, but true.
        less = sum(n.memory_bytes or 0 for n in host.numa) if what == "memory.total_bytes" else None
        if what == "system.product" and wanted and value:
            less = next((w for w in (value,) if wanted.endswith(f" {value}")), None)
        assert value in (wanted, less, None, "unknown", (), ""), (what, value, wanted)
    unreadable = {f"/{name}" for name, how in chosen.items() if how in ("binary", "denied", "broken")}
    assert unreadable & root.asked <= {g.what for g in host.gaps}


class Watched(Archive):
    """Remembers which files were asked for: where one is lost, others may be of no interest any more."""

    def __init__(self, manifest: Manifest, files: Files) -> None:
        super().__init__(manifest, files)
        self.asked: set[str] = set()

    def text(self, path: str, limit: int = 1 << 20) -> str | None:
        self.asked.add(path)
        return super().text(path, limit)


def plain(host: Host, right: Host) -> tuple[list[str], list[Any], list[Any]]:
    """Facts that one file or another tells, of both hosts: names, found, wanted."""
    names = {
        "system": ("kernel", "distribution", "product", "machine_hash", "boot_id", "cmdline"),
        "memory": ("total_bytes", "available_bytes", "swap_total_bytes", "page_bytes", "transparent_hugepages"),
        "cpu": ("vendor", "family"),
        "limits": ("cpu_quota", "memory_limit_bytes", "nofile", "memlock_bytes"),
    }
    paths = [(part, field) for part, fields in names.items() for field in fields]
    values = [[getattr(getattr(h, part), field) for part, field in paths] for h in (host, right)]
    return [f"{part}.{field}" for part, field in paths], *values


@st.composite
def changes(draw: Any) -> list[tuple[float, str, int]]:
    """Which files are changed, how, and a number that says where."""
    ways = st.sampled_from(("cut", "numbers", "swap", "double", "noise", "huge", "negative", "words", "nul", "spaces"))
    return draw(st.lists(st.tuples(st.floats(0, 1), ways, st.integers(0, 10**6)), min_size=1, max_size=6))


def change(files: Files, order: list[str], name: str, how: str, number: int) -> None:
    """Make a file contradict the others, or itself."""
    data = files[name]
    other = files[order[number % len(order)]]
    files[name] = {
        "cut": lambda: data[: number % (len(data) + 1)],
        "numbers": lambda: re.sub(rb"\d+", lambda m: str((int(m[0][:9]) * 7 + number) % 300).encode(), data),
        "swap": lambda: other,
        "double": lambda: data + data,
        "noise": lambda: bytes((b + number) % 256 for b in data[:2000]),
        "huge": lambda: re.sub(rb"\d+", b"9" * (1 + number % 40), data, count=1 + number % 5),
        "negative": lambda: re.sub(rb"\d+", b"-5", data),
        "words": lambda: re.sub(rb"\w+", b"[x]", data),
        "nul": lambda: data[: number % (len(data) + 1)] + b"\0" + data[number % (len(data) + 1) :],
        "spaces": lambda: re.sub(rb"[\w:]", b"  ", data, count=1 + number % 7),
    }[how]()


@pytest.mark.parametrize("name", NAMES)
@FUZZ
@given(wrong=changes())
def test_a_contradiction_is_survived(
    recorded: Callable[[str], Any], name: str, wrong: list[tuple[float, str, int]]
) -> None:
    manifest, whole, _ = recorded(name)
    files = dict(whole)
    order = sorted(files)
    for place, how, number in wrong:
        # Half of the damage goes where most facts come from.
        few = [n for n in order if not re.search(r"/cpu\d+/", n)]
        names = few if number % 2 else order
        change(files, order, names[min(int(place * len(names)), len(names) - 1)], how, number)
    host = read_host(Archive(manifest, files))
    sound(host)
    if len(host.cpu.online) <= 64:
        assert host_table(host).to_text()
        assert draw_topology(host).svg
        assert all(lever.launch.threads != 0 for lever in placement(host, NOT_HERE).levers)


@FUZZ
@given(text=st.text(alphabet=st.sampled_from("processor\t: 0123456789\nflagscpuMHz#,-xé"), max_size=400))
def test_any_cpuinfo(text: str) -> None:
    manifest = Manifest(made_by="test", made_at="2026-11-20T10:00:00Z")
    sound(read_host(Archive(manifest, {"proc/cpuinfo": text.encode()})))


STRANGE = {
    "loongarch": "system type\t: generic-loongson-machine\nprocessor\t\t: 0\npackage\t\t\t: 0\ncore\t\t\t: 0\n"
    "CPU Family\t\t: Loongson-64bit\nModel Name\t\t: Loongson-3A5000\nFeatures\t\t: cpucfg lam ual fpu lsx lasx\n\n",
    "sparc": "cpu\t\t: SPARC-M7\nfpu\t\t: SPARC-M7 integrated FPU\nncpus probed\t: 2\nCPU0:\t\tonline\n",
    "alpha": "cpu\t\t\t: Alpha\ncpu model\t\t: EV67\ncpus detected\t\t: 4\n",
    "mips": "system type\t: MIPS Malta\nprocessor\t\t: 0\ncpu model\t\t: MIPS 24Kc V0.0  FPU V0.0\nBogoMIPS\t: 796\n\n",
    "nonsense": "processor: yes\nprocessor\t: -1\nprocessor\t: 99999999999\n::::\n\n\nflags :\n",
}


@pytest.mark.parametrize("name", STRANGE)
def test_cpuinfo_of_an_architecture_that_nobody_thought_of(tree: MakeTree, name: str) -> None:
    host = read_host(tree({"/proc/cpuinfo": STRANGE[name]}))
    sound(host)
    assert host.system.arch in ("unknown", "loongarch64", "mips")
    assert host.cpu.isa is None or host.cpu.isa.level == "unknown"
    assert host_table(host).to_text()
    assert draw_topology(host).svg


@pytest.mark.parametrize("file", sorted((DUMPS / "text/cpuinfo").glob("*")) or [None], ids=lambda f: f and f.stem)
def test_every_cpuinfo_that_was_found(tree: MakeTree, file: Path | None) -> None:
    if file is None:
        pytest.skip(f"no cpuinfo of real machines in {DUMPS}")
    host = read_host(tree({"/proc/cpuinfo": file.read_text(errors="replace") + "\n"}))
    sound(host)
    if not re.search("bare-metal-cpu19", file.name):  # this one was cut to the lines about one CPU's place
        assert host.system.arch != "unknown"
    assert host_table(host).to_text()


# On a disk


def test_folders_in_place_of_files_and_files_in_place_of_folders(tmp_path: Path) -> None:
    for path in small_machine():
        (tmp_path / path.lstrip("/")).mkdir(parents=True)
    (tmp_path / "sys/block").write_text("")
    host = read_host(Root.directory(tmp_path))
    sound(host)
    assert host.memory.total_bytes is None
    assert host.disks == ()


def many(cpus: int) -> Files:
    """A machine of so many CPUs, with as many files as a real one."""
    flags = " ".join(f"flag{i}" for i in range(120)) + " fpu lm sse sse2"
    files = {
        "proc/cpuinfo": "".join(
            f"processor\t: {i}\nvendor_id\t: GenuineIntel\nmodel name\t: Many\nflags\t\t: {flags}\n\n"
            for i in range(cpus)
        ),
        "sys/devices/system/cpu/online": f"0-{cpus - 1}\n",
        "sys/devices/system/cpu/present": f"0-{cpus - 1}\n",
    }
    for i in range(cpus):
        cpu, first = f"sys/devices/system/cpu/cpu{i}", i // 256 * 256
        last = min(first + 255, cpus - 1)
        files |= {
            f"{cpu}/topology/physical_package_id": f"{i // 256}\n",
            f"{cpu}/topology/core_id": f"{i // 2 % 128}\n",
            f"{cpu}/topology/thread_siblings_list": f"{i // 2 * 2}-{i // 2 * 2 + 1}\n",
            f"{cpu}/topology/core_siblings_list": f"{first}-{last}\n",
            f"{cpu}/cache/index3/level": "3\n",
            f"{cpu}/cache/index3/type": "Unified\n",
            f"{cpu}/cache/index3/size": "262144K\n",
            f"{cpu}/cache/index3/shared_cpu_list": f"{first}-{last}\n",
            f"{cpu}/cpufreq/scaling_governor": "performance\n",
        }
    for node in range(-(-cpus // 256)):
        place = f"sys/devices/system/node/node{node}"
        files |= {
            f"{place}/cpulist": f"{node * 256}-{min(node * 256 + 255, cpus - 1)}\n",
            f"{place}/meminfo": f"Node {node} MemTotal:       1024 kB\n",
        }
    return {name: text.encode() for name, text in files.items()}


def test_4096_cpus_in_a_second() -> None:
    root = Archive(Manifest(made_by="test", made_at="2026-11-20T10:00:00Z"), many(4096))
    times = []
    for _ in range(2):
        started = time.process_time()  # of this process alone: the test machine does other work too
        host = read_host(root)
        times.append(time.process_time() - started)
    assert (len(host.cpu.online), host.cpu.cores, host.cpu.sockets) == (4096, 2048, 16)
    assert len(host.cpu.llc) == 16
    assert min(times) < 1


def test_4096_cpus_are_drawn() -> None:
    root = Archive(Manifest(made_by="test", made_at="2026-11-20T10:00:00Z"), many(4096))
    assert len(draw_topology(read_host(root)).svg) < 3_000_000
