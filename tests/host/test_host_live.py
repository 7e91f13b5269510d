"""This very machine, against what lscpu says of it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from hwdiag.host import Root, read_host
from hwdiag.host.cpulist import parse_cpulist
from hwdiag.host.model import Host


@pytest.fixture(scope="module")
def host() -> Host:
    return read_host(Root.live())


@pytest.fixture(scope="module")
def lscpu() -> dict[str, str]:
    """What lscpu says, field by field, sizes in bytes. Newer versions nest the fields."""
    if shutil.which("lscpu") is None:
        pytest.skip("lscpu is not installed")
    output = subprocess.run(
        ["lscpu", "-J", "-B"], check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    fields: dict[str, str] = {}

    def walk(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            fields[row["field"].rstrip(":")] = row["data"]
            walk(row.get("children", []))

    walk(json.loads(output)["lscpu"])
    return fields


def test_cpus(host: Host, lscpu: dict[str, str]) -> None:
    assert host.system.arch == lscpu["Architecture"]
    assert host.cpu.online == parse_cpulist(lscpu["On-line CPU(s) list"])
    if "Vendor ID" in lscpu:
        assert host.cpu.vendor == lscpu["Vendor ID"]
    if "Socket(s)" in lscpu and len(host.cpu.kinds) == 1:
        assert host.cpu.sockets == int(lscpu["Socket(s)"])
        assert host.cpu.cores == int(lscpu["Socket(s)"]) * int(lscpu["Core(s) per socket"])
        assert host.cpu.model == " ".join(lscpu["Model name"].split())


def test_flags(host: Host, lscpu: dict[str, str]) -> None:
    if "Flags" not in lscpu:
        pytest.skip("lscpu says no flags")
    assert set(host.cpu.flags) == set(lscpu["Flags"].split())


def test_numa(host: Host, lscpu: dict[str, str]) -> None:
    said = {n.id: lscpu.get(f"NUMA node{n.id} CPU(s)") or "" for n in host.numa}
    assert {n.id: n.cpus for n in host.numa} == {i: parse_cpulist(text) for i, text in said.items()}
    assert len(host.numa) == int(lscpu.get("NUMA node(s)", "0"))


@pytest.mark.parametrize(
    ("field", "level", "kind"),
    [("L1d", 1, "data"), ("L1i", 1, "instruction"), ("L2", 2, "unified"), ("L3", 3, "unified")],
)
def test_caches(host: Host, lscpu: dict[str, str], field: str, level: int, kind: str) -> None:
    found = [c.size_bytes for c in host.cpu.caches if (c.level, c.type) == (level, kind)]
    said = lscpu.get(f"{field} cache", lscpu.get(field, "0"))
    assert sum(found) == int(said.split()[0])


def test_system_and_memory(host: Host) -> None:
    assert host.source == "live"
    assert host.system.hostname == platform.node()
    assert host.system.kernel == platform.release()
    assert host.memory.total_bytes == psutil.virtual_memory().total
    assert host.memory.page_bytes == os.sysconf("SC_PAGE_SIZE")
    machine_id = Path("/etc/machine-id")
    if machine_id.exists() and machine_id.read_text().strip():
        text = f"hwdiag:{machine_id.read_text().strip()}"
        assert host.system.machine_hash == hashlib.sha256(text.encode()).hexdigest()
        assert machine_id.read_text().strip() not in host.model_dump_json()


def test_limits(host: Host) -> None:
    assert set(host.limits.allowed) <= os.sched_getaffinity(0)
    assert host.usable_cpus
    assert sorted(c for core in host.usable_cores for c in core) == sorted(host.usable_cpus)
    assert host.usable_memory_bytes


def test_affinity_is_seen() -> None:
    before = os.sched_getaffinity(0)
    one = min(before)
    os.sched_setaffinity(0, {one})
    try:
        assert read_host(Root.live()).limits.allowed == (one,)
    finally:
        os.sched_setaffinity(0, before)


def test_survives_json(host: Host) -> None:
    assert Host.model_validate_json(host.model_dump_json()) == host


def test_is_fast() -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        read_host(Root.live())
        times.append(time.perf_counter() - start)
    assert min(times) < 0.3


def test_imports_stay_light() -> None:
    code = "import sys, hwdiag.host; print(*{'numpy', 'pandas', 'matplotlib', 'torch', 'pynvml'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == ""
