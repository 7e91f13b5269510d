"""The product's own way, parent and children, on simulated GPUs: faults, several devices, burst and sustained."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hwdiag.devices import batch, study
from hwdiag.devices.batch import search_batches
from hwdiag.devices.kernels import dispatches, host_copies, precision, product
from hwdiag.devices.model import Device, Study
from hwdiag.devices.nets import Net
from hwdiag.devices.study import Measuring
from hwdiag.diagnose.accelerators import usable_devices
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, Turn
from hwdiag.experiment.model import Workload
from hwdiag.experiment.workloads import memory_workloads
from hwdiag.host.model import Gpu, Host, NumaNode
from hwdiag.process import gpu_watch
from hwdiag.process.launch import Launch
from hwdiag.process.software import probe_software
from hwdiag.tune.user_workloads import file_workload
from tests.conftest import make_host
from tests.simulation.device.profiles import PROFILES

pytest.importorskip("torch.utils.backend_registration", reason="no torch with a Python-only backend")

START = Path(__file__).parents[1] / "simulation" / "device" / "start"
SHORT = Turn(warmup_s=0.0, window_s=0.005, windows=1, min_samples=1)
SLOWED = 2e4
SMALL = [product(128), *(w.model_copy(update={"size": {"elements": 4000}}) for w in memory_workloads(make_host()))]
ASSERTS = """
import torch

def build():
    table, rows = torch.randn(4, 4, device="sim:0"), torch.tensor([7]).to("sim:0")
    return lambda: torch.nn.functional.embedding(rows, table)
"""

Simulate = Callable[..., Path]


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulate:
    """A function that puts such GPUs into each Python that is started; it returns the folder of their state."""

    def begin(**asked: Any) -> Path:
        settings = {"slowed": SLOWED, "state": str(tmp_path), **asked}
        monkeypatch.setenv("HWDIAG_SIM_DEVICE", json.dumps(settings))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(START), os.environ.get("PYTHONPATH")))))
        return tmp_path

    return begin


def measured(workloads: list[Workload], device: str) -> dict[str, Any]:
    candidate = Candidate(Launch(), workloads, check=True)
    InterleavedBlock(sys.executable, SHORT, timeout_s=120).run([candidate], device=device, seed=1)
    return candidate.results


def test_one_sticky_error_costs_one_workload(simulate: Simulate, tmp_path: Path) -> None:
    """After an assertion in a kernel a process is of no use: the others are measured in another one."""
    simulate()
    path = tmp_path / "asserts.py"
    path.write_text(ASSERTS)
    found = measured([file_workload(path), *SMALL], "sim:0")
    kinds = {name: r.outcome.kind for name, r in found.items()}
    assert kinds == {**dict.fromkeys((w.name for w in SMALL), "ok"), file_workload(path).name: "error"}
    assert "device-side assert triggered" in found[file_workload(path).name].outcome.detail
    assert len({r.process for r in found.values()}) <= 2


def told_by(folder: Path) -> Callable[[Any], Any]:
    """Return what stands in for the drivers of GPUs that write their state into this folder."""

    class Told:
        def read(self) -> tuple[tuple[Gpu, ...], None]:
            files = sorted(folder.glob("gpu*.json"))
            said = [json.loads(f.read_text()) for f in files] or [{"mhz": 210, "watts": 15, "use": 0, "reasons": 0}]
            card = PROFILES["rtx3060"]
            return tuple(
                Gpu(index=i, name=card.name, uuid=f"GPU-sim-{i}", sm_mhz=s["mhz"], sm_max_mhz=card.mhz,
                    power_w=s["watts"], utilization=s["use"],
                    throttle_reasons=("software power cap",) if s["reasons"] & 4 else ())
                for i, s in enumerate(said)
            ), None  # fmt: skip

    @contextmanager
    def opened(_: Any) -> Iterator[Told]:
        yield Told()

    return opened


@pytest.fixture
def small_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of sizes that a CPU computes in no time."""
    workloads = [*SMALL, next(dispatches()), next(w for w in host_copies() if w.what == "to pinned")]
    monkeypatch.setattr(study, "kernels", lambda *_, **__: tuple(workloads))
    monkeypatch.setattr(study, "precisions", lambda _: (precision("fp32", 128), precision("bf16", 128)))
    monkeypatch.setattr(study, "large_products", lambda *_: ([], {}))
    monkeypatch.setattr(study, "PROFILE", SHORT)


