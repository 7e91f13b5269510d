"""The product's own way, parent and children, on simulated GPUs: faults, several devices, burst and sustained."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hwdiag.devices import batch, study
from hwdiag.devices.batch import search_batches
from hwdiag.devices.kernels import dispatches, host_copies, precision, product
from hwdiag.devices.model import Device, Study
from hwdiag.devices.nearness import NEAR
from hwdiag.devices.nets import Net
from hwdiag.devices.show import sustained
from hwdiag.devices.study import Measuring
from hwdiag.diagnose import accelerators
from hwdiag.diagnose.accelerators import usable_devices
from hwdiag.experiment.budget import Budget
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, Turn
from hwdiag.experiment.model import Workload
from hwdiag.experiment.workloads import memory_workloads
from hwdiag.host.model import Gpu, Host, NumaNode
from hwdiag.process import gpu_watch
from hwdiag.process.launch import Launch
from hwdiag.process.software import probe_software
from hwdiag.tune.user_workloads import file_workload
from tests.conftest import make_host
from tests.simulation.device import START
from tests.simulation.device.profiles import PROFILES

pytest.importorskip("torch.utils.backend_registration", reason="no torch with a Python-only backend")

SHORT = Turn(warmup_s=0.0, window_s=0.005, windows=1, min_samples=1)
SLOWED = 2e4
COPY = next(w for w in host_copies() if w.what == "to pinned")
SMALL = [product(128), *(w.model_copy(update={"size": {"elements": 4000}}) for w in memory_workloads(make_host()))]
ASSERTS = """
import torch

def build():
    table, rows = torch.randn(4, 4, device="sim:0"), torch.tensor([7]).to("sim:0")
    return lambda: torch.nn.functional.embedding(rows, table)
"""

Simulate = Callable[..., Path]


def simulated(patch: pytest.MonkeyPatch, folder: Path, **asked: Any) -> Path:
    """Put such GPUs into each Python that is started, with their state in a folder, and return it."""
    patch.setenv("HWDIAG_SIM_DEVICE", json.dumps({"slowed": SLOWED, "state": str(folder), **asked}))
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(START), os.environ.get("PYTHONPATH")))))
    return folder


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulate:
    """A function that puts such GPUs into each Python that is started; it returns the folder of their state."""

    return partial(simulated, monkeypatch, tmp_path)


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
    shrink(monkeypatch)


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Let a study have kernels of sizes that a CPU computes in no time."""
    patch.setattr(study, "kernels", lambda *_, **__: (*SMALL, next(dispatches()), COPY))
    patch.setattr(study, "precisions", lambda _: (precision("fp32", 128), precision("bf16", 128)))
    patch.setattr(study, "large_products", lambda *_: ([], {}))
    patch.setattr(study, "PROFILE", SHORT)


def host_of_two() -> Host:
    """A host of two NUMA nodes and two GPUs, the first at a node that has one of the CPUs that this process may use."""
    mine = tuple(sorted(os.sched_getaffinity(0)))
    nodes = (NumaNode(id=0, cpus=mine[-1:]), NumaNode(id=1, cpus=mine[:-1]))
    name = PROFILES["rtx3060"].name
    gpus = tuple(Gpu(index=i, name=name, uuid=f"GPU-sim-{i}", node=node) for i, node in enumerate((0, None)))
    return make_host().model_copy(update={"gpus": gpus, "numa": nodes, "usable_cpus": mine})


BANDWIDTH = 2e8
"""So high that products are bound by the clock."""
CARD = replace(PROFILES["rtx3060"].slowed(SLOWED), bandwidth=BANDWIDTH)


@pytest.fixture(scope="module")
def two_gpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """A study of two GPUs that fall to 80 % of their clock after two seconds of work."""
    folder = tmp_path_factory.mktemp("gpus")
    with pytest.MonkeyPatch.context() as patch:
        host = host_of_two()
        changed = {"bandwidth": BANDWIDTH}
        simulated(patch, folder, count=2, changed=changed, near=host.numa[0].cpus if len(host.usable_cpus) > 1 else ())
        shrink(patch)
        patch.setattr(gpu_watch, "open_gpus", told_by(folder))
        patch.setattr(gpu_watch, "EVERY_S", 0.02)
        measuring = Measuring(sys.executable, host, budget="quick")
        measuring.study = measuring.study.model_copy(update={"devices": measuring.study.devices[1:]})
        yield measuring.profile()


