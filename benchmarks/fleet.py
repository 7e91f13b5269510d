"""A simulated fleet whose faults are known, and what ``hwdiag fleet`` says of it: time, memory, false alarms, found.

``python -m benchmarks.fleet`` writes two records and a verification of each of 10,000 hosts into a temporary folder
(some 3 GB), with hosts that are slow, became slow, lost a part, drifted, were renamed, cloned or installed again, and
with files that are damaged, huge, hostile or from the future.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

EXAMPLE = Path(__file__).parents[1] / "outputs" / "example" / "record.json"
THEN, NOW = "2026-11-01T02:00:00Z", "2026-12-01T02:00:00Z"
SPREAD, NOISE = 0.015, 0.004
"""Of logarithms of speeds: from host to host of a kind, and from run to run of one host."""
GIB = 2**30


@dataclass(frozen=True)
class Model:
    """One kind of machine, and its share of the fleet."""

    cpu: str
    sockets: int
    cores: int
    memory: int
    gpus: tuple[str, ...]
    share: float


MODELS = (
    Model("AMD EPYC 9654 96-Core Processor", 2, 192, 755 * GIB, ("NVIDIA H100 80GB HBM3",) * 8, 0.5),
    Model("Intel(R) Xeon(R) Platinum 8490H", 2, 120, 503 * GIB, (), 0.4),
    Model("AMD EPYC 7763 64-Core Processor", 1, 64, 251 * GIB, ("NVIDIA A100-SXM4-80GB",) * 4, 0.1),
)
FAULTS = {
    "kernel": 25, "governor": 10, "unexplained": 5, "slow": 20, "gpu": 10, "dimm": 10, "drift": 30, "cpu": 10,
    "renamed": 10, "cloned": 10, "installed again": 10, "clock": 10, "critical": 10,
}  # fmt: skip
"""Hosts with each fault, of 10,000."""
SAID = {
    "kernel": ("slower", "kernel"), "governor": ("slower", "governor"), "unexplained": ("slower", "nothing recorded"),
    "slow": ("odd", "slower"), "gpu": ("parts", "GPUs: 8x"), "dimm": ("parts", "memory"), "cpu": ("parts", "processor"),
    "drift": ("setting", "transparent_hugepages"), "renamed": ("story", "renamed"), "cloned": ("story", "cloned"),
    "installed again": ("story", "installed again"), "clock": ("story", "clock"),
    "critical": ("verification", "CRITICAL"),
}  # fmt: skip
"""The kind of remark that tells a fault, and a word of it."""


@dataclass
class Simulated:
    """A fleet on the disk, and what is wrong with it."""

    faults: dict[str, str] = field(default_factory=dict)
    """By the name of each host with one."""
    files: int = 0
    bytes: int = 0
    refused: int = 0
    twice: int = 0


def base() -> dict[str, Any]:
    """Return the example's record, with a tenth of its measurements: about what a quick run writes."""
    values: dict[str, Any] = json.loads(EXAMPLE.read_text())
    tune = values["studies"]["tune"]
    tune["measurements"] = tune["measurements"][::10]
    tune["estimates"] = [e for e in tune["estimates"] if e["plan"] == "default"]
    return values


def hash_of(number: int) -> str:
    """Return a machine's hash."""
    return sha256(str(number).encode()).hexdigest()


