"""What a recording is said to mean: on recordings whose every number is chosen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hwdiag.core.finding import Finding
from hwdiag.host.model import Gpu, Host
from hwdiag.host.source import Column
from hwdiag.monitor.model import Monitored, MonitorOverhead
from hwdiag.monitor.recording import Recorder, summaries
from hwdiag.monitor.rules import answers
from tests.conftest import make_host

GPU = Gpu(index=0, name="NVIDIA GeForce RTX 3060", sm_max_mhz=2100)


def recorded(path: Path, columns: dict[str, list[float]], gpus: tuple[Gpu, ...] = (), **more: Any) -> list[Any]:
    """What is said of a recording with these values, a sample a second."""
    told = tuple(Column(name=name, unit="", title=name) for name in columns)
    recorder = Recorder(path / "m.parquet", told, {})
    rows = [*zip(*columns.values(), strict=True)]
    for n, row in enumerate(rows, 1):
        recorder.add(float(n), row)
    recorder.close()
    done = Monitored(
        name="x", started_at="2026-11-20T10:00:00Z", seconds=len(rows), hz=1, samples=len(rows), cpu_model=None, cpus=4,
        memory_bytes=None, gpus=gpus, columns=told, absent=(), lost=(), marks=(),
        cost=MonitorOverhead(cpu_s=0, sampling_cpu_s=0, share=0, file_bytes=0, late=0),
        summaries=summaries(path / "m.parquet", told, 0, math.inf), **more,
    )  # fmt: skip
    host: Host = make_host().model_copy(update={"gpus": gpus})
    return [*answers(done, path / "m.parquet", host)]


def findings(path: Path, columns: dict[str, list[float]], **more: Any) -> dict[str, Finding]:
    return {a.id: a for a in recorded(path, columns, **more) if isinstance(a, Finding)}


def test_throttling_is_told_by_its_share_of_the_working_time(tmp_path: Path) -> None:
    columns = {
        "gpu0.use": [0.0, 90, 95, 99, 97, math.nan],
        "gpu0.clock": [210.0, 2000, 1200, 1300, 2000, math.nan],
        "gpu0.reasons": [1.0, 0, 0x40, 0x40 | 0x4, 0, math.nan],
        "gpu0.temperature": [40.0, 80, 91, 90, 82, math.nan],
    }
    found = findings(tmp_path, columns, gpus=(GPU,))
    slowed = found["gpu-slowed:GPU 0:hardware-thermal-slowdown"]
    assert "slowed down in 50% of the samples in which it worked" in slowed.title
    assert slowed.evidence == ("m.parquet",)
    busiest = found["gpu-clock:GPU 0"]
    assert "1300 of 2100 MHz at 99 %" in busiest.title
    assert not [i for i in found if "power-cap" in i], "the usual end of the range is no fault"


def test_an_idle_gpu_is_a_finding_only_beside_a_command(tmp_path: Path) -> None:
    columns = {"gpu0.use": [0.0, 10, 20, 10]}
    assert "gpu-idle:GPU 0" not in findings(tmp_path, columns, gpus=(GPU,))
    found = findings(tmp_path, columns, gpus=(GPU,), command=("train",))
    assert "a kernel ran in 10 % of the time on average" in found["gpu-idle:GPU 0"].title
    unused = recorded(tmp_path, {"gpu0.use": [0.0, 0]}, gpus=(GPU,), command=("train",))
    assert "GPU 0 was not used" in [a.title for a in unused]
    assert not [a for a in unused if isinstance(a, Finding)]


@pytest.mark.parametrize(
    ("column", "share", "severity"),
    [
        ("pressure.memory.some", 0.5, None),
        ("pressure.memory.some", 3, "note"),
        ("pressure.memory.some", 30, "warning"),
        ("pressure.io.some", 15, None),
        ("pressure.io.some", 30, "note"),
        ("pressure.io.some", 60, "warning"),
        ("cgroup.stopped", 5, "note"),
        ("cpu.steal", 12, "warning"),
    ],
)
def test_waiting(tmp_path: Path, column: str, share: float, severity: str | None) -> None:
    found = findings(tmp_path, {column: [share] * 4})
    assert [f.severity for f in found.values()] == ([severity] if severity else [])


def test_swapping_while_memory_is_free(tmp_path: Path) -> None:
    found = findings(tmp_path, {"swap.in": [4096.0 * 100, 0], "pressure.memory.some": [0.1, 0.1]})
    assert "100 pages read from swap in 2.0 s" in found["swapping-while-free"].detail


def test_numa_misses(tmp_path: Path) -> None:
    columns = {"node0.hits": [90.0], "node0.misses": [10.0], "node1.hits": [100.0], "node1.misses": [0.0]}
    assert findings(tmp_path, columns)["numa-misses"].title.startswith("5% of new memory")
    assert not findings(tmp_path, {**columns, "node0.misses": [0.5]})
    assert not findings(tmp_path, {"node0.hits": [1.0], "node0.misses": [9.0]}), "one node alone cannot miss"


def test_what_was_not_recorded_is_not_spoken_of(tmp_path: Path) -> None:
    assert recorded(tmp_path, {"memory.used": [1.0, 2]}) == []
    assert recorded(tmp_path, {"gpu0.power": [1.0, 2]}, gpus=(GPU,), command=("train",)) == []


def test_a_crowd_of_threads_is_told_and_no_crowd_is_fine(tmp_path: Path) -> None:
    crowd = findings(tmp_path, {"pressure.cpu.some": [99.0] * 5, "cpu.running": [15.0] * 5}, command=("x",))
    found = crowd["waited:pressure.cpu.some"]
    assert found.title == "Programs waited for a CPU: 99 % of the time; 15.0 threads wanted to run on 4 CPUs"
    assert found.severity == "warning"
    assert "hwdiag explain -- COMMAND" in found.detail
    assert "waited:pressure.cpu.some" in findings(tmp_path, {"pressure.cpu.some": [99.0] * 5})
    assert not findings(tmp_path, {"pressure.cpu.some": [60.0] * 5, "cpu.running": [4.0] * 5})
    assert not findings(tmp_path, {"pressure.cpu.some": [3.0] * 5, "cpu.running": [15.0] * 5})
    assert "waited:pressure.cpu.some" in findings(tmp_path, {"cpu.running": [15.0] * 5}), "a kernel without pressure"


@pytest.mark.parametrize(
    ("status", "severity"), [(3, "problem"), (-9, "problem"), (None, "note"), (-2, None), (130, None)]
)
def test_a_command_that_failed_is_a_finding(tmp_path: Path, status: int | None, severity: str | None) -> None:
    columns = {"cpu.use": [50.0] * 3}
    found = findings(tmp_path, columns, command=("x",), outcome="it died", status=status)
    assert [f.severity for f in found.values()] == ([severity] if severity else [])
