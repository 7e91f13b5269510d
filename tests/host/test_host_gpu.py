"""GPUs through a stand-in for NVML, with the values that nvidia-smi shows of real ones."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hwdiag.host import Root, read_host
from hwdiag.host.gpu import read_gpus
from hwdiag.host.gpu.nvidia import COMPUTE_MODES
from hwdiag.report.host_table import host_table
from hwdiag.report.topology import draw_topology

from .conftest import DUMPS, MakeTree


class NVMLError(Exception):
    """As in pynvml: the code is ``value``, the words are the driver's."""

    WORDS = {
        3: "Not Supported",
        4: "Insufficient Permissions",
        9: "Driver Not Loaded",
        12: "NVML Shared Library Not Found",
        15: "GPU is lost",
    }

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return self.WORDS.get(self.value, f"error {self.value}")


class FakeNvml:
    """Answers each function with the value given for it. An integer wrapped in NVMLError is raised; none is missing."""

    def __init__(self, gpus: list[dict[str, Any]], **system: Any) -> None:
        self.gpus = gpus
        self.system = {"nvmlInit": None, "nvmlShutdown": None, "nvmlDeviceGetCount": len(gpus), **system}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name == "nvmlDeviceGetHandleByIndex":
            return lambda index: index
        if name not in self.system and not any(name in g for g in self.gpus):
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            self.calls.append(name)
            answer = self.system[name] if name in self.system else self.gpus[args[0]].get(name, NVMLError(3))
            if callable(answer):
                answer = answer(*args[1:])
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


GB10: dict[str, Any] = {
    "nvmlDeviceGetName": "NVIDIA GB10",
    "nvmlDeviceGetUUID": "GPU-00000000-0000-0000-0000-000000000010",
    "nvmlDeviceGetPciInfo": SimpleNamespace(busId="0000000F:01:00.0"),
    "nvmlDeviceGetArchitecture": 10,
    "nvmlDeviceGetCudaComputeCapability": (12, 1),
    "nvmlDeviceGetMemoryInfo": NVMLError(3),
    "nvmlDeviceGetClockInfo": 208,
    "nvmlDeviceGetMaxClockInfo": 3003,
    "nvmlDeviceGetPowerUsage": 2000,
    "nvmlDeviceGetEnforcedPowerLimit": NVMLError(3),
    "nvmlDeviceGetTemperature": 37,
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetCurrPcieLinkGeneration": 1,
    "nvmlDeviceGetCurrPcieLinkWidth": 1,
    "nvmlDeviceGetCurrentClocksEventReasons": 1,
}

RTX3060: dict[str, Any] = {
    "nvmlDeviceGetName": b"NVIDIA GeForce RTX 3060",  # bytes: the binding before 11.510
    "nvmlDeviceGetUUID": b"GPU-00000000-0000-0000-0000-000000003060",
    "nvmlDeviceGetPciInfo": SimpleNamespace(busId=b"00000000:2D:00.0"),
    "nvmlDeviceGetArchitecture": 7,
    "nvmlDeviceGetCudaComputeCapability": (8, 6),
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=12288 << 20, used=1 << 20),
    "nvmlDeviceGetClockInfo": 210,
    "nvmlDeviceGetMaxClockInfo": 2100,
    "nvmlDeviceGetPowerUsage": 11600,
    "nvmlDeviceGetEnforcedPowerLimit": 170000,
    "nvmlDeviceGetTemperature": 42,
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetCurrPcieLinkGeneration": 1,
    "nvmlDeviceGetCurrPcieLinkWidth": 16,
    # Drivers before 535 know only the older name.
    "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4 | 0x20 | 0x8000,
}


@pytest.fixture
def empty(tmp_path: Path) -> Root:
    return Root.directory(tmp_path)


def test_gb10(tree: MakeTree) -> None:
    root = tree({"/sys/bus/pci/devices/000f:01:00.0/numa_node": "0\n"})
    nvml = FakeNvml([GB10], nvmlSystemGetDriverVersion="580.159.03", nvmlSystemGetCudaDriverVersion_v2=13000)
    (gpu,), note = read_gpus(root, nvml=nvml)
    assert note is None
    assert (gpu.name, gpu.architecture, gpu.compute_capability) == ("NVIDIA GB10", "Blackwell", "12.1")
    assert gpu.memory_bytes is None
    assert gpu.unified_memory
    assert (gpu.driver, gpu.cuda) == ("580.159.03", "13.0")
    assert (gpu.power_w, gpu.power_limit_w) == (2, None)
    assert gpu.throttle_reasons == ()  # idle is no throttling
    assert gpu.node == 0
    assert root.gaps == ()  # "not supported" is an answer
    assert nvml.calls[-1] == "nvmlShutdown"


