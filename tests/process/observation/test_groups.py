"""Control groups of an observed process: version 1, version 2, limits of ancestors, and what happened meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwdiag.host.root import Root
from hwdiag.process.observation.groups import ProcessGroups
from hwdiag.process.observation.model import Program
from hwdiag.process.observation.observe import observe_command

MIB = 1 << 20


class Machine:
    """A folder with /proc and /sys of a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, path: str, text: object) -> None:
        file = self.folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def root(self) -> Root:
        return Root.directory(self.folder)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_version_2_with_limits_of_an_ancestor(machine: Machine) -> None:
    top = "/sys/fs/cgroup"
    machine.write("/proc/self/mountinfo", f"30 20 0:25 / {top} rw - cgroup2 cgroup2 rw")
    machine.write("/proc/77/cgroup", "0::/pod/box")
    for folder in ("", "/pod", "/pod/box"):
        machine.write(f"{top}{folder}/cpu.stat", "usage_usec 5\nnr_throttled 0\nthrottled_usec 0")
        machine.write(f"{top}{folder}/memory.current", 100 * MIB)
        machine.write(f"{top}{folder}/pids.current", 4)
    machine.write(f"{top}/pod/cpu.max", "150000 100000")
    machine.write(f"{top}/pod/memory.max", 700 * MIB)
    machine.write(f"{top}/pod/memory.peak", 600 * MIB)
    machine.write(f"{top}/pod/box/memory.max", "max")
    machine.write(f"{top}/pod/box/memory.events", "low 0\noom 1\noom_kill 2")
    machine.write(f"{top}/pod/box/cpu.weight", 20)
    machine.write(f"{top}/pod/pids.max", 64)
    machine.write(f"{top}/pod/pids.events", "max 3")
    machine.write(f"{top}/pod/box/cpuset.cpus.effective", "0-3")
    groups = ProcessGroups(machine.root(), "77")
    found = groups.found()
    assert (found.path, found.cpu_quota, found.cpu_weight) == ("/pod/box", 1.5, 20)
    assert (found.memory_limit_bytes, found.memory_peak_bytes) == (700 * MIB, 100 * MIB), "the peak was before"
    assert (found.oom_kills, found.pids_refused, found.throttled_s) == (0, 0, 0.0), (
        "what happened before does not count"
    )
    assert (found.pids_limit, found.pids_peak, found.cpuset) == (64, 4, (0, 1, 2, 3))

    machine.write(f"{top}/pod/cpu.stat", "usage_usec 5\nnr_throttled 9\nthrottled_usec 2500000")
    machine.write(f"{top}/pod/memory.peak", 699 * MIB)
    machine.write(f"{top}/pod/box/memory.events", "low 0\noom 3\noom_kill 4")
    machine.write(f"{top}/pod/pids.events", "max 10")
    machine.write(f"{top}/pod/pids.current", 60)
    groups.look()
    found = groups.found()
    assert (found.throttled_s, found.oom_kills, found.pids_refused) == (2.5, 2, 7)
    assert (found.memory_peak_bytes, found.pids_peak) == (699 * MIB, 60)


def test_version_1(machine: Machine) -> None:
    top = "/sys/fs/cgroup"
    lines = [
        f"3{n} 20 0:2{n} / {top}/{name} rw - cgroup cgroup rw,{name}"
        for n, name in enumerate(("cpu", "memory", "pids"))
    ]
    machine.write("/proc/self/mountinfo", "\n".join(lines))
    machine.write("/proc/self/cgroup", "3:cpu:/other\n2:memory:/other\n1:pids:/other")
    machine.write("/proc/77/cgroup", "3:cpu:/job\n2:memory:/job\n1:pids:/job")
    machine.write(f"{top}/cpu/job/cpu.cfs_quota_us", 50000)
    machine.write(f"{top}/cpu/job/cpu.cfs_period_us", 100000)
    machine.write(f"{top}/cpu/job/cpu.shares", 512)
    machine.write(f"{top}/cpu/cpu.shares", 1024)
    machine.write(f"{top}/cpu/job/cpu.stat", "nr_throttled 1\nthrottled_time 1000000000")
    machine.write(f"{top}/memory/job/memory.limit_in_bytes", 700 * MIB)
    machine.write(f"{top}/memory/job/memory.usage_in_bytes", 10 * MIB)
    machine.write(f"{top}/memory/job/memory.max_usage_in_bytes", 20 * MIB)
    machine.write(f"{top}/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0")
    machine.write(f"{top}/memory/memory.limit_in_bytes", 9223372036854771712)
    machine.write(f"{top}/pids/job/pids.max", 30)
    machine.write(f"{top}/pids/job/pids.current", 12)
    groups = ProcessGroups(machine.root(), "77")
    machine.write(f"{top}/cpu/job/cpu.stat", "nr_throttled 5\nthrottled_time 4000000000")
    machine.write(f"{top}/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1")
    groups.look()
    found = groups.found()
    assert (found.path, found.cpu_quota, found.cpu_weight, found.throttled_s) == ("/job", 0.5, 50, 3.0)
    assert (found.memory_limit_bytes, found.oom_kills, found.pids_limit, found.pids_peak) == (700 * MIB, 1, 30, 12)


