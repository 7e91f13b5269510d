"""A host of 64 CPUs, 8 NUMA nodes and 8 GPUs as files, made of real dumps; its counters move when it is told to."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hwdiag.host.root import Root
from hwdiag.host.sampling.kernel import CPUFREQ, NODE
from hwdiag.process.clock import Clock
from tests.host.test_host_gpu import RTX3060, FakeNvml

REAL = ("/proc/vmstat", "/proc/diskstats", "/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io")
"""Of the machine that the test runs on, where it has them: no dump holds these."""
CPUS, GPUS = 64, 8
DUMP = "opteron-4x6134-cgroup2-limited"


class Simulated(Clock):
    """Time that goes by when it is waited for."""

    at = 100.0

    def now(self) -> float:
        return self.at

    def wait(self, seconds: float, files: Any) -> list[int]:  # noqa: ARG002
        self.at += seconds
        return []


class LargeHost:
    """An Opteron server of four sockets with 32 CPUs (``/proc/stat``, clocks, numastat), each CPU in it twice."""

    def __init__(self, dump: Path, folder: Path) -> None:
        self.folder, self.texts = folder, {}
        for path in ("/proc/meminfo", *(NODE.format(n) for n in range(8))):
            self.texts[path] = (dump / path[1:]).read_text()
        lines = (dump / "proc/stat").read_text().splitlines()
        each = [line for line in lines if re.match(r"cpu\d+ ", line)]
        rest = [line for line in lines if not line.startswith("cpu")]
        twice = [re.sub(r"^cpu\d+", f"cpu{i}", each[i % len(each)]) for i in range(CPUS)]
        self.texts["/proc/stat"] = "\n".join([lines[0], *twice, *rest]) + "\n"
        for i in range(CPUS):
            self.texts[CPUFREQ.format(i)] = (dump / CPUFREQ.format(i % len(each))[1:]).read_text()
        for path in REAL:
            if Path(path).exists():
                self.texts[path] = Path(path).read_text()
        for disk in re.findall(r"^ +\d+ +\d+ (\S+)", self.texts.get("/proc/diskstats", ""), re.MULTILINE):
            self.texts[f"/sys/block/{disk}/size"] = "1000\n"
        self.write()

    def write(self) -> None:
        for path, text in self.texts.items():
            place = self.folder / path[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def root(self) -> Root:
        return Root.directory(self.folder)

    def nvml(self) -> Any:
        told = {
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=90, memory=40),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=12 << 30, used=5 << 30),
        }
        nvml = FakeNvml([RTX3060 | told for _ in range(GPUS)])
        nvml.calls = Forgetful()
        return nvml


class Forgetful(list[str]):
    """The fake's own list of calls, which would grow."""

    def append(self, _: str) -> None: ...