class Writer:
    """Writes records of hosts; what is the same in all of them is made into text once."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng, self.done = folder, rng, Simulated()
        self.values = base()
        tune = dict(self.values["studies"]["tune"])
        self.estimates = tune.pop("estimates")
        rest = {k: v for k, v in self.values["studies"].items() if k != "tune"}
        self.studies = f"{json.dumps(tune)[1:-1]}}}, {json.dumps(rest)[1:-1]}}}"
        skip = ("studies", "host", "name", "identity", "started_at", "complete")
        self.rest = json.dumps({k: v for k, v in self.values.items() if k not in skip})[1:-1]

    def record(self, host: dict[str, Any], name: str, at: str, slower: float) -> str:
        """Return a record's text, with each speed that many times slower than usual."""
        made = []
        for e in self.estimates:
            middle = e["seconds"]["median"] * slower * math.exp(self.rng.gauss(0, NOISE))
            interval = {"median": middle, "low": middle * 0.994, "high": middle * 1.006, "processes": 12, "samples": 60}
            made.append({**e, "seconds": interval})
        return (
            f'{{"name": {json.dumps(name)}, "started_at": "{at}", "host": {json.dumps(host)}, {self.rest}, '
            f'"studies": {{"tune": {{"estimates": {json.dumps(made)}, {self.studies}, "complete": true}}'
        )

    def write(self, place: str, text: str | bytes, name: str = "record.json") -> None:
        path = self.folder / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode() if isinstance(text, str) else text
        path.write_bytes(data)
        self.done.files += 1
        self.done.bytes += len(data)

    def host(self, model: Model, name: str, machine: str, **changed: Any) -> dict[str, Any]:
        """Return the facts of a host. ``changed``: kernel, governor, thp, gpus, memory, cpu."""
        values: dict[str, Any] = json.loads(json.dumps(self.values["host"]))
        cpus = model.cores * 2
        values["system"].update(
            hostname=name, machine_hash=machine, product=f"Rack {model.sockets}U", kernel=changed.get("kernel", "6.1.0")
        )
        values["cpu"].update(
            model=changed.get("cpu", model.cpu), sockets=model.sockets, cores=model.cores, online=f"0-{cpus - 1}",
            governor=changed.get("governor", "performance"), family="25/17/1", microcode="0xa101144",
            logical=[{"id": i, "core": i % model.cores, "socket": 0, "node": 0, "kind": 0} for i in range(cpus)],
        )  # fmt: skip
        values["memory"].update(
            total_bytes=changed.get("memory", model.memory) - self.rng.randrange(64 << 20),
            transparent_hugepages=changed.get("thp", "madvise"),
        )
        values["numa"] = [{"id": 0, "cpus": f"0-{cpus - 1}", "memory_bytes": None}]
        gpus = changed.get("gpus", model.gpus)
        values["gpus"] = [{"index": i, "name": g, "driver": "550.54.15"} for i, g in enumerate(gpus)]
        return values

    def verification(self, name: str, machine: str, status: str) -> str:
        causes = [{"id": "gpu.lost", "status": status, "title": "GPU 3 does not answer", "remedy": "reset it"}]
        return json.dumps(
            {
                "kind": "verification", "schema_version": 1, "status": status, "host": name, "hostname": name,
                "identity": {"machine": machine}, "started_at": "2026-12-01T03:00:00Z", "seconds": 9.1,
                "version": "0.1.0", "causes": [] if status == "PASS" else causes,
            }
        )  # fmt: skip

    def add(self, number: int, model: Model, fault: str) -> None:
        """Write one host: a record of last month, one of today, a verification."""
        name, machine = f"node{number:05}", hash_of(number)
        own = math.exp(self.rng.gauss(0, SPREAD))
        first: dict[str, Any] = {}
        last: dict[str, Any] = {}
        slower = [own, own]
        if fault in ("kernel", "governor", "unexplained"):
            slower[1] *= 1.2
            last = {"kernel": {"kernel": "6.8.0"}, "governor": {"governor": "powersave"}, "unexplained": {}}[fault]
        elif fault == "slow":
            slower = [own * 1.2, own * 1.2]
        elif fault == "gpu":
            last = {"gpus": model.gpus[1:]}
        elif fault == "dimm":
            last = {"memory": model.memory * 15 // 16}
        elif fault == "cpu":
            first = {"cpu": "AMD EPYC 9554 64-Core Processor"}
        elif fault == "drift":
            first = last = {"thp": "always"}
        names, machines, times = [name, name], [machine, machine], [THEN, NOW]
        if fault == "renamed":
            names[0] = f"old-{name}"
        elif fault == "cloned":
            machines = [hash_of(-1)] * 2
        elif fault == "installed again":
            machines[0] = hash_of(-2 - number)
        elif fault == "clock":
            times[0] = "1970-01-01T00:00:07Z" if number % 2 else "2041-01-01T00:00:00Z"
        for i, changed in enumerate((first, last)):
            host = self.host(model, names[i], machines[i], **changed)
            self.write(f"{name}/{i}", self.record(host, names[i], times[i], slower[i]))
        status = "CRITICAL" if fault == "critical" else "PASS"
        self.write(f"{name}/1", self.verification(name, machines[1], status), "verification.json")
        if fault:
            self.done.faults[name] = fault

    def bad_files(self, some: str) -> None:
        """Write what is no record, and records that are there twice."""
        bad = [some[: len(some) // 2]] * 10 + [some.replace('"schema_version": 2', '"schema_version": 99')] * 5
        bad += ["[" * 100_000, '{"schema_version": ' + "9" * 5000 + "}", "[" + "[]," * 1_000_000 + "[]]"]
        bad += ["\x00" * 10_000, "", "[]", '{"kind": "verification"}', " " * (33 << 20)]
        for i, text in enumerate(bad):
            self.write(f"bad{i}", text)
            self.done.refused += 1
        self.write("bad-verification", '{"kind": "verification", "schema_version": 7}', "verification.json")
        self.done.refused += 1
        for i in range(10):
            self.write(f"copy{i}", (self.folder / f"node{i:05}" / "1" / "record.json").read_bytes())
            self.done.twice += 1


def make_fleet(folder: Path, hosts: int, seed: int = 1) -> Simulated:
    """Write a fleet, and return what is wrong with it."""
    rng = random.Random(seed)
    writer = Writer(folder, rng)
    models = [next(m for m in MODELS if i < hosts * sum(x.share for x in MODELS[: MODELS.index(m) + 1]))
              for i in range(hosts)]  # fmt: skip
    faults = [""] * hosts
    free = list(range(20, hosts))
    rng.shuffle(free)
    for fault, count in FAULTS.items():
        able = [i for i in free if fault not in ("gpu", "cpu") or models[i] is MODELS[0]]
        for i in able[: max(2, count * hosts // 10_000)]:
            faults[i] = fault
            free.remove(i)
    for i in range(hosts):
        writer.add(i, models[i], faults[i])
    writer.bad_files((folder / "node00000" / "1" / "record.json").read_text())
    return writer.done


def run_fleet(folder: Path, home: Path) -> tuple[dict[str, Any], str]:
    """Return what ``hwdiag fleet`` found, and what it took: seconds, seconds of CPU, the peak of memory of all of its
    processes together."""
    command = [sys.executable, "-m", "hwdiag", "fleet", str(folder), "--json"]
    started, peak, before = time.perf_counter(), 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    with (home / "out.json").open("wb") as out, (home / "err").open("wb") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, "HWDIAG_HOME": str(home)})
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            total = 0
            for process in [watched, *children(watched)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            peak = max(peak, total)
            time.sleep(0.02)
    took = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    text = f"{took:.1f} s, {used:.1f} s of CPU, peak of memory {peak / 1e6:.0f} MB {(home / 'err').read_text()}"
    return json.loads((home / "out.json").read_text() or "{}"), text


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def score(found: dict[str, Any], truth: Simulated) -> Iterator[tuple[str, str]]:
    """Yield what was found of each fault, and what was said of hosts that have none."""
    by_name = {h["name"]: h for h in found["hosts"]}
    seen: dict[str, list[bool]] = defaultdict(list)
    for name, fault in truth.faults.items():
        kind, word = SAID[fault]
        remarks = by_name.get(name, {"remarks": []})["remarks"]
        seen[fault].append(any(r["kind"] == kind and word in r["text"] for r in remarks))
    for fault, those in seen.items():
        yield f"found: {fault}", f"{sum(those)} of {len(those)}"
    fine = [h for h in found["hosts"] if h["name"] not in truth.faults and not h["name"].startswith("old-")]
    wrong = [h for h in fine if h["remarks"]]
    yield "false alarms", f"{len(wrong)} of {len(fine):,} hosts without a fault"
    yield "files refused", f"{len(found['refused'])} of {truth.refused}"
    yield "records there twice", f"{found['duplicates']} of {truth.twice}"
    for change in found["shared"][:3]:
        text = f"{change['slower']} of {change['of_slower']} slower hosts, {change['others']} others"
        yield f"shared: {change['what']} {change['then']} -> {change['now']}", text


def main() -> int:
    """Make a fleet, look at it twice, and print what came out."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    words.add_argument("--hosts", type=int, default=10_000)
    words.add_argument("--seed", type=int, default=1)
    args = words.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, home = Path(temporary) / "fleet", Path(temporary) / "home"
        home.mkdir()
        truth = make_fleet(folder, args.hosts, args.seed)
        print(f"{args.hosts:,} hosts, {truth.files:,} files, {truth.bytes / 1e9:.2f} GB", flush=True)
        for what in ("read for the first time", "again"):
            found, text = run_fleet(folder, home)
            print(f"{what}: {text}", flush=True)
        for name, text in score(found, truth):
            print(f"{name}: {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
