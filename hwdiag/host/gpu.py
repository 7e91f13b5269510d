"""GPUs, as NVIDIA's management library (NVML) tells them.

Source: NVML API reference; ``nvidia-ml-py`` is NVIDIA's own binding to it.
"""

from __future__ import annotations

import importlib
from typing import Any

from hwdiag.host.model import Gpu
from hwdiag.host.root import Root

# Values of nvmlReturn_t that are answers, not errors.
GPU_IS_LOST = 15
NOT_SUPPORTED = 3
FUNCTION_NOT_FOUND = 13
NO_DRIVER = frozenset({9, 12})
"""Driver not loaded and library not found."""

CLOCK_SM, CLOCK_MEM = 1, 2
"""NVML_CLOCK_SM and NVML_CLOCK_MEM."""
MAX_NVLINKS = 36
"""NVML_NVLINK_MAX_LINKS."""
TEMPERATURE_GPU = 0
"""NVML_TEMPERATURE_GPU."""
COMPUTE_MODES = {0: "Default", 1: "Exclusive_Thread", 2: "Prohibited", 3: "Exclusive_Process"}
"""nvmlComputeMode_t, as nvidia-smi spells it."""

ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
"""NVML_DEVICE_ARCH_*."""

THROTTLE_REASONS = {
    0x002: "applications clocks setting",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clock setting",
    0x200: "board limit",
    0x400: "reliability",
}
"""Bits of nvmlClocksEventReasons. Bit 0, idle, is no throttling."""

UNIFIED = ("GB10", "Tegra", "Orin", "Xavier", "Thor")
"""Words in the names of chips whose GPU has no memory of its own."""


class Nvml:
    """NVML, asked one thing at a time: what is not supported, or not in this driver, is None, and an error a gap."""

    def __init__(self, module: Any, root: Root) -> None:
        self.module = module
        self.root = root
        self.last_code: int | None = None
        """Code of the last call's error, None if it succeeded."""
        self.last_error = ""
        """The same in NVML's words."""
        self.about = ""
        """Which GPU is asked, ``GPU 0``."""

    def ask(self, name: str, *args: Any) -> Any:
        """Call one function; None if there is no answer."""
        self.last_code = None
        function = getattr(self.module, name, None)
        if function is None:
            self.last_code, self.last_error = FUNCTION_NOT_FOUND, "not in this driver"
            return None
        try:
            return function(*args)
        except Exception as error:  # not only NVMLError: the binding raises others for functions a driver lacks
            self.last_code, self.last_error = _code(error), clause(error)
            if self.last_code not in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                lost = self.last_code == GPU_IS_LOST  # whatever it is asked from now on
                self.root.note(self.about if lost and self.about else name, self.last_error)
            return None

    def text(self, name: str, *args: Any) -> str | None:
        """An answer in words; old versions of the binding give bytes."""
        answer = self.ask(name, *args)
        if isinstance(answer, bytes):
            answer = answer.decode(errors="replace")
        return (str(answer).rstrip("\0").strip() or None) if answer is not None else None

    def number(self, name: str, *args: Any) -> int | None:
        """An answer in numbers."""
        answer = self.ask(name, *args)
        return answer if isinstance(answer, int) else None


def read_gpus(root: Root, *, nvml: Any = None) -> tuple[tuple[Gpu, ...], str | None]:
    """The GPUs, and why there are none where there are none.

    ``nvml`` stands in for the module ``pynvml``. A dump has no NVML; a snapshot remembers what it said.
    """
    if nvml is None:
        if root.gpus is not None:
            return root.gpus
        if root.source != "live":
            return (), "a dump holds no GPU facts"
    opened, why = open_nvml(root, nvml)
    if opened is None:
        return (), why
    try:
        return _read_all(opened)
    finally:
        opened.ask("nvmlShutdown")


def open_nvml(root: Root, module: Any = None) -> tuple[Nvml | None, str | None]:
    """NVML, initialised, or why it cannot be; ``module`` stands in for ``pynvml``. Ask it ``nvmlShutdown`` at last."""
    if module is None:
        try:
            module = importlib.import_module("pynvml")  # here, as a dump need not load it
        except ImportError:
            return None, "the Python package nvidia-ml-py is not installed"
    try:
        module.nvmlInit()
    except Exception as error:
        if _code(error) in NO_DRIVER and not root.exists("/proc/driver/nvidia/version"):
            return None, "no NVIDIA driver on this host"
        return None, f"NVML failed: {clause(error)}"
    return Nvml(module, root), None


def _read_all(nvml: Nvml) -> tuple[tuple[Gpu, ...], str | None]:
    try:
        count = int(nvml.module.nvmlDeviceGetCount())
    except Exception as error:
        return (), f"NVML failed: {clause(error)}"
    driver = nvml.text("nvmlSystemGetDriverVersion")
    cuda = nvml.number("nvmlSystemGetCudaDriverVersion_v2")
    cuda_text = f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None
    gpus = []
    for index in range(count):
        handle = nvml.ask("nvmlDeviceGetHandleByIndex", index)
        if handle is not None:
            gpus.append(_read_one(nvml, index, handle, driver, cuda_text))
    if gpus:
        return tuple(gpus), None
    return (), "the NVIDIA driver sees no GPU" if count == 0 else "NVML failed: no GPU could be opened"


