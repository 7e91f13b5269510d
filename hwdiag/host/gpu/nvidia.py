"""GPUs, as NVIDIA's management library (NVML) tells them.

Source: NVML API reference; ``nvidia-ml-py`` is NVIDIA's own binding to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hwdiag.host.gpu import NotHere, Opened, Reason, reason_names
from hwdiag.host.library import Gone, Library, LibraryMissing, is_installed
from hwdiag.host.model import Gap, Gpu
from hwdiag.host.root import Root
from hwdiag.host.source import Column, Source

RANK = 0
TORCH_BUILD = "CUDA"

# Values of nvmlReturn_t that are answers, not errors.
GPU_IS_LOST = 15
NOT_SUPPORTED = 3
FUNCTION_NOT_FOUND = 13
NO_DRIVER = frozenset({9, 12})
"""Driver not loaded and library not found."""
NO_DRIVER_HERE = NotHere("no NVIDIA driver on this host")
DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/sys/module/nvidia", "/dev/nvmap", "/dev/dxg")
"""What speaks for a driver: its own, a Jetson's, and that of Windows below WSL2. Without any, nothing is asked."""

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

REASONS = (
    Reason(
        bit=0x002,
        name="applications clocks setting",
        meaning="its clock was set lower by somebody: 'nvidia-smi -rgc' resets that",
    ),
    Reason(bit=0x004, name="software power cap", meaning="the board draws what it may: normal under full load"),
    Reason(
        bit=0x008,
        name="hardware slowdown",
        meaning="the hardware slows it down, for heat or for want of power",
        is_fault=True,
    ),
    Reason(bit=0x010, name="sync boost", meaning="it is kept at the clock of the slowest GPU of its group"),
    Reason(
        bit=0x020,
        name="software thermal slowdown",
        meaning="it is near its temperature limit: look at fans, dust and the room",
        is_fault=True,
    ),
    Reason(
        bit=0x040,
        name="hardware thermal slowdown",
        meaning="it is too hot, and the hardware halves its clock: look at fans, dust and the room",
        is_fault=True,
    ),
    Reason(
        bit=0x080,
        name="hardware power brake",
        meaning="the power supply told it to slow down: look at its cables and its rating",
        is_fault=True,
    ),
    Reason(bit=0x100, name="display clock setting", meaning="a display holds its clock"),
    Reason(bit=0x200, name="board limit", meaning="a limit of the board"),
    Reason(bit=0x400, name="reliability", meaning="its voltage is kept low for reliability"),
)
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
            if isinstance(error, LibraryMissing):
                self.last_code = FUNCTION_NOT_FOUND
            if isinstance(error, Gone):  # whatever it is asked from now on
                self.root.note("NVML", self.last_error)
            elif self.last_code not in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                lost = self.last_code == GPU_IS_LOST  # whatever it is asked from now on
                self.root.note(self.about if lost and self.about else name, self.last_error)
            return None

    def text(self, name: str, *args: Any) -> str | None:
        """Return an answer as text; old versions of the binding give bytes."""
        answer = self.ask(name, *args)
        if isinstance(answer, bytes):
            answer = answer.decode(errors="replace")
        return (str(answer).rstrip("\0").strip() or None) if answer is not None else None

    def number(self, name: str, *args: Any) -> int | None:
        """Return an answer as a number."""
        answer = self.ask(name, *args)
        return answer if isinstance(answer, int) else None


def open_gpus(root: Root, library: Any = None) -> tuple[Opened | None, str | None]:
    """Open the GPUs that NVML tells of; ``library`` stands in for ``pynvml``, which is asked in a child."""
    if library is None:
        if root.source != "live":
            return None, NotHere("a dump holds no GPU facts")
        if not any(root.exists(path) for path in DRIVER):
            return None, NO_DRIVER_HERE
        if not is_installed("pynvml"):
            return None, "the Python package nvidia-ml-py is not installed"
        library = Library("pynvml")
    nvml = Nvml(library, root)

    def close() -> None:
        nvml.ask("nvmlShutdown")
        if isinstance(library, Library):
            library.close()

    why = _init(nvml)
    if why is not None:
        if isinstance(library, Library):
            library.close()
        return None, why
    count = nvml.number("nvmlDeviceGetCount") or 0
    return Opened(
        count, lambda first: _read_all(nvml, first), lambda first, absent: _sources(nvml, first, absent), close
    ), None


def _init(nvml: Nvml) -> str | None:
    """Start NVML; return why it cannot be."""
    try:
        nvml.module.nvmlInit()
    except Exception as error:
        if _code(error) in NO_DRIVER and not nvml.root.exists(DRIVER[0]):
            return NO_DRIVER_HERE
        return f"NVML failed: {clause(error)}"
    return None


def _read_all(nvml: Nvml, first: int) -> tuple[tuple[Gpu, ...], str | None]:
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
            gpus.append(_read_one(nvml, first + index, handle, driver, cuda_text))
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
        vendor="nvidia",
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
    """Return the first of a pair of modes: the one that holds now, before the next reset."""
    return bool(modes[0]) if isinstance(modes, (list, tuple)) and modes else None


