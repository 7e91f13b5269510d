"""GPUs that fail, on the stateful stand-in: what host and audit say of them, and that nothing waits for them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwdiag.audit.audit import audit
from hwdiag.core.finding import Check, Finding
from hwdiag.host import library
from hwdiag.host.activity import Activity
from hwdiag.host.gpu import gpu_sources, nvidia, read_gpus
from hwdiag.host.library import Library, LibraryError
from hwdiag.host.model import Gap, Gpu, Host
from hwdiag.host.nvidia_kernel import read_xids
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.host.snapshot import RecordingRoot, package
from hwdiag.process.gpu_symptoms import HARDWARE, TROUBLES
from hwdiag.process.symptoms import Seen, answers
from tests.host.conftest import MakeTree, unpacked
from tests.simulation.nvml import STATE, GpuState

__all__ = ["unpacked"]


@pytest.fixture
def gpus(tmp_path: Path) -> Callable[..., GpuState]:
    return lambda *profiles: GpuState(tmp_path / "gpus", *profiles)


def said(host: Host, *, watched: bool = True) -> dict[str, Finding | Check]:
    """What audit's questions answer, by id; with the GPUs as they were seen at work."""
    seen = Activity(seconds=2, gpus=host.gpus if watched else ())
    return {a.id: a for a in answers(Seen(host=host, activity=seen, others={})) if a.id.startswith("gpu-")}


# Clocks, power and links: each rule its own finding and remedy

LOAD = {"utilization.gpu": "97", "utilization.memory": "40", "reasons": "0"}
CLOCKS = [
    # profile, state, what the title says, what the detail says
    ("RTX 3060", {"clocks.sm": "210", "clocks.max.sm": "3090", "power.draw": "588", "power.limit": "35",
                  "power.max_limit": "35", "power.default_limit": "35"},
     "reports impossible values: it draws 588 W", "reset"),
    ("RTX 3060", {"clocks.sm": "210", "power.draw": "160"}, "impossible values: it draws 160 W at 210", "reset"),
    ("RTX 3060", {"clocks.sm": "4290"}, "its clock is 4290 of 2145 MHz", "reset"),
    ("RTX 3060", {"utilization.gpu": "240"}, "its utilisation is 240 %", "reset"),
    ("RTX 3060", {"temperature.gpu": "511"}, "its temperature is 511 °C", "reset"),
    ("GB10", {"clocks.sm": "513", "power.draw": "14", "utilization.gpu": "72", "reasons": "4"},
     "stuck in its low-power state: 513 of 3003 MHz", "Unplug it"),
    ("GB10", {"clocks.sm": "850", "power.draw": "24", "reasons": "2"}, "held at 850 of 3003 MHz by a clock", "-rgc"),
    ("GB10", {"clocks.sm": "850", "power.draw": "24"}, "held far below its clock: 850", "-rgc"),
    ("GB10", {"clocks.sm": "1700", "power.draw": "70"}, "runs far below its clock: 1700", "2300 to 2500"),
    ("A100 MIG", {"clocks.sm": "690", "power.draw": "149", "power.limit": "150", "reasons": "4",
                  "mig.mode.current": "Disabled"},
     "by its power limit of 150 W, which somebody lowered from 400", "-pl 400"),
    ("A100 MIG", {"clocks.sm": "690", "power.draw": "399", "reasons": "4", "mig.mode.current": "Disabled"},
     "held at 690 of 1410 MHz by its power limit of 400 W", "power cables"),
    ("H100", {"clocks.sm": "345"}, "runs far below its clock: 345 of 1980 MHz", "gives no reason. Look for a lock"),
    ("H100", {"clocks.sm": "990", "reasons": "64"}, "is slowed down: 990", "hardware thermal slowdown"),
    ("H100", {"clocks.sm": "1200", "reasons": "2"}, "held at 1200 of 1980 MHz by a clock", "-rgc"),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "state", "title", "detail"), CLOCKS)
