"""Makes the snapshots beside this file, and the answers that independent programs gave on the same machine.

    python -m tests.host.snapshots.make [NAME ...]

The machines are virtual guests (tests/vm), and the one that this runs on. A snapshot is what ``hwdiag snapshot`` writes
there. The answers are those of lscpu, numactl, lsblk and free, and of hwloc where it is installed, in the form of the
dumps' that test_host_dumps.py reads; ``programs`` says which versions were asked.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hwdiag.host import read_host
from hwdiag.host.archive import write_archive
from hwdiag.host.cpulist import format_cpulist, parse_cpulist
from hwdiag.host.snapshot import RecordingRoot, package
from tests.vm.fixtures import ROOT, own_python
from tests.vm.guest import Guest, Machine, Node
from tests.vm.image import image

HERE = Path(__file__).parent

OFFLINE = "for cpu in 2 3 5; do echo 0 >/sys/devices/system/cpu/cpu$cpu/online; done"
"""A whole core, and one thread of another."""
LIMITED = "systemd-run --quiet --wait --pipe --same-dir -p AllowedCPUs=0-1,6 -p CPUQuota=150% -p MemoryMax=512M"

GUESTS: dict[str, tuple[str, Machine, str, str]] = {
    # What it is, the machine, what is done first, and what hwdiag and the programs are started with
    "guest-2-sockets": ("two sockets of two cores with AVX and without AVX2, a node each", Machine(), "", ""),
    "guest-5-nodes-smt": (
        "two sockets of two cores with two threads, two nodes in each socket, and a node of memory only",
        Machine(
            cpu="Haswell",
            threads=2,
            nodes=(Node("0-1", 512), Node("2-3", 512), Node("4-5", 512), Node("6-7", 512), Node("", 512)),
            disks=("nvme", "sata"),
        ),
        "",
        "",
    ),
    "guest-offline-limited": (
        "one socket of four cores with two threads, one core and one thread offline; hwdiag in a cgroup of three CPUs",
        Machine(cpu="Nehalem", sockets=1, cores=4, threads=2, nodes=(Node("0-7", 1024),), power=False, disks=("usb",)),
        OFFLINE,
        LIMITED,
    ),
}
THIS = "vm-epyc-2-cpus"

ASKED = {
    "lscpu": "lscpu -J -B",
    "cpus": "lscpu -J --online -e=CPU,CORE,SOCKET",
    "caches": "lscpu -J -B -C=NAME,ONE-SIZE,ALL-SIZE",
    "numactl": "numactl --hardware",
    "lstopo": "lstopo-no-graphics --disallowed --whole-io --of xml",
    "lsblk": "lsblk -J -b --nodeps -o NAME,SIZE,ROTA,TYPE",
    "free": "free -b",
    "uname": "uname -mr",
    "versions": "lscpu --version; lstopo-no-graphics --version; numactl --version; free --version",
}

Ask = Callable[[str], str]
"""Runs a command there; gives what it printed."""


def expected(name: str, description: str, ask: Ask, allowed: str | None) -> dict[str, Any]:
    """What the programs say, in the form of the dumps' answers; None where no program tells."""
    said = {key: ask(command) for key, command in ASKED.items()}
    lscpu = dict(fields(json.loads(said["lscpu"])["lscpu"]))
    cpus = json.loads(said["cpus"])["cpus"]  # the online ones
    cores = [(c["socket"], c["core"]) for c in cpus]
    nodes, distances = numa(said["numactl"])
    memory = node_memory(said["lstopo"])
    arch, kernel = reversed(said["uname"].split())
    return {
        "name": name,
        "description": description,
        "programs": said["versions"].splitlines(),
        "arch": arch,
        "kernel": kernel.partition("-fc")[0],
        "vendor": lscpu["Vendor ID"],
        "model_names": [lscpu["Model name"]],
        "sockets": len({socket for socket, _ in cores}),
        "cores_physical": len(set(cores)),
        "threads_logical_online": len(cpus),
        "smt_active": len(set(cores)) < len(cpus),
        "online_cpu_list": lscpu["On-line CPU(s) list"],
        "offline_cpu_list": lscpu.get("Off-line CPU(s) list"),
        "numa_nodes": [{"id": n, "cpus": format_cpulist(cpus) or None} for n, cpus in nodes.items()],
        "numa_distances": distances,
        "numa_memory": memory,
        "memory_only_nodes": [n for n, cpus in nodes.items() if not cpus],
        "memory_total_bytes": int(said["free"].split("Mem:")[1].split()[0]),
        "proc_meminfo_MemTotal_line": None,
        "caches": {
            c["name"]: {
                "instances": int(c["all-size"]) // int(c["one-size"]),
                "total_bytes": int(c["all-size"]),
                "sizes_bytes_to_count": {c["one-size"]: int(c["all-size"]) // int(c["one-size"])},
            }
            for c in json.loads(said["caches"])["caches"]
        },
        "flags": sorted(lscpu["Flags"].split()),
        # One without a size holds no data: an unused zram.
        "block_devices_lsblk": [
            d for d in json.loads(said["lsblk"])["blockdevices"] if d["type"] == "disk" and d["size"]
        ],
        "allowed_to_the_gathering_process": allowed
        and {"cpus": allowed, "threads": len(parse_cpulist(allowed)), "nodes": "0"},
        "disagreements": [],
    }


def fields(entries: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """lscpu's fields, which it nests for the eye."""
    for entry in entries:
        yield entry["field"].rstrip(":"), entry["data"]
        yield from fields(entry.get("children", []))


def numa(text: str) -> tuple[dict[int, list[int]], list[list[int]]]:
    """Nodes with their CPUs, and the distances between them, of ``numactl --hardware``."""
    nodes = {int(n): [int(c) for c in cpus.split()] for n, cpus in re.findall(r"^node (\d+) cpus:(.*)$", text, re.M)}
    rows = re.findall(r"^ +\d+: (.*)$", text, re.M)
    return nodes, [[int(d) for d in row.split()] for row in rows]


def node_memory(text: str) -> list[dict[str, int]] | None:
    """Each node's memory, which only hwloc tells to the byte; None without hwloc."""
    if not text:
        return None
    found = [o.attrib for o in xml.fromstring(text).iter("object") if o.get("type") == "NUMANode"]
    memory = [{"id": int(o["os_index"]), "memory_bytes": int(o.get("local_memory", 0))} for o in found]
    return sorted(memory, key=lambda n: n["id"])


def of_guest(name: str, folder: Path) -> dict[str, Any]:
    """Snapshot of a guest; gives what is expected of it."""
    description, machine, first, prefix = GUESTS[name]
    with Guest(dataclasses.replace(machine, shares=own_python()), folder, image()) as guest:

        def ask(command: str) -> str:
            result = guest.run(command)
            if result.status:
                raise RuntimeError(f"{command}: {result.stderr}")
            return result.stdout

        ask(first or "true")
        ask(f"cd {ROOT} && {prefix} {sys.executable} -m hwdiag snapshot /root/s.tar.gz")
        guest.copy_out("/root/s.tar.gz", HERE / f"{name}.tar.gz")
        allowed = "0-1,6" if prefix else None
        return expected(name, f"virtual guest: {description}", ask, allowed)


def of_this_machine() -> dict[str, Any]:
    """Snapshot of this machine, less what is its operator's choice rather than a fact about it: the options that its
    kernel was booted with, the kernel's suffix, and how its programs are grouped and limited."""
    recorder = RecordingRoot()
    host = read_host(recorder)
    manifest, files = package(recorder, host)
    release = host.system.kernel.split("-")[0] if host.system.kernel else ""
    assert manifest.uname
    kept = {
        path: data
        for path, data in files.items()
        if path not in ("proc/cmdline", "proc/version") and not re.match(r"proc/self/|sys/fs/cgroup/", path)
    }
    folders = {path: names for path, names in manifest.folders.items() if not path.startswith("/sys/fs/cgroup")}
    manifest = manifest.model_copy(
        update={
            "uname": manifest.uname.model_copy(update={"release": release}),
            "folders": folders,
            "present": (),
            "links": {},
            "outputs": {},
        }
    )
    write_archive(HERE / f"{THIS}.tar.gz", manifest, kept)

    def ask(command: str) -> str:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
        return done.stdout

    return expected(THIS, "the virtual machine that hwdiag was written on, without boot options and cgroups", ask, None)


def main() -> None:
    """Make those that are named, or all."""
    parser = argparse.ArgumentParser(description="Make the snapshots of this folder again.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join([*GUESTS, THIS])} (default: all)")
    for name in parser.parse_args().names or [*GUESTS, THIS]:
        with tempfile.TemporaryDirectory() as folder:
            answer = of_this_machine() if name == THIS else of_guest(name, Path(folder))
        (HERE / f"{name}.expected.json").write_text(json.dumps(answer, indent=1) + "\n")
        print(f"{name}: {(HERE / f'{name}.tar.gz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