def test_a_study_of_two_gpus(two_gpus: Study) -> None:
    """Both are measured; their own times stand beside the wall clock's."""
    assert [d.name for d in two_gpus.devices] == ["sim:0", "sim:1"]
    assert not [m.outcome for m in two_gpus.measurements if not m.outcome.ok]
    for device in ("sim:0", "sim:1"):
        (times,) = [m.on_device for m in two_gpus.of("triad", device)]
        assert times is not None
        assert times.cold_s[0] == pytest.approx(3 * 4000 * 8 / CARD.bandwidth, rel=0.01)
        assert times.warm_s[0] <= times.cold_s[0]
    assert Study.model_validate_json(two_gpus.model_dump_json()) == two_gpus


@pytest.mark.parametrize("index", [0, 1])
def test_burst_and_sustained_are_said_apart_with_clock_and_reason(two_gpus: Study, index: int) -> None:
    found = two_gpus.sustained[index]
    each_s = 2 * 128**3 / CARD.flops["bf16"]
    assert (found.device, found.workload) == (f"sim:{index}", "precision-bf16-128")
    assert found.burst_s == pytest.approx(each_s, rel=0.01)
    assert found.sustained_s == pytest.approx(each_s / CARD.sustained, rel=0.01)
    assert found.falls_after_s == pytest.approx(CARD.boost_s, abs=0.1)
    assert found.gpu is not None
    assert (found.gpu.index, found.gpu.least_mhz) == (index, CARD.mhz * CARD.sustained)
    assert found.gpu.reasons == ("software power cap",)
    table = sustained(two_gpus)
    assert table is not None
    row = table.rows[index]
    assert (row[2], row[3]) == ("2.55 GFLOP/s", "2.04 GFLOP/s")
    assert str(row[4]).startswith("80% of it after 2.")
    assert "software power cap" in str(row[5])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU is on one node")
def test_copies_from_the_gpus_own_node(two_gpus: Study) -> None:
    """Only copies are measured there, by a process that is bound to the node; of a GPU whose node is not known none."""
    seen = {e.plan: e.seconds.median for e in two_gpus.estimates if (e.device, e.workload) == ("sim:0", COPY.name)}
    takes = {share: CARD.copy_s + COPY.bytes / (share * CARD.pinned) for share in (1, CARD.far)}
    assert seen == {"default": pytest.approx(takes[CARD.far], rel=0.01), NEAR: pytest.approx(takes[1], rel=0.01)}
    assert {(m.device, m.workload) for m in two_gpus.measurements if m.plan == NEAR} == {("sim:0", COPY.name)}


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


def test_run_measures_each_of_several_devices(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in a process of its own, to within a hundredth of the truth."""
    simulate(count=2)
    monkeypatch.setattr(accelerators, "DEVICE_BLOCKS", 1)
    budget = Budget(total_s=1000, noise_blocks=0, rounds=0, most_pairs=0, finalists=0, turn=SHORT)
    campaign = Campaign(sys.executable, budget, seed=1, child_timeout_s=120)
    triad = next(w for w in SMALL if w.name == "triad")
    assert accelerators.measure_devices(campaign, ("sim:0", "sim:1"), [triad]) == ()
    takes = 3 * 4000 * 8 / PROFILES["rtx3060"].slowed(SLOWED).bandwidth
    assert [(m.device, m.outcome.kind) for m in campaign.measurements] == [("sim:0", "ok"), ("sim:1", "ok")]
    assert [m.median_s for m in campaign.measurements] == pytest.approx([takes, takes], rel=0.01)
    assert len({m.process for m in campaign.measurements}) == 2


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