def test_rtx_3060(tree: MakeTree) -> None:
    root = tree({"/sys/bus/pci/devices/0000:2d:00.0/numa_node": "-1\n"})
    nvml = FakeNvml([RTX3060], nvmlSystemGetDriverVersion=b"570.124.04", nvmlSystemGetCudaDriverVersion_v2=12080)
    (gpu,), _ = read_gpus(root, nvml=nvml)
    assert gpu.name == "NVIDIA GeForce RTX 3060"
    assert gpu.uuid == "GPU-00000000-0000-0000-0000-000000003060"
    assert gpu.bus_id == "00000000:2D:00.0"
    assert gpu.memory_bytes == 12 << 30
    assert not gpu.unified_memory
    assert (gpu.driver, gpu.cuda) == ("570.124.04", "12.8")
    assert (gpu.power_w, gpu.power_limit_w) == (11.6, 170)
    assert (gpu.sm_mhz, gpu.sm_max_mhz, gpu.temperature_c) == (210, 2100, 42)
    assert (gpu.pcie_generation, gpu.pcie_width, gpu.persistence) == (1, 16, True)
    assert gpu.throttle_reasons == ("software power cap", "software thermal slowdown", "unknown reason 0x8000")
    assert gpu.node is None


@pytest.mark.parametrize("code", [9, 12])
def test_no_driver(empty: Root, code: int) -> None:
    assert read_gpus(empty, nvml=FakeNvml([], nvmlInit=NVMLError(code))) == ((), "no NVIDIA driver on this host")
    assert empty.gaps == ()


def test_a_driver_that_does_not_answer(tree: MakeTree) -> None:
    root = tree({"/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module\n"})
    gpus, note = read_gpus(root, nvml=FakeNvml([], nvmlInit=NVMLError(9)))
    assert (gpus, note) == ((), "NVML failed: Driver Not Loaded")


@pytest.mark.parametrize("system", [{"nvmlInit": NVMLError(4)}, {"nvmlDeviceGetCount": NVMLError(4)}])
def test_failing_nvml_is_a_note(empty: Root, system: dict[str, Any]) -> None:
    host = read_host(empty, nvml=FakeNvml([GB10], **system))
    assert host.gpus == ()
    assert host.gpu_note == "NVML failed: Insufficient Permissions"


def test_an_error_in_one_field_costs_that_field(empty: Root) -> None:
    nvml = FakeNvml([{**RTX3060, "nvmlDeviceGetPowerUsage": NVMLError(4)}, RTX3060])
    gpus, note = read_gpus(empty, nvml=nvml)
    assert note is None
    assert [g.power_w for g in gpus] == [None, 11.6]
    assert [g.index for g in gpus] == [0, 1]
    assert [(g.what, g.why) for g in empty.gaps] == [("nvmlDeviceGetPowerUsage", "Insufficient Permissions")]


def test_no_memory_answer_for_lack_of_permission_is_not_unified(empty: Root) -> None:
    (gpu,), _ = read_gpus(empty, nvml=FakeNvml([{**RTX3060, "nvmlDeviceGetMemoryInfo": NVMLError(4)}]))
    assert gpu.memory_bytes is None
    assert not gpu.unified_memory


def test_a_driver_without_gpus(empty: Root) -> None:
    assert read_gpus(empty, nvml=FakeNvml([])) == ((), "the NVIDIA driver sees no GPU")


def test_a_dump_has_no_gpus(empty: Root) -> None:
    assert read_gpus(empty) == ((), "a dump holds no GPU facts")


# Built from what nvidia-smi -q -x says of real GPUs


def said(element: ET.Element, path: str) -> str | None:
    """A field of the XML; None where it is not available."""
    text = element.findtext(path)
    return None if text is None or "N/A" in text or "Requested functionality" in text else text.strip()


def numbered(element: ET.Element, path: str, factor: int = 1) -> Any:
    """A field's number, ``12.50 W`` or ``16x``, or NVML's "not supported"."""
    text = said(element, path)
    return NVMLError(3) if text is None else round(float(text.split()[0].rstrip("x")) * factor)


def enabled(element: ET.Element, path: str) -> Any:
    text = said(element, path)
    return NVMLError(3) if text is None else int(text == "Enabled")


def pair(mode: Any) -> Any:
    return mode if isinstance(mode, Exception) else [mode, mode]


