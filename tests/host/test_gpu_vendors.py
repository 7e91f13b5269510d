"""GPUs of AMD and Intel from the files of their drivers, beside NVIDIA's; and a library that hangs."""

from __future__ import annotations

import math
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from hwdiag.audit.audit import audit
from hwdiag.host import Root, library, read_host
from hwdiag.host.amd_metrics import reason_bits
from hwdiag.host.archive import open_root, write_archive
from hwdiag.host.gpu import __path__ as folder
from hwdiag.host.gpu import amd, gpu_sources, nvidia, open_gpus, read_gpus, reason_names, reasons, vendors
from hwdiag.host.library import Gone, Library, LibraryError
from hwdiag.host.model import Gap, Gpu
from hwdiag.host.sampling import Sampler
from hwdiag.host.snapshot import RecordingRoot, package
from hwdiag.report.host_table import host_table
from hwdiag.tune.comfyui import render_comfyui
from tests.host.conftest import MakeTree
from tests.host.gpu_trees import AMDGPU_IDS, ARC_B580, KFD, PCI_IDS, PHOENIX, RX_7800_XT, UHD_770, card
from tests.host.test_host_gpu import RTX3060, FakeNvml, NVMLError

DISCRETE = card(0, "0000:2f:00.0", "1002", "747e", "amdgpu", RX_7800_XT)
APU = card(2, "0000:c1:00.0", "1002", "15bf", "amdgpu", PHOENIX)
BATTLEMAGE = card(0, "0000:03:00.0", "8086", "e20b", "xe", ARC_B580)
OWN = card(1, "0000:00:02.0", "8086", "4680", "i915", UHD_770)
NAMES = {"/usr/share/libdrm/amdgpu.ids": AMDGPU_IDS, "/usr/share/misc/pci.ids": PCI_IDS}


def columns(sampler: Sampler, elapsed: float) -> dict[str, float]:
    return dict(zip((c.name for c in sampler.columns), sampler.read(elapsed), strict=True))


def test_a_card_of_amd(tree: MakeTree) -> None:
    (gpu,), note = read_gpus(tree(DISCRETE | NAMES | KFD))
    assert note is None
    assert (gpu.vendor, gpu.index, gpu.name) == ("amd", 0, "AMD Radeon RX 7800 XT")
    assert (gpu.uuid, gpu.bus_id, gpu.architecture) == ("7a4ec33a72d1f3b5", "0000:2f:00.0", "gfx1101")
    assert (gpu.driver, gpu.cuda, gpu.integrated, gpu.unified_memory) == ("amdgpu", None, False, False)
    assert (gpu.memory_bytes, gpu.utilization, gpu.temperature_c) == (17163091968, 97, 54)
    assert (gpu.sm_mhz, gpu.sm_max_mhz, gpu.memory_mhz, gpu.memory_max_mhz) == (2254, 2565, 96, 1218)
    assert (gpu.power_w, gpu.power_limit_w, gpu.power_default_w, gpu.power_max_w) == (201, 212, 212, 243)
    assert (gpu.pcie_generation, gpu.pcie_width, gpu.node) == (4, 16, None)


def test_a_gpu_in_amds_processor_is_integrated(tree: MakeTree) -> None:
    (gpu,), _ = read_gpus(tree(APU | NAMES))
    assert (gpu.name, gpu.integrated, gpu.unified_memory) == ("AMD Radeon 780M Graphics", True, True)
    assert (gpu.power_w, gpu.power_limit_w, gpu.pcie_generation, gpu.sm_mhz) == (9.012, None, None, 800)


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ("0: 1000Mhz \n1: 1500Mhz *\n2: 2000Mhz \n", (1500, 2000)),
        ("0: 0Mhz *\n1: 0Mhz *", (None, None)),  # an RX 6950 XT that was asleep
        ("S: 19Mhz *\n0: 96Mhz \n1: 2000Mhz \n", (None, 2000)),  # deep sleep
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_levels_of_clocks(levels: str | None, told: tuple[float | None, float | None]) -> None:
    assert amd.clocks(levels) == told


@pytest.mark.parametrize(
    ("version", "name"), [(110000, "gfx1100"), (90402, "gfx942"), (90010, "gfx90a"), (90500, "gfx950")]
)
def test_names_of_architectures(tree: MakeTree, version: int, name: str) -> None:
    node = "/sys/class/kfd/kfd/topology/nodes/1/properties"
    root = tree(DISCRETE | {node: f"gfx_target_version {version}\nlocation_id {0x2F << 8}\ndomain 0\n"})
    assert read_gpus(root)[0][0].architecture == name


