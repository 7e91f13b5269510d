"""Small trees of /proc and /sys, and the dumps of real machines where they are."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwdiag.host import Root

DUMPS = Path(__file__).parents[2].parent / "shared" / "hosts"

MakeTree = Callable[[dict[str, str]], Root]


@pytest.fixture
def tree(tmp_path: Path) -> MakeTree:
    """Writes files under the paths that a machine knows them by, and opens them as a Root."""

    def make(files: dict[str, str]) -> Root:
        for path, text in files.items():
            place = tmp_path / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return Root.directory(tmp_path)

    return make


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Unpacks a dump once per session and gives its folder.

    In memory where there is room: all of them are 85,000 small files, which take seconds there, and minutes on a busy
    disk.
    """
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 2 << 30  # they take 312 MiB
    folders: dict[str, Path] = {}

    with tempfile.TemporaryDirectory(dir=shared if roomy else tmp_path_factory.mktemp("dumps")) as top:

        def once(name: str) -> Path:
            if not archive(name).exists():
                pytest.skip(f"the dumps of real machines are not here: no {archive(name)}")
            if name not in folders:
                folders[name] = unpack(name, Path(top))
            return folders[name]

        yield once


def archive(name: str) -> Path:
    return DUMPS / f"{name}.tar.gz"


def unpack(name: str, place: Path) -> Path:
    """The folder of a dump, below this one."""
    folder = place / name
    folder.mkdir()
    # Not tarfile, whose filters take ten times as long; these archives are our own.
    subprocess.run(["tar", "--extract", "--file", archive(name), "--directory", folder], check=True)
    return folder


X86_CPU = """\
processor\t: {id}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 62
model name\t: Intel(R) Xeon(R) CPU E5-2680 v2 @ 2.80GHz
stepping\t: 4
physical id\t: {socket}
core id\t\t: {core}
flags\t\t: fpu lm cmov cx8 fxsr mmx sse sse2 syscall cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3 avx f16c

"""


def small_machine(cpus: int = 4) -> dict[str, str]:
    """Files of a machine with one socket, ``cpus`` cores, no SMT, private L1 and one shared L3."""
    top = "/sys/devices/system"
    last = cpus - 1
    files = {
        "/proc/cpuinfo": "".join(X86_CPU.format(id=i, socket=0, core=i) for i in range(cpus)),
        "/proc/meminfo": "MemTotal:       16384 kB\nMemAvailable:    8192 kB\n",
        f"{top}/cpu/online": f"0-{last}\n",
        f"{top}/cpu/present": f"0-{last}\n",
        f"{top}/node/node0/cpulist": f"0-{last}\n",
        f"{top}/node/node0/meminfo": "Node 0 MemTotal:       16000 kB\nNode 0 MemFree:  100 kB\n",
        f"{top}/node/node0/distance": "10\n",
    }
    for i in range(cpus):
        cpu = f"{top}/cpu/cpu{i}"
        files |= {
            f"{cpu}/topology/physical_package_id": "0\n",
            f"{cpu}/topology/core_id": f"{i}\n",
            f"{cpu}/topology/thread_siblings_list": f"{i}\n",
            f"{cpu}/cpufreq/cpuinfo_max_freq": "3600000\n",
            f"{cpu}/cpufreq/scaling_governor": "powersave\n",
        }
        for index, (level, kind, size, sharers) in enumerate(
            [(1, "Data", "32K", str(i)), (3, "Unified", "25600K", f"0-{last}")]
        ):
            cache = f"{cpu}/cache/index{index}"
            files |= {
                f"{cache}/level": f"{level}\n",
                f"{cache}/type": f"{kind}\n",
                f"{cache}/size": f"{size}\n",
                f"{cache}/shared_cpu_list": f"{sharers}\n",
            }
    return files