def test_what_holds_a_clock(
    gpus: Callable[..., GpuState], tmp_path: Path, profile: str, state: dict[str, str], title: str, detail: str
) -> None:
    there = gpus(profile)
    there.set(0, **{**LOAD, **state})
    found = said(read_host(Root.directory(tmp_path), nvml=there.nvml))["gpu-clock:GPU 0"]
    assert isinstance(found, Finding), found
    assert title in found.title
    assert detail in found.detail
    is_low_power = "Unplug it" in found.detail
    assert ("the unit is faulty" in found.detail) == is_low_power
    if "-rgc" in detail and is_low_power:
        assert found.detail.index("-rgc") < found.detail.index("Unplug it"), "the harmless remedy comes first"


@pytest.mark.parametrize(
    ("profile", "state", "title"),
    [
        ("GB10", {"clocks.sm": "2418", "power.draw": "88", "reasons": "4"}, "runs at its usual clock"),
        ("H100", {"clocks.sm": "1755", "reasons": "4"}, "runs near its highest clock"),
        ("H100", {"clocks.sm": "1305", "power.draw": "698", "reasons": "4"}, "for no faulty reason"),
        ("RTX 3060", {"clocks.sm": "1905", "power.draw": "171.5", "reasons": "4"}, "near its highest"),
    ],
)
def test_a_usual_clock_is_fine(
    gpus: Callable[..., GpuState], tmp_path: Path, profile: str, state: dict[str, str], title: str
) -> None:
    there = gpus(profile)
    there.set(0, **{**LOAD, **state})
    found = said(read_host(Root.directory(tmp_path), nvml=there.nvml))["gpu-clock:GPU 0"]
    assert isinstance(found, Check), found
    assert (found.state, title in found.title) == ("fine", True)


@pytest.mark.parametrize(
    ("profile", "state", "why"),
    [
        ("A100 MIG", {}, "cut into slices (MIG), and NVML does not report its use"),
        ("RTX 3060", {"virtualization": "2", "clocks.sm": None}, "it is a vGPU, and only its host can read its clock"),
        ("RTX 3060", {"clocks.sm": None}, "the driver does not report its clock"),
        ("H100", {"utilization.gpu": "3"}, "it is at 3 % utilisation"),
    ],
)  # fmt: skip
def test_what_is_not_told_has_its_reason(
    gpus: Callable[..., GpuState], tmp_path: Path, profile: str, state: dict[str, str | None], why: str
) -> None:
    there = gpus(profile)
    there.set(0, **state)
    found = said(read_host(Root.directory(tmp_path), nvml=there.nvml))["gpu-clock:GPU 0"]
    assert isinstance(found, Check)
    assert (found.state, why in found.detail) == ("unchecked", True), found.detail


LINKS = [
    ("RTX 3060", {"pcie.link.gen.current": "1", "pcie.link.width.current": "1"}, "97", "PCIe 1 x1, of 4 x16"),
    ("H100", {"pcie.link.width.current": "8"}, "97", "PCIe 5 x8, of 5 x16"),
    ("H100", {}, "97", ""),
    ("RTX 3060", {"pcie.link.gen.current": "1"}, "0", None),  # an idle one slows its link down
    ("GB10", {"pcie.link.gen.max": "5", "pcie.link.width.max": "16"}, "97", None),  # no link carries its data
]  # fmt: skip


@pytest.mark.parametrize(("profile", "state", "use", "title"), LINKS)
def test_a_link_under_load(
    gpus: Callable[..., GpuState], tmp_path: Path, profile: str, state: dict[str, str], use: str, title: str | None
) -> None:
    there = gpus(profile)
    there.set(0, **{"utilization.gpu": use, **state})
    found = said(read_host(Root.directory(tmp_path), nvml=there.nvml)).get("gpu-link:GPU 0")
    if title is None:
        assert found is None
    elif title:
        assert isinstance(found, Finding)
        assert title in found.title
    else:
        assert isinstance(found, Check)


# GPUs that cannot be asked