def test_a_name_of_the_pci_list_or_the_bare_number(tree: MakeTree) -> None:
    root = tree(DISCRETE)
    assert read_gpus(root)[0][0].name == "AMD GPU 0x747e"
    assert read_gpus(tree({"/usr/share/misc/pci.ids": PCI_IDS}))[0][0].name == "Navi 32 [Radeon RX 7800 XT]"


class FakeAmdSmi:
    """AMD SMI's Python library, as far as it is asked."""

    def amdsmi_init(self) -> None: ...
    def amdsmi_shut_down(self) -> None: ...
    def amdsmi_get_processor_handles(self) -> list[int]:
        return [7]

    def amdsmi_get_gpu_device_bdf(self, _handle: int) -> str:
        return "0000:2F:00.0"

    def amdsmi_get_gpu_asic_info(self, _handle: int) -> dict[str, Any]:
        return {"market_name": "Radeon RX 7800 XT by its library", "vendor_id": 0x1002}


def test_amds_library_tells_names_where_it_is_installed(tree: MakeTree) -> None:
    opened, _ = amd.open_gpus(tree(DISCRETE | NAMES), FakeAmdSmi())
    assert opened is not None
    assert opened.read(0)[0][0].name == "Radeon RX 7800 XT by its library"


def metrics(form: int, content: int, bits: int, size: int = 0) -> bytes:
    """A table ``gpu_metrics`` as amdgpu writes it, with these independent bits of throttling."""
    offset, length = {(1, 3): (112, 120), (2, 2): (120, 128), (2, 4): (120, 168)}.get((form, content), (112, 264))
    table = bytearray(b"\xff" * length)
    table[:4] = struct.pack("<HBB", size or length, form, content)
    table[offset : offset + 8] = struct.pack("<Q", bits)
    return bytes(table)


THROTTLED = [
    ((1, 3), 1 << 0, ("package power limit (PPT)",)),
    ((1, 3), 1 << 36 | 1 << 16, ("package current limit (TDC, EDC)", "temperature of chip or memory")),
    ((1, 3), 1 << 57, ("reliability (PPM, FIT)",)),
    ((2, 2), 1 << 47, ("PROCHOT of the package",)),
    ((2, 4), 1 << 44, ("temperature of voltage regulators",)),
    ((1, 3), 0, ()),
    ((1, 3), (1 << 64) - 1, None),  # not told
    ((1, 2), 1, None),  # older: its bits differ from chip to chip
    ((1, 5), 1, None),  # MI300
]


@pytest.mark.parametrize(("version", "bits", "names"), THROTTLED)
def test_why_a_card_of_amd_is_slow(
    tree: MakeTree, version: tuple[int, int], bits: int, names: tuple[str, ...] | None
) -> None:
    root = tree(DISCRETE | NAMES)
    device = next(p for p in DISCRETE if p.endswith("/device/vendor")).removesuffix("/vendor")
    Path(f"{root._folder}{device}/gpu_metrics").write_bytes(metrics(*version, bits))
    (gpu,), _ = read_gpus(root)
    assert gpu.throttle_reasons == (names or ())
    assert set(gpu.throttle_reasons) <= set(reasons())
    absent: list[Gap] = []
    (source,) = gpu_sources(root, absent)
    now = dict(zip([c.name for c in source.columns], source.read(1.0), strict=True))
    source.close()
    if names is None:
        assert "gpu0.reasons" not in now
        assert any("reasons" in gap.what for gap in absent)
    else:
        assert reason_names("amd", int(now["gpu0.reasons"])) == names


@pytest.mark.parametrize("table", [b"", b"\x78\x00\x01\x03", metrics(1, 3, 1, size=4000), metrics(1, 3, 1)[:100]])
def test_a_damaged_table_of_amd_tells_nothing(table: bytes) -> None:
    assert reason_bits(table) is None


def test_a_hot_card_of_amd_is_a_finding(tree: MakeTree) -> None:
    root = tree(DISCRETE | NAMES)
    device = next(p for p in DISCRETE if p.endswith("/device/vendor")).removesuffix("/vendor")
    Path(f"{root._folder}{device}/gpu_metrics").write_bytes(metrics(1, 3, 1 << 36))
    found = next(f for f in audit(root, read_host(root)).findings if f.id == "gpu-clock:GPU 0")
    assert "temperature of chip or memory: it is too hot" in found.detail


