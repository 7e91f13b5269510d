"""The guest is what the other tests take it for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.vm.fixtures import ROOT, StartGuest
from tests.vm.guest import DISKS, Guest, Machine, Node

pytestmark = pytest.mark.vm


def test_two_nodes_that_memory_can_be_bound_to(guest: Guest) -> None:
    assert "available: 2 nodes (0-1)" in guest.run("numactl --hardware").stdout
    bound = guest.run("numactl --cpunodebind=1 --membind=1 numactl --show")
    assert "physcpubind: 2 3" in bound.stdout
    assert "membind: 1" in bound.stdout
    assert guest.run("numactl --membind=5 true").status == 1


def test_a_cpu_without_avx2(guest: Guest) -> None:
    flags = guest.run("grep -m1 ^flags /proc/cpuinfo").stdout.split()
    assert "avx" in flags
    assert "avx2" not in flags


def test_frequencies_and_idle_states(guest: Guest) -> None:
    cpu = "/sys/devices/system/cpu/cpu3"
    assert guest.run(f"cat {cpu}/cpufreq/scaling_driver").stdout == "acpi-cpufreq\n"
    assert guest.run(f"cat {cpu}/cpufreq/scaling_available_frequencies").stdout.split() == [
        "2600000",
        "2000000",
        "1200000",
    ]
    assert guest.run(f"cat {cpu}/cpuidle/*/name").stdout.split() == ["POLL", "C1", "C2", "C3"]
    assert set(guest.run(f"cat {cpu}/cpuidle/state[1-3]/desc").stdout.splitlines()) == {"ACPI HLT"}  # none spins


def test_each_kind_of_disk(guest: Guest) -> None:
    disks = guest.run("lsblk --nodeps --noheadings --output NAME").stdout.split()
    assert sorted(disks) == ["nvme0n1", "sda", "sdb", "sdc", "vda", "vdb"]
    assert len(disks) == len(DISKS) + 1


def test_how_a_command_ends(guest: Guest) -> None:
    ended = guest.run("echo out; echo err >&2; exit 3")
    assert (ended.status, ended.stdout, ended.stderr) == (3, "out\n", "err\n")
    assert guest.run("kill -ILL $$").status == 128 + 4
    assert guest.run('cat; echo "$WORD"', stdin=b"in ", env={"WORD": "a b"}).stdout == "in a b\n"
    with pytest.raises(TimeoutError):
        guest.run("sleep 2", limit_s=0.1)


def test_files_come_and_go_unchanged(guest: Guest, tmp_path: Path) -> None:
    script = tmp_path / "a script"
    script.write_bytes(b"#!/bin/sh\nexit 7\n#" + bytes(range(256)) * 1000)
    script.chmod(0o750)
    guest.copy_in(script, "/tmp/a script")
    assert guest.run("'/tmp/a script'").status == 7
    guest.copy_out("/tmp/a script", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == script.read_bytes()
    with pytest.raises(OSError, match="No such file"):
        guest.copy_out("/tmp/nothing", tmp_path / "back")


def test_this_python_runs_there_and_cannot_write_here(guest: Guest) -> None:
    found = guest.run(f"{sys.executable} -c 'import hwdiag; print(hwdiag.__file__)'", env={"PYTHONPATH": str(ROOT)})
    assert found.stdout == f"{ROOT}/hwdiag/__init__.py\n"
    assert guest.run(f"touch {ROOT}/README.md").status == 1


@pytest.mark.vm_long
def test_what_outlives_a_reboot_and_a_power_cut(start_guest: StartGuest) -> None:
    guest = start_guest(Machine(cpu="Nehalem", nodes=(Node("0-3"), Node()), disks=("sata",), power=False))
    assert "avx" not in guest.run("grep -m1 ^flags /proc/cpuinfo").stdout.split()
    assert guest.run("cat /sys/devices/system/node/has_memory /sys/devices/system/node/has_cpu").stdout == "0-1\n0\n"

    guest.run("echo kept >/root/kept; sysctl -qw vm.swappiness=13")
    guest.reboot()
    assert guest.run("cat /root/kept; sysctl -n vm.swappiness").stdout == "kept\n60\n"

    guest.run("echo kept again >/root/kept; sync /root/kept; echo lost >/root/lost")
    guest.kill()
    guest.start()
    assert guest.run("cat /root/kept").stdout == "kept again\n"
    assert guest.run("test -s /root/lost").status == 1