def host_of(gpu: Gpu) -> Host:
    """A host of two NUMA nodes, the GPU at the second, whose CPU is one that this process may use."""
    mine = sorted(os.sched_getaffinity(0))
    nodes = (NumaNode(id=0, cpus=tuple(mine[:-1])), NumaNode(id=1, cpus=tuple(mine[-1:])))
    host = make_host()
    return host.model_copy(update={"gpus": (gpu,), "numa": nodes})


def test_a_study_of_two_gpus(simulate: Simulate, small_study: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Both are measured; their own times stand beside the wall clock's."""
    folder = simulate(count=2)
    monkeypatch.setattr(gpu_watch, "open_gpus", told_by(folder))
    monkeypatch.setattr(gpu_watch, "EVERY_S", 0.02)
    gpu = Gpu(index=0, name=PROFILES["rtx3060"].name, uuid="GPU-sim-0", node=None)
    measuring = Measuring(sys.executable, make_host().model_copy(update={"gpus": (gpu,)}), budget="quick")
    measuring.study = measuring.study.model_copy(update={"devices": measuring.study.devices[1:]})
    found = measuring.profile()
    assert [d.name for d in found.devices] == ["sim:0", "sim:1"]
    assert not [m.outcome for m in found.measurements if not m.outcome.ok]
    for device in ("sim:0", "sim:1"):
        card = PROFILES["rtx3060"].slowed(SLOWED)
        (times,) = [m.on_device for m in found.of("triad", device)]
        assert times is not None
        assert times.cold_s[0] == pytest.approx(3 * 4000 * 8 / card.bandwidth, rel=0.01)
        assert times.warm_s[0] <= times.cold_s[0]
    assert Study.model_validate_json(found.model_dump_json()) == found


@pytest.mark.long
def test_a_gpu_that_vanishes_is_left_out(simulate: Simulate, small_study: None) -> None:  # noqa: ARG001
    simulate(vanishes_at=150)
    measuring = Measuring(sys.executable, make_host(), budget="quick")
    measuring.study = measuring.study.model_copy(update={"devices": measuring.study.devices[1:]})
    found = measuring.profile()
    assert found.devices == ()
    (why,) = [a.why for a in found.absent if a.step == "profile"]
    assert why == "it went away: SimError: CUDA error: unspecified launch failure"
    assert found.sustained == ()


def test_accelerators_of_any_maker_are_measured_by_run(simulate: Simulate) -> None:
    """Whatever ``torch.version.cuda`` says; those that torch has no kernels for are not."""
    simulate(count=2)
    software = probe_software(sys.executable)
    assert software.cuda is None
    assert usable_devices(software) == ("sim:0", "sim:1")
    refused = software.model_copy(update={"accelerators": tuple(
        d.model_copy(update={"architectures": ("sm_90",)}) for d in software.accelerators)})  # fmt: skip
    assert usable_devices(refused) == ()


@pytest.mark.long
def test_the_batches_that_fit(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search finds the limit to an eighth, and the peak is what the allocator counted."""
    size = {"batch": 1, "tokens": 16, "width": 32, "layers": 1, "heads": 4, "vocabulary": 4000, "positions": 16}
    limit = 16 << 20
    simulate(limit=limit, slowed=1e3)
    net = Net(name="gpt2", inference=size, training=size, plain=True)
    monkeypatch.setitem(batch.NETS, "resnet18", net)
    device = Device(name="sim:0", title="NVIDIA GeForce RTX 3060", memory_bytes=limit)
    found = search_batches(sys.executable, "resnet18", "inference", device, limit_bytes=None, slowest_s=9.0)
    assert found.largest is not None
    assert found.largest.peak_bytes is not None
    assert found.largest.peak_bytes <= limit
    failed = [p for p in found.points if not p.outcome.ok]
    assert {p.outcome.kind for p in failed} == {"out-of-memory"}
    assert min(p.batch for p in failed) <= found.largest.batch * 1.2 + 1