def test_intels_reasons_are_sampled(tree: MakeTree) -> None:
    (source,) = gpu_sources(tree(BATTLEMAGE | NAMES), [])
    now = dict(zip([c.name for c in source.columns], source.read(1.0), strict=True))
    source.close()
    assert reason_names("intel", int(now["gpu0.reasons"])) == ("power limit PL1",)


def test_a_card_of_intel_with_xe(tree: MakeTree) -> None:
    (gpu,), note = read_gpus(tree(BATTLEMAGE | NAMES))
    assert note is None
    assert (gpu.vendor, gpu.name, gpu.driver) == ("intel", "Battlemage G21 [Arc B580]", "xe")
    assert (gpu.memory_bytes, gpu.integrated, gpu.node) == (12 << 30, False, 0)
    assert (gpu.sm_mhz, gpu.sm_max_mhz, gpu.power_limit_w, gpu.temperature_c) == (2850, 2850, 190, 61)
    assert (gpu.pcie_generation, gpu.pcie_width, gpu.throttle_reasons) == (4, 8, ("power limit PL1",))
    assert set(gpu.throttle_reasons) <= set(reasons())


def test_the_gpu_in_intels_processor(tree: MakeTree) -> None:
    root = tree(OWN | NAMES)
    (gpu,), _ = read_gpus(root)
    assert (gpu.name, gpu.integrated, gpu.unified_memory) == ("AlderLake-S GT1 [UHD Graphics 770]", True, True)
    assert (gpu.sm_mhz, gpu.sm_max_mhz, gpu.memory_bytes) == (300, 1550, None)
    assert root.gaps == ()


def test_a_processors_own_gpu_changes_no_advice(tree: MakeTree) -> None:
    root = tree(OWN | APU | NAMES | {"/proc/sys/vm/vfs_cache_pressure": "100\n",
                                     "/sys/module/zfs/parameters/zfs_arc_max": "0\n"})  # fmt: skip
    host = read_host(root)
    assert (len(host.gpus), host.accelerators) == (2, ())
    rows = {r.knob: r for r in audit(root, host).rows}
    assert not any(knob.startswith("gpu.") for knob in rows), "nvidia-smi sets none of these"
    assert rows["vm.vfs_cache_pressure"].wanted == "50"
    assert not rows["zfs.arc_max"].chosen
    scripts = render_comfyui(host, "/c", "/p", "/l/launch.sh", made_at="now")
    assert "--cpu" in scripts["comfyui-conservative.sh"]


def test_nvidias_gpus_come_first_and_all_are_shown(tree: MakeTree) -> None:
    root = tree(DISCRETE | OWN | NAMES)
    gpus, note = read_gpus(root, nvml=FakeNvml([RTX3060, RTX3060]))
    assert note is None
    assert [(g.index, g.vendor) for g in gpus] == [(0, "nvidia"), (1, "nvidia"), (2, "amd"), (3, "intel")]
    table = host_table(read_host(root, nvml=FakeNvml([RTX3060]))).to_text()
    assert "2254 of 2565 MHz (cores)" in table
    assert "a part of the processor" in table
    names = {c.name for c in Sampler(root, nvml=FakeNvml([RTX3060, RTX3060])).columns}
    assert {"gpu2.use", "gpu2.power", "gpu3.awake"} <= names


def test_a_driver_of_nvidia_that_fails_is_told_beside_other_gpus(tree: MakeTree) -> None:
    root = tree(DISCRETE)
    gpus, note = read_gpus(root, nvml=FakeNvml([], nvmlInit=NVMLError(4)))
    assert (len(gpus), note) == (1, None)
    assert [(g.what, g.why) for g in root.gaps] == [("GPUs", "NVML failed: Insufficient Permissions")]
    assert read_gpus(tree({}), nvml=FakeNvml([], nvmlInit=NVMLError(9)))[1] is None


def test_what_amdgpu_counts_is_sampled(tree: MakeTree) -> None:
    root = tree(DISCRETE)
    sampler = Sampler(root)
    now = columns(sampler, 1.0)
    assert now["gpu0.use"] == 97
    assert (now["gpu0.memory"], now["gpu0.clock"], now["gpu0.power"], now["gpu0.temperature"]) == (
        1 << 30,
        2254,
        201,
        54,
    )
    tree({"/sys/class/drm/card0/device/gpu_busy_percent": "12\n"})
    assert columns(sampler, 1.0)["gpu0.use"] == 12
    sampler.close()