BROKEN = [
    ("*|*001|lost", "gpu-lost:GPU 1", "GPU 1 is lost"),
    ("nvmlDeviceGetHandleByIndex|1|lost", "gpu-lost:GPU 1", "GPU 1 is lost"),
    ("*|*001|reset", "gpu-reset:GPU 1", "GPU 1 needs a reset"),
    ("nvmlInit|*|mismatch", "gpu-mismatch:GPUs", "have different versions: library and kernel module"),
    ("nvmlInit|*|unknown", "gpu-error:GPUs", "NVIDIA's driver fails: NVML failed: Unknown Error"),
]


@pytest.mark.parametrize(("fault", "id_", "title"), BROKEN)
def test_a_gpu_that_fails_is_a_finding_of_audit(
    gpus: Callable[..., GpuState], tmp_path: Path, fault: str, id_: str, title: str
) -> None:
    there = gpus("H100", "H100", "H100")
    there.faults(fault)
    root = Root.directory(tmp_path)
    host = read_host(root, nvml=there.nvml)
    found = {f.id: f for f in audit(root, host).findings}[id_]
    assert found.severity == "problem"
    assert title in found.title
    assert found.detail
    assert "gpu-lost" not in said(host), "and none is said to be fine"
    if "GPU 1" in id_:
        assert {0, 2} <= {g.index for g in host.gpus}
        assert [g.what for g in host.gaps if g.kind] == ["GPU 1"]


def test_healthy_gpus_are_said_to_be(gpus: Callable[..., GpuState], tmp_path: Path) -> None:
    found = said(read_host(Root.directory(tmp_path), nvml=gpus("H100", "H100").nvml))["gpu-lost"]
    assert isinstance(found, Check)
    assert "2 GPUs" in found.detail


