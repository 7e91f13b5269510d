"""Bindings on a machine that has nodes: a guest with two, where each is applied and seen from inside.

A stand-in for torch, which has no threads and no arithmetic, keeps this to seconds: torch itself takes half a minute to
be imported under software emulation. The long test runs all of it there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.vm.fixtures import ROOT
from tests.vm.guest import Guest

SCRIPT = ROOT / "tests" / "process" / "in_guest.py"
TORCH = """
import re
held = bytearray(64 << 20)
held[::4096] = b"x" * len(held[::4096])
def manual_seed(_): pass
def get_num_threads(): return 1
get_num_interop_threads = get_num_threads
class backends:
    class cpu:
        @staticmethod
        def get_cpu_capability():
            pages = {"0": 0, "1": 0}
            for line in open("/proc/self/numa_maps"):
                if "anon=" in line:
                    for node, count in re.findall(r"N(\\d+)=(\\d+)", line):
                        pages[node] += int(count)
            return "%d %d" % (pages["0"], pages["1"])
"""
"""It holds 64 MiB, and tells the pages on each node in place of the CPU's capability."""
GROUP = "/sys/fs/cgroup/hwdiag-test"
PREPARE = f"""
mkdir -p /tmp/stand-in /tmp/few
for t in taskset sh; do ln -sf $(command -v $t) /tmp/few/; done
echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p {GROUP}
echo 2-3 >{GROUP}/cpuset.cpus
echo 1 >{GROUP}/cpuset.mems
"""

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def seen(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the children of an interpreter of the guest's, with the stand-in, see there: see in_guest.py."""
    folder = tmp_path_factory.mktemp("torch")
    (folder / "torch.py").write_text(TORCH)
    (folder / "python").write_text('#!/bin/sh\nPYTHONPATH=/tmp/stand-in exec /usr/bin/python3 "$@"\n')
    (folder / "python").chmod(0o755)
    guest.run(PREPARE)
    for name in ("torch.py", "python"):
        guest.copy_in(folder / name, f"/tmp/stand-in/{name}")
    command = f"{sys.executable} {SCRIPT} /tmp/stand-in/python /tmp/few {GROUP}"
    done = guest.run(command, env={"PYTHONPATH": str(ROOT)}, limit_s=600)
    guest.run(f"rmdir {GROUP}")
    assert done.status == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("tools", ["numactl", "without numactl"])
def test_bindings_are_applied_and_seen_from_inside(seen: dict[str, Any], tools: str) -> None:
    told = seen[tools]
    assert {name: s.get("refused", "no child") for name, s in told.items() if name != "no such node"} == dict.fromkeys(
        ("cpus", "near", "bind", "interleave")
    )
    assert (told["cpus"]["cpus"], told["near"]["cpus"]) == ([1, 3], [2, 3])
    assert [told[name]["memory_policy"] for name in ("near", "bind", "interleave")] == [
        "prefer:1",
        "bind:1",
        "interleave:0-1",
    ]
    pages = {name: [int(n) for n in s["capability"].split()] for name, s in told.items() if "capability" in s}
    assert min(pages["bind"][1], pages["near"][1]) > 16384  # 64 MiB of 4 KiB pages
    assert pages["bind"][0] < 1000
    low, high = sorted(pages["interleave"])
    assert low > 0.4 * (low + high)
    assert "outcome" in told["no such node"]


def test_a_cpuset_without_the_first_cpu(seen: dict[str, Any]) -> None:
    found = seen["cpuset"]
    assert found["usable"] == [2, 3]
    assert found["cpus"] == [2, 3]
    assert found["nodes"] == []  # one node is all it may use: nothing to choose
    assert found["refused"]
    assert set(found["refused"]) <= {None, "asked for 2 threads, torch uses 1"}


@pytest.mark.vm_long
def test_the_whole_workbook_runs_there(guest: Guest, tmp_path: Path) -> None:
    """At the budget quick, with the real torch under emulation, where a block of two processes takes minutes."""
    home = f"mkdir -p $HWDIAG_HOME/outputs && cp -r {ROOT}/params $HWDIAG_HOME"
    settings = "--set workloads=triad --set minutes=12 --set child_timeout=900"
    run = f"{sys.executable} -m hwdiag run --budget quick {settings} --json"
    env = {"PYTHONPATH": str(ROOT), "HWDIAG_HOME": "/root/hwdiag"}
    done = guest.run(f"{home} && {run}", env=env, limit_s=3000)
    assert done.status == 0, done.stderr
    guest.copy_out(f"{env['HWDIAG_HOME']}/{json.loads(done.stdout)['record']}", tmp_path / "record.json")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["complete"]
    assert len(record["host"]["numa"]) == 2
    measurements = record["studies"]["tune"]["measurements"]
    bound = [m for m in measurements if m["plan"].startswith(("cpus=", "interleave"))]
    assert bound
    assert {m["outcome"]["kind"] for m in bound} == {"ok"}