def test_what_intels_drivers_count_is_sampled(tree: MakeTree) -> None:
    device = "/sys/class/drm/card0/device"
    sampler = Sampler(tree(BATTLEMAGE))
    tree(
        {
            f"{device}/tile0/gt0/gtidle/idle_residency_ms": "1500\n",
            f"{device}/hwmon/hwmon5/energy1_input": "305000000\n",
        }
    )
    now = columns(sampler, 2.0)
    assert now["gpu0.awake"] == pytest.approx(75), "half a second of two asleep"
    assert now["gpu0.power"] == pytest.approx(150)
    tree({f"{device}/tile0/gt0/gtidle/idle_residency_ms": "10\n"})
    assert math.isnan(columns(sampler, 2.0)["gpu0.awake"]), "a counter that went backwards tells nothing"
    assert "gpu0.use" not in now
    sampler.close()


def test_what_is_not_told_is_absent(tree: MakeTree) -> None:
    absent: list[Gap] = []
    (source,) = gpu_sources(tree(OWN), absent)
    assert [c.name for c in source.columns] == ["gpu0.awake", "gpu0.clock", "gpu0.reasons"]
    assert {(g.what, g.why) for g in absent} == {("GPU 0: power", "i915 does not report it"),
                                                 ("GPU 0: temperature", "i915 does not report it")}  # fmt: skip
    source.close()


def test_integrated_ones_are_left_out_where_others_work(tree: MakeTree) -> None:
    root = tree(DISCRETE | APU)
    assert [s.columns[0].name for s in gpu_sources(root, [], integrated=False)] == ["gpu0.use"]
    assert len(gpu_sources(root, [])) == 2


def test_only_an_integrated_one_is_not_left_out(tree: MakeTree) -> None:
    assert len(gpu_sources(tree(APU), [], integrated=False)) == 1


def test_a_card_without_its_driver_is_named(tree: MakeTree) -> None:
    root = tree({"/sys/bus/pci/devices/0000:03:00.0/class": "0x030000\n",
                 "/sys/bus/pci/devices/0000:03:00.0/vendor": "0x1002\n",
                 "/sys/bus/pci/devices/0000:03:00.0/uevent": "PCI_ID=1002:747E\n"})  # fmt: skip
    gpus, note = read_gpus(root)
    assert gpus == ()
    assert "no driver has taken AMD's 0000:03:00.0 (amdgpu is not loaded)" in (note or "")


def test_a_broken_tree_is_no_crash(tree: MakeTree) -> None:
    broken = {path: "\x00garbage\xff" if "uevent" not in path and not path.endswith("vendor") else text
              for path, text in (DISCRETE | OWN).items()}  # fmt: skip
    (first, second), _ = read_gpus(tree(broken))
    assert (first.memory_bytes, first.sm_mhz, second.sm_mhz) == (None, None, None)


def test_every_module_of_the_folder_is_a_vendor() -> None:
    names = {p.stem for p in Path(folder[0]).glob("*.py")} - {"__init__"}
    assert set(vendors()) == names
    assert list(vendors())[:3] == ["nvidia", "amd", "intel"]
    for vendor in vendors().values():
        assert isinstance(vendor.RANK, int)
        assert vendor.TORCH_BUILD
        assert all(reason.meaning for reason in vendor.REASONS)


def test_an_old_record_of_a_gpu_is_nvidias() -> None:
    assert Gpu(index=0, name="NVIDIA A100").vendor == "nvidia"


# --- a library in a child --------------------------------------------------------------------------------------------