@pytest.mark.parametrize(
    "fault", ["nvmlInit|*|hang", "nvmlDeviceGetTemperature|*001|hang", "nvmlDeviceGetCount|*|hang"]
)
def test_a_call_that_hangs_costs_seconds_and_is_told(
    gpus: Callable[..., GpuState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The stand-in is imported by the child in place of pynvml, as the real one is."""
    there = gpus("RTX 3060", "RTX 3060")
    there.faults(fault)
    monkeypatch.setenv(STATE, str(there.folder))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "simulation"))
    monkeypatch.setattr(library, "FIRST_S", 5.0)
    monkeypatch.setattr(library, "CALL_S", 5.0)
    began = time.monotonic()
    host = read_host(Root.directory(tmp_path), nvml=Library("nvml"))
    assert time.monotonic() - began < 50, "60 s is what the stand-in hangs"
    found = said(host)["gpu-hang:GPUs" if "Init" in fault else "gpu-hang:NVML"]
    assert isinstance(found, Finding)
    assert re.search("NVIDIA's driver does not answer: .*it did not answer nvml", found.title)
    if "Temperature" in fault:
        assert host.gpus[0].temperature_c == 42


def test_the_same_by_the_child_as_in_this_process(
    gpus: Callable[..., GpuState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = gpus("GB10", "RTX 3060", "A100 MIG", "H100")
    monkeypatch.setenv(STATE, str(there.folder))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "simulation"))
    root = Root.directory(tmp_path)
    here, there_too = read_gpus(root, nvml=there.nvml), read_gpus(root, nvml=Library("nvml"))
    assert here == there_too
    assert [g.unified_memory for g in here[0]] == [True, False, False, False]
    assert root.gaps == ()


def pci(slot: str, driver: str | None, device_class: str = "0x030200") -> dict[str, str]:
    folder = f"/sys/bus/pci/devices/{slot}"
    uevent = "".join([f"DRIVER={driver}\n" if driver else "", "PCI_ID=10DE:2330\n"])
    return {f"{folder}/class": f"{device_class}\n", f"{folder}/vendor": "0x10de\n", f"{folder}/uevent": uevent}


PCI = [
    (None, "no driver has taken it", "unbound", "problem"),
    ("nouveau", "the driver nouveau has it", "unbound", "problem"),
    ("vfio-pci", "the driver vfio-pci has it", "unbound", "note"),
    ("nvidia", "NVML does not list it", "unlisted", "problem"),
]


@pytest.mark.parametrize(("driver", "why", "kind", "severity"), PCI)
def test_pci_devices_are_compared_with_nvmls_list(
    gpus: Callable[..., GpuState], tree: MakeTree, driver: str | None, why: str, kind: str, severity: str
) -> None:
    sound = pci("0000:00:09.1", "snd_hda_intel", "0x040300")
    root = tree({**pci("0000:00:09.0", "nvidia"), **pci("0000:41:00.0", driver), **sound})
    host = read_host(root, nvml=gpus("H100").nvml)
    found = said(host)[f"gpu-{kind}:NVIDIA GPU at 0000:41:00.0"]
    assert isinstance(found, Finding)
    assert (why in found.title, found.severity) == (True, severity)
    assert [g.kind for g in host.gaps] == [kind]


def test_a_container_sees_devices_that_it_was_not_given(gpus: Callable[..., GpuState], tree: MakeTree) -> None:
    root = tree({**pci("0000:00:09.0", "nvidia"), **pci("0000:41:00.0", "nvidia"), "/.dockerenv": ""})
    assert isinstance(said(read_host(root, nvml=gpus("H100").nvml))["gpu-lost"], Check)


def test_a_gpu_without_any_driver_of_nvidias_is_seen_on_a_dump(tree: MakeTree) -> None:
    host = read_host(tree(pci("0000:00:07.0", None)))
    assert host.gpus == ()
    assert "gpu-unbound:NVIDIA GPU at 0000:00:07.0" in said(host)


LOG = """[    3.1] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  590.48.01
[ 9131.7] NVRM: Xid (PCI:0000:41:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.
[ 9131.8] NVRM: Xid (PCI:0000:00:09): 31, pid=1234, name=python, MMU Fault: ENGINE GRAPHICS faulted
[ 9131.9] NVRM: Xid (PCI:0000:00:09): 31, pid=1239, name=python, MMU Fault: ENGINE GRAPHICS faulted
"""


def test_xids_of_the_kernels_log(tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(pci("0000:00:09.0", "nvidia"))
    assert read_xids(root) is None
    monkeypatch.setattr(Root, "output", lambda self, *command: LOG if command == ("dmesg",) else None)
    host = read_host(root)
    found = said(host)
    assert {i: a.severity for i, a in found.items() if isinstance(a, Finding)} == {
        "gpu-xid:0000:41:00:79": "problem",
        "gpu-xid:0000:00:09:31": "note",
    }
    assert "Xid 31 2 times" in found["gpu-xid:0000:00:09:31"].title
    assert "fell off the bus" in found["gpu-xid:0000:41:00:79"].title
    monkeypatch.setattr(Root, "output", lambda self, *command: "")
    assert said(read_host(root))["gpu-xid"].state == "fine"  # type: ignore[union-attr]


def test_every_kind_of_trouble_and_every_xid_has_its_words() -> None:
    assert set(TROUBLES) == {"lost", "reset", "mismatch", "hang", "error", "unbound", "unlisted"}
    assert all(words and words[0].islower() for words in HARDWARE.values())


def test_a_snapshot_remembers_what_could_not_be_asked(
    gpus: Callable[..., GpuState],
) -> None:
    there = gpus("H100", "H100")
    there.faults("*|*001|lost")
    recorder = RecordingRoot()
    host = read_host(recorder, nvml=there.nvml)
    manifest, _ = package(recorder, host)
    assert [(g.what, g.kind) for g in manifest.gpu_gaps] == [("GPU 1", "lost")]


# Machines without NVML


JETSON = {
    "/proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "/proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
    "/sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "/sys/class/devfreq/17000000.gpu/max_freq": "1300500000\n",
    "/sys/devices/platform/gpu.0/load": "970\n",
    "/dev/nvmap": "",
}


def test_a_jetson_tells_its_gpu_by_the_kernel(tree: MakeTree) -> None:
    root = tree(JETSON)
    (gpu,), why = read_gpus(root)
    assert why is None
    assert gpu.name == "NVIDIA Jetson AGX Orin Developer Kit (Tegra)"
    assert (gpu.architecture, gpu.compute_capability, gpu.unified_memory) == ("Ampere", "8.7", True)
    assert (gpu.sm_mhz, gpu.sm_max_mhz, gpu.utilization) == (306, 1300.5, 97)
    (source,) = gpu_sources(root, [])
    assert dict(zip([c.name for c in source.columns], source.read(1.0), strict=True)) == {
        "gpu0.use": 97,
        "gpu0.clock": 306,
    }
    found = said(read_host(root))["gpu-clock:GPU 0"]
    assert isinstance(found, Finding)
    assert "306 of 1300 MHz" in found.title


def test_a_jetson_with_nvml_is_not_told_twice(gpus: Callable[..., GpuState], tree: MakeTree) -> None:
    assert len(read_gpus(tree(JETSON), nvml=gpus("GB10").nvml)[0]) == 1


@pytest.mark.parametrize(
    ("files", "fault", "why"),
    [
        ({"/dev/dxg": ""}, "no library", "WSL2, and Windows gives it no driver of NVIDIA's in /usr/lib/wsl/lib"),
        ({}, "no driver", "no NVIDIA driver on this host"),
        ({"/proc/driver/nvidia/version": "NVRM\n"}, "no library", "NVML failed: NVML Shared Library Not Found"),
    ],
)
def test_why_nvml_is_not_there(
    gpus: Callable[..., GpuState], tree: MakeTree, files: dict[str, str], fault: str, why: str
) -> None:
    there = gpus("RTX 3060")
    there.faults(f"nvmlInit|*|{fault}")
    assert read_gpus(tree(files), nvml=there.nvml) == ((), why)


def test_the_library_of_wsl2_is_found_off_the_loaders_path(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, str]] = []

    class NoNvml(Library):
        def __init__(self, module: str, folder: str = "") -> None:
            started.append((module, folder))

        def __getattr__(self, name: str) -> Any:
            raise LibraryError("NVML Shared Library Not Found", 12)

        def close(self) -> None:
            pass

    monkeypatch.setattr(nvidia, "Library", NoNvml)
    monkeypatch.setattr(nvidia, "is_installed", lambda module: True)
    monkeypatch.setattr(Root, "exists", lambda self, path: path in ("/dev/dxg", nvidia.WSL))
    nvidia.open_gpus(Root.live())
    assert started == [("pynvml", "/usr/lib/wsl/lib")]


def test_a_library_off_the_path_reaches_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/own")
    child = Library("os", "/usr/lib/wsl/lib")
    try:
        assert child.getenv("LD_LIBRARY_PATH") == "/usr/lib/wsl/lib:/opt/own"
    finally:
        child.close()


def test_what_a_slice_or_a_vgpu_does_not_tell_is_absent_with_the_reason(
    gpus: Callable[..., GpuState], tmp_path: Path
) -> None:
    there = gpus("A100 MIG", "RTX 3060", "H100")
    there.set(1, virtualization="2", **{"power.draw": None})
    there.faults("nvmlDeviceGetTemperature|*002|lost")
    absent: list[Gap] = []
    for source in gpu_sources(Root.directory(tmp_path), absent, there.nvml):
        source.close()
    why = {gap.what: gap.why for gap in absent}
    assert "slices (MIG)" in why["GPU 0: had a kernel running, read or wrote its memory"]
    assert why["GPU 1: power"] == "it is a vGPU, of which only its host knows this"
    assert why["GPU 2: temperature"] == "GPU is lost"


def test_a_record_of_before_has_gaps_without_a_kind() -> None:
    assert Gap.model_validate({"what": "GPU 0", "why": "GPU is lost"}).kind == ""
    assert Gpu(index=0, name="x").virtualization is None