def fake(gpu: ET.Element) -> dict[str, Any]:
    """What NVML answers of this GPU."""
    by_kind = {1: ("clocks/sm_clock", "max_clocks/sm_clock"), 2: ("clocks/mem_clock", "max_clocks/mem_clock")}
    total = said(gpu, "fb_memory_usage/total")
    power = "gpu_power_readings" if gpu.find("gpu_power_readings") is not None else "power_readings"
    link = "pci/pci_gpu_link_info"
    mode_of = {name: code for code, name in COMPUTE_MODES.items()}
    least = numbered(gpu, f"{power}/min_power_limit", 1000)
    limit = "current_power_limit" if gpu.find(f"{power}/current_power_limit") is not None else "enforced_power_limit"
    return {
        "nvmlDeviceGetName": gpu.findtext("product_name"),
        "nvmlDeviceGetUUID": gpu.findtext("uuid"),
        "nvmlDeviceGetPciInfo": SimpleNamespace(busId=gpu.findtext("pci/pci_bus_id")),
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=int(total.split()[0]) << 20) if total else NVMLError(3),
        "nvmlDeviceGetClockInfo": lambda kind: numbered(gpu, by_kind[kind][0]),
        "nvmlDeviceGetMaxClockInfo": lambda kind: numbered(gpu, by_kind[kind][1]),
        "nvmlDeviceGetPowerUsage": numbered(gpu, f"{power}/power_draw", 1000),
        "nvmlDeviceGetEnforcedPowerLimit": numbered(gpu, f"{power}/{limit}", 1000),
        "nvmlDeviceGetTemperature": numbered(gpu, "temperature/gpu_temp"),
        "nvmlDeviceGetPersistenceMode": enabled(gpu, "persistence_mode"),
        "nvmlDeviceGetAccountingMode": enabled(gpu, "accounting_mode"),
        "nvmlDeviceGetComputeMode": mode_of.get(said(gpu, "compute_mode") or "", NVMLError(3)),
        "nvmlDeviceGetPowerManagementDefaultLimit": numbered(gpu, f"{power}/default_power_limit", 1000),
        "nvmlDeviceGetPowerManagementLimitConstraints": NVMLError(3)
        if isinstance(least, Exception)
        else (least, numbered(gpu, f"{power}/max_power_limit", 1000)),
        "nvmlDeviceGetEccMode": pair(enabled(gpu, "ecc_mode/current_ecc")),
        "nvmlDeviceGetMigMode": pair(enabled(gpu, "mig_mode/current_mig")),
        "nvmlDeviceGetCurrPcieLinkGeneration": numbered(gpu, f"{link}/pcie_gen/current_link_gen"),
        "nvmlDeviceGetCurrPcieLinkWidth": numbered(gpu, f"{link}/link_widths/current_link_width"),
        "nvmlDeviceGetMaxPcieLinkGeneration": numbered(gpu, f"{link}/pcie_gen/max_link_gen"),
        "nvmlDeviceGetMaxPcieLinkWidth": numbered(gpu, f"{link}/link_widths/max_link_width"),
    }


XMLS = sorted((DUMPS / "text/nvidia-smi/xml").glob("*.xml"))


@pytest.mark.parametrize("file", XMLS or [None], ids=lambda f: f and f.stem)
def test_real_gpus(empty: Root, file: Path | None) -> None:
    if file is None:
        pytest.skip(f"no outputs of nvidia-smi in {DUMPS}")
    elements = [e for e in ET.parse(file).getroot().findall("gpu") if e.find("fb_memory_usage") is not None]
    if not elements:
        pytest.skip(f"{file.name} is only an excerpt")
    gpus, note = read_gpus(empty, nvml=FakeNvml([fake(e) for e in elements]))
    assert (len(gpus), note) == (len(elements), None)
    assert empty.gaps == (), "what a GPU does not support is no gap"
    for gpu, element in zip(gpus, elements, strict=True):
        assert gpu.name == element.findtext("product_name")
        words = {True: "Enabled", False: "Disabled", None: "N/A"}
        assert words[gpu.ecc] == (element.findtext("ecc_mode/current_ecc") or "N/A")
        assert words[gpu.mig] == (element.findtext("mig_mode/current_mig") or "N/A")
        assert not gpu.unified_memory
        assert gpu.memory_bytes is not None
        text = (
            f"{gpu.memory_mhz:.0f} of {gpu.memory_max_mhz:.0f} MHz (memory)" if gpu.memory_max_mhz else "MHz (memory)"
        )
        assert text in host_table(read_host(empty, nvml=FakeNvml([fake(element)]))).to_text()


@pytest.mark.parametrize(
    ("state", "links"),
    [
        (lambda link: 1 if link < 12 else NVMLError(2), 12),  # an A100: INVALID_ARGUMENT after its last link
        (lambda link: 0 if link % 2 else 1, 18),
        (lambda link: NVMLError(3), None),
        (lambda link: 0 if link < 4 else NVMLError(2), 0),
    ],
)
def test_nvlinks(empty: Root, state: Any, links: int | None) -> None:
    (gpu,), _ = read_gpus(empty, nvml=FakeNvml([{**RTX3060, "nvmlDeviceGetNvLinkState": state}]))
    assert gpu.nvlinks == links
    assert empty.gaps == ()


def test_the_link_of_an_integrated_gpu_is_explained_and_that_of_a_sleeping_one_too(empty: Root) -> None:
    text = host_table(read_host(empty, nvml=FakeNvml([GB10]))).to_text()
    assert "PCIe 1 x1 carries no data: the GPU shares the CPU's memory" in text
    assert "PCIe" not in draw_topology(read_host(empty, nvml=FakeNvml([GB10]))).svg
    most = {"nvmlDeviceGetMaxPcieLinkGeneration": 4, "nvmlDeviceGetMaxPcieLinkWidth": 16}
    assert "PCIe 1 x16 now, up to 4 x16" in host_table(read_host(empty, nvml=FakeNvml([RTX3060 | most]))).to_text()
    awake = RTX3060 | most | {"nvmlDeviceGetCurrPcieLinkGeneration": 4}
    assert "PCIe 4 x16," in host_table(read_host(empty, nvml=FakeNvml([awake]))).to_text()