STAND_IN = """
import ctypes, os, time

print("what a library prints")
os.write(1, b"and its C part\\n")

class NVMLError(Exception):
    def __init__(self, value): super().__init__(value); self.value = value
    def __str__(self): return {3: "Not Supported", 9: "Driver Not Loaded"}.get(self.value, "error")

class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]

class Pci(ctypes.Structure):
    _fields_ = [("busId", ctypes.c_char * 32)]

class Board: pass
BOARD = Board()

def nvmlInit(): HANG_IN_INIT
def nvmlShutdown(): pass
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(index): return BOARD
def nvmlDeviceGetName(board): assert board is BOARD; return b"NVIDIA Stand-in"
def nvmlDeviceGetMemoryInfo(board): return Memory(total=12 << 30, used=1 << 20)
def nvmlDeviceGetPciInfo(board): return Pci(busId=b"00000000:2D:00.0")
def nvmlDeviceGetCudaComputeCapability(board): return (8, 6)
def nvmlDeviceGetClockInfo(board, kind): return 1000 * kind
def nvmlDeviceGetUtilizationRates(board): raise NVMLError(3)
def nvmlDeviceGetTemperature(board, kind): time.sleep(HANG_S); return 42
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a module ``pynvml`` in front of the real one, in children too."""

    def put(*, hangs_s: float = 0, init: str = "pass") -> None:
        text = STAND_IN.replace("HANG_S", str(hangs_s)).replace("HANG_IN_INIT", init)
        (tmp_path / "pynvml.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(nvidia, "DRIVER", (str(tmp_path / "pynvml.py"),))

    return put


def only_nvidia(found: tuple[Gpu, ...]) -> Gpu:
    return next(g for g in found if g.vendor == "nvidia")


def test_nvml_is_asked_in_a_child(stand_in: Any) -> None:
    stand_in()
    root = Root.live()
    gpu = only_nvidia(read_gpus(root)[0])
    assert (gpu.name, gpu.memory_bytes, gpu.bus_id) == ("NVIDIA Stand-in", 12 << 30, "00000000:2D:00.0")
    assert (gpu.compute_capability, gpu.sm_mhz, gpu.temperature_c, gpu.utilization) == ("8.6", 1000, 42, None)
    assert [g for g in root.gaps if "nvml" in g.what.lower()] == []


def test_a_call_that_hangs_costs_its_answer_and_not_the_run(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(hangs_s=600)
    monkeypatch.setattr(library, "CALL_S", 0.5)
    root, began = Root.live(), time.monotonic()
    gpu = only_nvidia(read_host(root).gpus)
    assert time.monotonic() - began < 20
    assert (gpu.name, gpu.sm_mhz) == ("NVIDIA Stand-in", 1000), "what was told before it hung"
    assert gpu.temperature_c is None
    assert ("NVML", "it did not answer nvmlDeviceGetTemperature within 0.5 s") in {(g.what, g.why) for g in root.gaps}


def test_a_driver_that_hangs_at_once_is_a_note(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(init="time.sleep(600)")
    monkeypatch.setattr(library, "FIRST_S", 2.0)
    gpus, note = read_gpus(Root.live())
    assert note == "NVML failed: it did not answer nvmlInit within 2 s" or [g.vendor for g in gpus] != ["nvidia"]


def test_a_library_that_dies_is_told(stand_in: Any) -> None:
    stand_in(init="os._exit(1)")
    asked = Library("pynvml")
    with pytest.raises(Gone, match="it ended while it was asked nvmlInit"):
        asked.nvmlInit()
    with pytest.raises(Gone):
        asked.nvmlDeviceGetCount()


def test_errors_and_missing_functions_come_through(stand_in: Any) -> None:
    stand_in(init="raise NVMLError(9)")
    asked = Library("pynvml")
    with pytest.raises(LibraryError, match="Driver Not Loaded") as caught:
        asked.nvmlInit()
    assert caught.value.value == 9
    with pytest.raises(LibraryError, match="not in this driver"):
        asked.nvmlNoSuchFunction()
    asked.close()


def test_the_child_ends_with_its_parent(stand_in: Any) -> None:
    stand_in()
    asked = Library("pynvml")
    assert asked.nvmlDeviceGetCount() == 1
    child = asked._child
    assert child is not None
    asked.close()
    assert child.poll() == 0


def test_it_stays_open_while_it_is_watched(stand_in: Any) -> None:
    stand_in()
    with open_gpus(Root.live()) as gpus:
        assert [only_nvidia(gpus.read()[0]).name for _ in range(3)] == ["NVIDIA Stand-in"] * 3


# --- a snapshot ------------------------------------------------------------------------------------------------------


def test_a_snapshot_tells_a_card_and_not_which_one(tree: MakeTree, tmp_path: Path) -> None:
    tree(DISCRETE | NAMES | KFD)
    recorder = RecordingRoot(str(tmp_path))
    host = read_host(recorder)
    assert host.gpus[0].uuid is not None
    manifest, files = package(recorder, host)
    write_archive(tmp_path / "s.tar.gz", manifest, files)
    (gpu,) = read_host(open_root(tmp_path / "s.tar.gz")).gpus
    assert (gpu.name, gpu.architecture, gpu.uuid) == ("AMD Radeon RX 7800 XT", "gfx1101", None)
    everything = b"".join(files.values()) + manifest.model_dump_json().encode()
    assert b"7a4ec33a72d1f3b5" not in everything
    assert str(0x7A4EC33A72D1F3B5).encode() not in everything, "the compute node tells it as a decimal number"
    assert not any(name.endswith(".ids") for name in files), "lists of names are no facts of a host, and large"
