"""Dumps of real machines, and our own snapshots: our facts against the answers of lscpu and hwloc on the same files.

The dumps are read where they are; the snapshots, of virtual guests and of a virtual machine, come with the project, and
their answers are what the programs said there, at the same time (snapshots/make.py).

Where those two disagree, the test says here which one is followed, and why:

- Sockets of a phone with four kinds of Arm cores: lscpu 1, hwloc 3. lscpu is right: its kernel calls each cluster a
  package, and nobody builds several sockets with different cores in them.
- Sockets in Cluster-on-Die mode under kernel 3.10: both say 4, which comes from a kernel bug in ``core_siblings``. The
  package ids, cpuinfo and hwloc's former work-around say 2, and so do we.
- NUMA nodes of s390: lscpu gives node 0 the CPUs 0-140 that could ever be, hwloc the online ones. A Host lists online
  CPUs: hwloc.
- Flags where CPUs of one machine differ: lscpu prints one CPU's, and its versions another one's. What all CPUs have is
  what may be used.
- The memory of a node that says none: both print 0; a Host says unknown.
- L3 and L4 of s390: lscpu takes sizes from cpuinfo, which tells not who shares them; a Host has no such instance.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwdiag.host import Root, read_host
from hwdiag.host.archive import open_archive
from hwdiag.host.cpulist import parse_cpulist
from hwdiag.host.model import Host

from .conftest import DUMPS

SNAPSHOTS = Path(__file__).parent / "snapshots"
EXPECTED: dict[str, dict[str, Any]] = {
    p.name.removesuffix(".expected.json"): json.loads(p.read_text())
    for p in (*sorted(DUMPS.glob("*.expected.json")), *sorted(SNAPSHOTS.glob("*.expected.json")))
}

Dump = tuple[Host, dict[str, Any]]


def dumps(said: Callable[[dict[str, Any]], Any] = lambda _: True) -> pytest.MarkDecorator:
    """Runs a test on all dumps of which the programs said what is asked for; visibly skips it where no dumps are."""
    names: list[Any] = [name for name, expected in EXPECTED.items() if said(expected)]
    if not any(DUMPS.glob("*")):
        names.append(pytest.param("", marks=pytest.mark.skip(f"no dumps of real machines in {DUMPS}")))
    return pytest.mark.parametrize("dump", names, indirect=True)


@pytest.fixture
def opened(unpacked: Callable[[str], Path]) -> Callable[[str], Root]:
    """Opens a dump, or one of our own snapshots."""

    def open_(name: str) -> Root:
        own = SNAPSHOTS / f"{name}.tar.gz"
        return open_archive(own) if own.exists() else Root.directory(unpacked(name))

    return open_


@pytest.fixture
def dump(request: pytest.FixtureRequest, opened: Callable[[str], Root]) -> Dump:
    """A Host and what is expected of it."""
    return read_host(opened(request.param)), EXPECTED[request.param]


def disagreement(expected: dict[str, Any], field: str) -> dict[str, Any]:
    """What each program said of a field that they disagree in; empty where they agree."""
    return next((d for d in expected["disagreements"] if d["field"] == field), {})


def sockets(expected: dict[str, Any]) -> Any:
    """The right number of sockets, as the top of this file explains."""
    return (
        expected["sockets"]
        or expected.get("sockets_by_upstream_workaround_output_and_cpuinfo")
        or disagreement(expected, "sockets").get("lscpu 2.41.5")
    )


def numa_nodes(expected: dict[str, Any]) -> Any:
    """The right nodes; an empty list where the programs saw none."""
    nodes = expected["numa_nodes"]
    return disagreement(expected, "numa_nodes").get("hwloc 2.12.0") if nodes is None else nodes


@dumps()
def test_vendor(dump: Dump) -> None:
    host, expected = dump
    assert host.cpu.vendor == expected["vendor"]


@dumps(lambda e: e["model_names"])
def test_model(dump: Dump) -> None:
    host, expected = dump
    names = expected["model_names"]
    if len(names) > 1:
        assert {k.name for k in host.cpu.kinds} == set(names)
    else:
        assert host.cpu.model == names[0]


@dumps(lambda e: e["arch"])
def test_architecture(dump: Dump) -> None:
    host, expected = dump
    assert host.system.arch == expected["arch"]


@dumps(sockets)
def test_sockets(dump: Dump) -> None:
    host, expected = dump
    assert host.cpu.sockets == sockets(expected)
    assert {c.socket for c in host.cpu.logical} == set(range(sockets(expected)))


@dumps(lambda e: e["cores_physical"])
def test_cores_and_threads(dump: Dump) -> None:
    host, expected = dump
    assert host.cpu.cores == expected["cores_physical"]
    assert {c.core for c in host.cpu.logical} == set(range(host.cpu.cores))
    assert len(host.cpu.online) == expected["threads_logical_online"]
    assert host.cpu.smt == expected["smt_active"]
    assert sum(k.cores for k in host.cpu.kinds) == host.cpu.cores


@dumps(lambda e: e["online_cpu_list"])
def test_online_and_offline(dump: Dump) -> None:
    host, expected = dump
    assert host.cpu.online == parse_cpulist(expected["online_cpu_list"])
    assert host.cpu.offline == parse_cpulist(expected["offline_cpu_list"] or "")


@dumps(lambda e: numa_nodes(e) is not None)
def test_numa_nodes(dump: Dump) -> None:
    host, expected = dump
    nodes = numa_nodes(expected)
    assert [(n.id, n.cpus) for n in host.numa] == [(n["id"], parse_cpulist(n["cpus"] or "")) for n in nodes]
    assert [n.id for n in host.numa if not n.cpus] == expected.get("memory_only_nodes", [])


@dumps(lambda e: e["numa_memory"])
def test_numa_memory(dump: Dump) -> None:
    host, expected = dump
    memory = {n["id"]: n["memory_bytes"] or None for n in expected["numa_memory"]}
    if not host.numa and len(memory) == 1:
        # Without a node in sysfs, hwloc makes one up of the whole machine.
        assert host.memory.total_bytes == memory[0]
    else:
        assert {n.id: n.memory_bytes for n in host.numa} == memory


@dumps(lambda e: len(numa_nodes(e) or ()) > 1 and e["memory_total_bytes"])
def test_distances(dump: Dump) -> None:
    host, expected = dump
    if "numa_distances" in expected:
        assert [list(n.distances) for n in host.numa] == expected["numa_distances"]
    for index, node in enumerate(host.numa):
        assert len(node.distances) == len(host.numa)
        assert node.distances[index] == min(node.distances) == 10, (
            "a node is nearest to itself: the order is the nodes'"
        )


@dumps()
def test_total_memory(dump: Dump) -> None:
    host, expected = dump
    line = expected["proc_meminfo_MemTotal_line"]
    if line is not None:
        assert host.memory.total_bytes == int(line.split()[1]) * 1024
    else:
        assert host.memory.total_bytes == (expected.get("memory_total_bytes") or None)


@dumps(lambda e: e.get("caches"))
def test_caches(dump: Dump) -> None:
    host, expected = dump
    names = {"data": "d", "instruction": "i", "unified": ""}
    found: dict[str, Counter[int]] = {}
    for cache in host.cpu.caches:
        found.setdefault(f"L{cache.level}{names[cache.type]}", Counter())[cache.size_bytes] += 1
    wanted = {k: v for k, v in expected["caches"].items() if v["instances"] is not None}
    if "L2d" in wanted:
        # hwloc calls a level-2 data cache unified; it is the same one.
        del wanted["L2"]
    assert set(found) == set(wanted)
    for name, sizes in found.items():
        assert sizes.total() == wanted[name]["instances"], name
        assert sum(s * n for s, n in sizes.items()) == wanted[name]["total_bytes"], name
        if wanted[name].get("sizes_bytes_to_count"):
            assert {str(s): n for s, n in sizes.items()} == wanted[name]["sizes_bytes_to_count"], name


@dumps(lambda e: e["flags"] or disagreement(e, "flags"))
def test_flags(dump: Dump) -> None:
    host, expected = dump
    said = disagreement(expected, "flags")
    wanted = set(said["lscpu 2.38.1"]) & set(said["lscpu 2.41.5"]) if said else set(expected["flags"])
    assert host.cpu.flags == tuple(sorted(wanted))


@dumps(lambda e: e.get("core_types") or e.get("cpukinds_hwloc_2.12.0"))
def test_kinds(dump: Dump) -> None:
    host, expected = dump
    if "core_types" in expected:
        wanted = {
            (t["model_name"], int(t["Core(s) per socket"]), float(t["CPU max MHz"])) for t in expected["core_types"]
        }
        assert {(k.name, k.cores, k.max_mhz) for k in host.cpu.kinds} == wanted
        return
    # hwloc sorts into kinds by frequency and capacity; where it finds one, so do we, and the fastest is first.
    kinds = expected["cpukinds_hwloc_2.12.0"]
    assert len(host.cpu.kinds) == len(kinds)
    assert {k.cpus for k in host.cpu.kinds} == {parse_cpulist(k["cpus"]) for k in kinds}


@dumps(lambda e: e.get("kernel"))
def test_kernel(dump: Dump) -> None:
    host, expected = dump
    assert host.system.kernel == expected["kernel"]


@dumps(lambda e: e.get("dmi_product"))
def test_product(dump: Dump) -> None:
    host, expected = dump
    assert expected["dmi_product"].strip() in (host.system.product or "")


@dumps(lambda e: e.get("allowed_to_the_gathering_process"))
def test_limits(dump: Dump) -> None:
    host, expected = dump
    allowed = expected["allowed_to_the_gathering_process"]
    assert host.limits.allowed == parse_cpulist(allowed["cpus"])
    assert host.limits.cpuset == parse_cpulist(allowed["cpus"])
    assert host.limits.mems == parse_cpulist(allowed["nodes"])
    assert len(host.usable_cpus) == allowed["threads"]


@dumps(lambda e: e.get("block_devices_lsblk") or e.get("block_devices_hwloc"))
def test_disks(dump: Dump) -> None:
    host, expected = dump
    if expected.get("block_devices_lsblk"):
        tops = [d for d in expected["block_devices_lsblk"] if d["type"] == "disk"]
        assert [(d.name, d.size_bytes, d.rotational) for d in host.disks] == [
            (d["name"], d["size"], d["rota"]) for d in sorted(tops, key=lambda d: str(d["name"]))
        ]
    else:
        disks = expected["block_devices_hwloc"]
        sizes = {d["name"]: int(d["info"]["Size"]) * 1024 for d in disks if d.get("subtype") == "Disk"}
        assert sizes, "hwloc names at least one disk here"
        assert sizes.items() <= {d.name: d.size_bytes for d in host.disks}.items()


@dumps()
def test_nothing_is_amiss(dump: Dump) -> None:
    host, _ = dump
    assert {g.what for g in host.gaps} <= {"memory of the NUMA nodes"}  # the virtual machine's grew
    assert host.gpus == ()
    assert host.gpu_note is not None


@dumps()
def test_survives_json(dump: Dump) -> None:
    host, _ = dump
    assert Host.model_validate_json(host.model_dump_json()) == host


@dumps()
def test_time(dump: Dump, opened: Callable[[str], Root]) -> None:
    """Far below the 0.3 s that a dump may take, the best of three: other work on the test machine is not ours."""
    _, expected = dump
    root = opened(expected["name"])
    times = []
    for _ in range(3):
        start = time.process_time()
        read_host(root)
        times.append(time.process_time() - start)
    assert min(times) < 0.3


def test_dgx_spark_is_seen_as_it_is(unpacked: Callable[[str], Path]) -> None:
    host = read_host(Root.directory(unpacked("dgx-spark-gb10")))
    fast, slow = host.cpu.kinds
    assert (fast.name, fast.cpus, fast.capacity) == ("Cortex-X925", parse_cpulist("5-9,15-19"), 1024)
    assert (slow.name, slow.cpus, slow.max_mhz) == ("Cortex-A725", parse_cpulist("0-4,10-14"), 2808)
    assert host.cpu.llc_bytes == (8 + 16) << 20
    assert host.cpu.isa is not None
    assert host.cpu.isa.level == "armv9.2-a"
    assert {"I8MM", "BF16", "SVE2"} <= set(host.cpu.isa.features)
    assert "SME" in host.cpu.isa.missing


def test_hybrid_intel_is_told_by_frequency(unpacked: Callable[[str], Path]) -> None:
    """This dump lacks /sys/devices/cpu_core and cpu_atom. Favoured P-cores (5.2 GHz) are no kind of their own."""
    host = read_host(Root.directory(unpacked("rpl-i7-1370p-hybrid")))
    assert [(k.name, k.cores, len(k.cpus), k.max_mhz) for k in host.cpu.kinds] == [
        ("P-core", 6, 12, 5200),
        ("E-core", 8, 8, 3900),
    ]


ISA_LEVELS = {
    "ivybridge": "x86-64-v2",
    "haswell": "x86-64-v3",
    "zen": "x86-64-v3",
    "zen3": "x86-64-v3",
    "alderlake": "x86-64-v3",
    "cascadelake": "x86-64-v4",
    "zen4": "x86-64-v4",
    "zen5": "x86-64-v4",
    "sapphirerapids": "x86-64-v4",
    "k10": "x86-64-v1",
    "a64fx": "armv8.2-a",
    "neoverse_v2": "armv9-a",
    "neoverse_v3ae": "armv9.2-a",
}
"""Levels of the microarchitectures by their makers; the cpuinfo files are labelled with the microarchitecture."""


@pytest.mark.parametrize("uarch", ISA_LEVELS)
def test_isa_level_of_known_processors(uarch: str, tmp_path: Path) -> None:
    files = [p for p in (DUMPS / "text/cpuinfo").glob("archspec-*.txt") if re.search(rf"-{uarch}\.txt$", p.name)]
    if not files:
        pytest.skip(f"no cpuinfo of {uarch} here")
    (tmp_path / "proc").mkdir()
    for file in files:
        (tmp_path / "proc/cpuinfo").write_text(file.read_text() + "\n")  # some were cut off right there
        isa = read_host(Root.directory(tmp_path)).cpu.isa
        assert isa is not None
        assert isa.level == ISA_LEVELS[uarch], file.name
        assert ("AMX-BF16" in isa.features) == (uarch == "sapphirerapids")