def test_a_group_that_is_gone_keeps_what_was_seen(machine: Machine) -> None:
    top = "/sys/fs/cgroup"
    machine.write("/proc/self/mountinfo", f"30 20 0:25 / {top} rw - cgroup2 cgroup2 rw")
    machine.write("/proc/77/cgroup", "0::/job")
    machine.write(f"{top}/job/memory.current", MIB)
    machine.write(f"{top}/job/memory.events", "oom_kill 0")
    groups = ProcessGroups(machine.root(), "77")
    machine.write(f"{top}/job/memory.events", "oom_kill 1")
    groups.look()
    assert groups.is_there()
    for file in (machine.folder / "sys/fs/cgroup/job").iterdir():
        file.unlink()
    (machine.folder / "sys/fs/cgroup/job").rmdir()
    groups.look()
    assert groups.found().oom_kills == 1
    assert not groups.is_there()


def test_a_machine_without_control_groups_tells_nothing(machine: Machine) -> None:
    machine.write("/proc/self/mountinfo", "30 20 0:25 / / rw - ext4 /dev/vda rw")
    machine.write("/proc/77/cgroup", "0::/")
    groups = ProcessGroups(machine.root(), "77")
    groups.look()
    found = groups.found()
    assert found.model_dump(exclude_none=True, exclude_defaults=True) == {}


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group (version 1) of which this process is no member."""
    folder = Path(f"/sys/fs/cgroup/memory/hwdiag-test-{os.getpid()}")
    if os.geteuid() or not folder.parent.is_dir() or not (folder.parent / "memory.limit_in_bytes").exists():
        pytest.skip("needs root and control groups of version 1")
    folder.mkdir()
    yield folder
    folder.rmdir()


@pytest.mark.parametrize("limit", [200 * MIB, 4 * MIB])
def test_one_that_the_kernel_kills_for_its_groups_limit_is_told_so_however_short_it_lives(
    small_group: Path, limit: int
) -> None:
    """With the smaller limit, it dies before it is seen in that group."""
    (small_group / "memory.limit_in_bytes").write_text(str(limit))
    code = f"open('{small_group}/cgroup.procs', 'w').write('0'); kept = bytearray({2 * limit})"
    program = observe_command([sys.executable, "-S", "-c", code])
    assert program.ending.outcome.kind == "out-of-memory"
    assert program.ending.status == -9
    assert program.oom_kills


@pytest.fixture
def few_processes() -> Iterator[Path]:
    """A control group (version 1) with a limit of 40 processes and threads, of which this process is no member."""
    folder = Path(f"/sys/fs/cgroup/pids/hwdiag-test-{os.getpid()}")
    if os.geteuid() or not folder.parent.is_dir():
        pytest.skip("needs root and control groups of version 1")
    folder.mkdir()
    (folder / "pids.max").write_text("40")
    yield folder
    time.sleep(0.2)
    folder.rmdir()


def test_a_limit_on_processes_that_holds_for_hwdiag_too_is_told(few_processes: Path, tmp_path: Path) -> None:
    threads = """
import threading, time
try:
    while True: threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
finally:
    time.sleep(2)
"""
    observer = f"""
from pathlib import Path
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.process.observation.model import Program
from hwdiag.process.observation.observe import observe_command
program = observe_command([{sys.executable!r}, "-S", "-c", {threads!r}], sampler=Sampler(Root.live()))
Path({str(tmp_path / "program")!r}).write_text(program.model_dump_json())
"""
    inside = f'echo 0 > {few_processes}/cgroup.procs && exec {sys.executable} -c "$1"'
    subprocess.run(["sh", "-c", inside, "sh", observer], check=True, timeout=60)
    program = Program.model_validate_json((tmp_path / "program").read_text())
    assert "can't start new thread" in program.ending.stderr
    group = program.processes[0].cgroup
    assert group.pids_limit == 40
    assert group.pids_peak is not None
    assert group.pids_peak >= 38
    assert group.pids_refused