def _read_one(nvml: Nvml, index: int, handle: Any, driver: str | None, cuda: str | None) -> Gpu:
    nvml.about = f"GPU {index}"
    name = nvml.text("nvmlDeviceGetName", handle) or "unknown"
    memory = nvml.ask("nvmlDeviceGetMemoryInfo", handle)
    unified = nvml.last_code == NOT_SUPPORTED or any(word in name.split() for word in UNIFIED)
    bus_id = _text(getattr(nvml.ask("nvmlDeviceGetPciInfo", handle), "busId", None))
    capability = nvml.ask("nvmlDeviceGetCudaComputeCapability", handle)
    limits = nvml.ask("nvmlDeviceGetPowerManagementLimitConstraints", handle) or (None, None)
    return Gpu(
        index=index,
        name=name,
        uuid=nvml.text("nvmlDeviceGetUUID", handle),
        bus_id=bus_id,
        driver=driver,
        cuda=cuda,
        architecture=ARCHITECTURES.get(nvml.number("nvmlDeviceGetArchitecture", handle) or 0),
        compute_capability="{}.{}".format(*capability) if capability else None,
        memory_bytes=int(memory.total) or None if memory is not None else None,
        unified_memory=unified,
        sm_mhz=nvml.number("nvmlDeviceGetClockInfo", handle, CLOCK_SM),
        sm_max_mhz=nvml.number("nvmlDeviceGetMaxClockInfo", handle, CLOCK_SM),
        memory_mhz=nvml.number("nvmlDeviceGetClockInfo", handle, CLOCK_MEM),
        memory_max_mhz=nvml.number("nvmlDeviceGetMaxClockInfo", handle, CLOCK_MEM),
        power_w=_watts(nvml.number("nvmlDeviceGetPowerUsage", handle)),
        power_limit_w=_watts(nvml.number("nvmlDeviceGetEnforcedPowerLimit", handle)),
        temperature_c=nvml.number("nvmlDeviceGetTemperature", handle, TEMPERATURE_GPU),
        persistence=_flag(nvml.number("nvmlDeviceGetPersistenceMode", handle)),
        ecc=_now(nvml.ask("nvmlDeviceGetEccMode", handle)),
        mig=_now(nvml.ask("nvmlDeviceGetMigMode", handle)),
        nvlinks=_nvlinks(nvml, handle),
        pcie_generation=nvml.number("nvmlDeviceGetCurrPcieLinkGeneration", handle),
        pcie_width=nvml.number("nvmlDeviceGetCurrPcieLinkWidth", handle),
        pcie_max_generation=nvml.number("nvmlDeviceGetMaxPcieLinkGeneration", handle),
        pcie_max_width=nvml.number("nvmlDeviceGetMaxPcieLinkWidth", handle),
        throttle_reasons=_throttling(nvml, handle),
        node=_node(nvml.root, bus_id),
        utilization=_share(nvml.ask("nvmlDeviceGetUtilizationRates", handle)),
        compute_mode=COMPUTE_MODES.get(_or(nvml.number("nvmlDeviceGetComputeMode", handle), -1)),
        accounting=_flag(nvml.number("nvmlDeviceGetAccountingMode", handle)),
        ecc_pending=_pending(nvml.ask("nvmlDeviceGetEccMode", handle)),
        power_min_w=_watts(limits[0]),
        power_max_w=_watts(limits[1]),
        power_default_w=_watts(nvml.number("nvmlDeviceGetPowerManagementDefaultLimit", handle)),
    )


def _now(modes: Any) -> bool | None:
    """The first of the modes now and after the next reset."""
    return bool(modes[0]) if isinstance(modes, (list, tuple)) and modes else None


def _pending(modes: Any) -> bool | None:
    """The second of them."""
    return bool(modes[1]) if isinstance(modes, (list, tuple)) and len(modes) > 1 else None


def _share(rates: Any) -> int | None:
    """Of nvmlUtilization_t, the part about kernels."""
    value = getattr(rates, "gpu", None)
    return value if isinstance(value, int) else None


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _nvlinks(nvml: Nvml, handle: Any) -> int | None:
    """How many links are up. NVML tells the end of the list by an error; without any link, the first is one."""
    states = []
    for link in range(MAX_NVLINKS):
        try:
            states.append(nvml.module.nvmlDeviceGetNvLinkState(handle, link))
        except Exception:
            break
    return sum(1 for state in states if state == 1) if states else None


def _throttling(nvml: Nvml, handle: Any) -> tuple[str, ...]:
    bits = nvml.number("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if bits is None:  # its name before driver 535
        bits = nvml.number("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    return reason_names(bits or 0)


def reason_names(bits: int) -> tuple[str, ...]:
    """What NVML's bits say, in words."""
    unknown = bits & ~(1 | sum(THROTTLE_REASONS))
    names = [name for bit, name in THROTTLE_REASONS.items() if bits & bit]
    return (*names, f"unknown reason {unknown:#x}") if unknown else tuple(names)


def _node(root: Root, bus_id: str | None) -> int | None:
    """NUMA node of a PCI device. NVML writes the domain with eight digits, the kernel with four."""
    if bus_id is None or "/" in bus_id:
        return None
    domain, _, rest = bus_id.lower().partition(":")
    node = root.integer(f"/sys/bus/pci/devices/{domain[-4:]}:{rest}/numa_node")
    return node if node is not None and node >= 0 else None


def _watts(milliwatts: int | None) -> float | None:
    return milliwatts / 1000 if milliwatts is not None else None


def _flag(value: int | None) -> bool | None:
    return bool(value) if value is not None else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return str(value).rstrip("\0") or None if value is not None else None


def _code(error: BaseException) -> int | None:
    value = getattr(error, "value", None)
    return value if isinstance(value, int) else None


def clause(error: BaseException) -> str:
    """NVML's own words for an error (``Driver Not Loaded``), or the name of the exception."""
    return str(error).strip() or type(error).__name__