def _pending(modes: Any) -> bool | None:
    """Return the second of a pair of modes: the one that holds after the next reset."""
    return bool(modes[1]) if isinstance(modes, (list, tuple)) and len(modes) > 1 else None


def _share(rates: Any) -> int | None:
    """Return the part of nvmlUtilization_t that is about kernels."""
    value = getattr(rates, "gpu", None)
    return value if isinstance(value, int) else None


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _nvlinks(nvml: Nvml, handle: Any) -> int | None:
    """Return the number of links that are up. NVML tells the end of the list by an error; without any link, the first
    is one."""
    states = []
    for link in range(MAX_NVLINKS):
        try:
            states.append(nvml.module.nvmlDeviceGetNvLinkState(handle, link))
        except Exception:
            break
    return sum(1 for state in states if state == 1) if states else None


def _reason_bits(nvml: Nvml, handle: Any) -> int | None:
    bits = nvml.number("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if bits is None:  # its name before driver 535
        bits = nvml.number("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    return bits


def _throttling(nvml: Nvml, handle: Any) -> tuple[str, ...]:
    bits = _reason_bits(nvml, handle)
    return reason_names("nvidia", bits or 0)


def _node(root: Root, bus_id: str | None) -> int | None:
    """Return the NUMA node of a PCI device. NVML writes the domain with eight digits, the kernel with four."""
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
    """Return NVML's own words for an error (``Driver Not Loaded``), or the name of the exception."""
    return str(error).strip() or type(error).__name__


# What is sampled


def _sources(nvml: Nvml, first: int, absent: list[Gap]) -> list[tuple[bool, Source]]:
    """Return one source for each GPU. What a driver does not tell of it at first is absent; later it is NaN."""
    sources: list[tuple[bool, Source]] = []
    for index in range(nvml.number("nvmlDeviceGetCount") or 0):
        handle = nvml.ask("nvmlDeviceGetHandleByIndex", index)
        if handle is None:
            absent.append(Gap(what=f"GPU {first + index}", why=nvml.last_error))
        elif (source := _gpu(nvml, first + index, handle, absent)) is not None:
            sources.append((False, source))
    if not sources:
        absent.append(Gap(what="GPUs", why="the NVIDIA driver sees no GPU that tells anything"))
    return sources


Ask = Callable[[Nvml, Any], Sequence[float]]


def _gpu(nvml: Nvml, index: int, handle: Any, absent: list[Gap]) -> Source | None:
    columns: list[Column] = []
    asks: list[tuple[Ask, int]] = []
    sliced = (nvml.ask("nvmlDeviceGetMigMode", handle) or (0,))[0] == 1
    for ask, told in _GPU:
        if any(math.isnan(v) for v in ask(nvml, handle)):
            why = "it is cut into slices (MIG), of which NVML does not tell this" if sliced else nvml.last_error
            absent.append(Gap(what=f"GPU {index}: {', '.join(t[2] for t in told)}", why=why or "not told"))
            continue
        asks.append((ask, len(told)))
        columns += [Column(name=f"gpu{index}.{name}", unit=unit, title=f"GPU {index} {t}") for name, unit, t in told]

    def read(_: float) -> list[float]:
        nvml.about = f"GPU {index}"
        return [value for ask, _ in asks for value in ask(nvml, handle)]

    return Source(tuple(columns), read) if columns else None


def _use(nvml: Nvml, handle: Any) -> Sequence[float]:
    rates = nvml.ask("nvmlDeviceGetUtilizationRates", handle)
    return (math.nan, math.nan) if rates is None else (rates.gpu, rates.memory)


def _memory_used(nvml: Nvml, handle: Any) -> Sequence[float]:
    told = nvml.ask("nvmlDeviceGetMemoryInfo", handle)
    return (math.nan if told is None else float(told.used),)


def _reasons(nvml: Nvml, handle: Any) -> Sequence[float]:
    bits = _reason_bits(nvml, handle)
    return (math.nan if bits is None else float(bits),)


def _one(name: str, *more: int, scale: float = 1) -> Ask:
    def ask(nvml: Nvml, handle: Any) -> Sequence[float]:
        value = nvml.number(name, handle, *more)
        return (math.nan if value is None else value * scale,)

    return ask


_GPU: tuple[tuple[Ask, tuple[tuple[str, str, str], ...]], ...] = (
    (_use, (("use", "%", "had a kernel running"), ("memory_use", "%", "read or wrote its memory"))),
    (_memory_used, (("memory", "B", "memory in use"),)),
    (_one("nvmlDeviceGetClockInfo", CLOCK_SM), (("clock", "MHz", "clock of its cores"),)),
    (_one("nvmlDeviceGetClockInfo", CLOCK_MEM), (("memory_clock", "MHz", "clock of its memory"),)),
    (_one("nvmlDeviceGetPowerUsage", scale=1e-3), (("power", "W", "power"),)),
    (_one("nvmlDeviceGetTemperature", TEMPERATURE_GPU), (("temperature", "°C", "temperature"),)),
    (_reasons, (("reasons", "bits", "reasons for a low clock"),)),
)
