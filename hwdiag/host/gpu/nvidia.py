"""GPUs, as NVIDIA's management library (NVML) tells them.

Source: NVML API reference; ``nvidia-ml-py`` is NVIDIA's own binding to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hwdiag.host.gpu import NotHere, Opened, Reason, reason_names
from hwdiag.host.library import Gone, Library, is_installed
from hwdiag.host.model import Gap, Gpu
from hwdiag.host.nvidia_kernel import note_unlisted
from hwdiag.host.nvml import BROKEN, NO_DRIVER, NOT_SUPPORTED, Nvml, clause, code_of
from hwdiag.host.root import Root
from hwdiag.host.source import Column, Source
from hwdiag.host.tegra import is_tegra, tegra_columns, tegra_gpu

RANK = 0
TORCH_BUILD = "CUDA"

NO_DRIVER_HERE = NotHere("no NVIDIA driver on this host")
DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/sys/module/nvidia", "/dev/nvmap", "/dev/dxg")
"""What speaks for a driver: its own, a Jetson's, and that of Windows below WSL2. Without any, nothing is asked."""
WSL = "/usr/lib/wsl/lib"
"""Where Windows puts its driver's libraries below WSL2: often on no path."""

CLOCK_SM, CLOCK_MEM = 1, 2
"""NVML_CLOCK_SM and NVML_CLOCK_MEM."""
MAX_NVLINKS = 36
"""NVML_NVLINK_MAX_LINKS."""
TEMPERATURE_GPU = 0
"""NVML_TEMPERATURE_GPU."""
COMPUTE_MODES = {0: "Default", 1: "Exclusive_Thread", 2: "Prohibited", 3: "Exclusive_Process"}
"""nvmlComputeMode_t, as nvidia-smi spells it."""
VIRTUALIZATIONS = {1: "pass-through", 2: "vGPU"}
"""nvmlGpuVirtualizationMode_t of a guest."""

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
        meaning="the hardware slows it down, for heat or for lack of power",
        is_fault=True,
    ),
    Reason(bit=0x010, name="sync boost", meaning="it is kept at the clock of the slowest GPU of its group"),
    Reason(
        bit=0x020,
        name="software thermal slowdown",
        meaning="it is near its temperature limit: look at fans, dust and air flow",
        is_fault=True,
    ),
    Reason(
        bit=0x040,
        name="hardware thermal slowdown",
        meaning="it is too hot, and the hardware halves its clock: look at fans, dust and air flow",
        is_fault=True,
    ),
    Reason(
        bit=0x080,
        name="hardware power brake",
        meaning="the power supply made it slow down: look at its cables and its rating",
        is_fault=True,
    ),
    Reason(bit=0x100, name="display clock setting", meaning="a display holds its clock"),
    Reason(bit=0x200, name="board limit", meaning="a limit of the board"),
    Reason(bit=0x400, name="reliability", meaning="its voltage is kept low for reliability"),
)
"""Bits of nvmlClocksEventReasons. Bit 0, idle, is no throttling."""
UNIFIED = ("GB10", "Tegra", "Orin", "Xavier", "Thor")
"""Words in the names of chips whose GPU has no memory of its own."""


def open_gpus(root: Root, library: Any = None) -> tuple[Opened | None, str | None]:
    """Open the GPUs that NVML tells of; ``library`` stands in for ``pynvml``, which is asked in a child."""
    opened, why = _by_nvml(root, library)
    if opened is None and is_tegra(root):
        return _tegra(root), None
    if opened is None:
        note_unlisted(root, ())
    return opened, why


def _by_nvml(root: Root, library: Any) -> tuple[Opened | None, str | None]:
    if library is None:
        if root.source != "live":
            return None, NotHere("a dump holds no GPU facts")
        if not any(root.exists(path) for path in DRIVER):
            return None, NO_DRIVER_HERE
        if not is_installed("pynvml"):
            return None, "the Python package nvidia-ml-py is not installed"
        library = Library("pynvml", WSL if root.exists(WSL) else "")
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
        code = code_of(error)
        if code in NO_DRIVER and not nvml.root.exists(DRIVER[0]):
            if nvml.root.exists("/dev/dxg"):
                return NotHere(f"WSL2, and Windows gives it no driver of NVIDIA's in {WSL}")
            return NO_DRIVER_HERE
        why = f"NVML failed: {clause(error)}"
        if code not in NO_DRIVER:
            nvml.root.note("GPUs", why, "hang" if isinstance(error, Gone) else BROKEN.get(code or 0, "error"))
        return why
    return None


def _tegra(root: Root) -> Opened:
    """Return the GPU of a Jetson without NVML, of which the kernel tells the clock and the load."""

    def read(first: int) -> tuple[tuple[Gpu, ...], str | None]:
        return (tegra_gpu(root, first),), None

    def sources(first: int, absent: list[Gap]) -> list[tuple[bool, Source]]:
        source = tegra_columns(root, first, absent)
        return [] if source is None else [(False, source)]

    return Opened(1, read, sources)


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
        nvml.about = f"GPU {first + index}"
        handle = nvml.ask("nvmlDeviceGetHandleByIndex", index)
        if handle is not None:
            gpus.append(_read_one(nvml, first + index, handle, driver, cuda_text))
    nvml.about = ""
    note_unlisted(nvml.root, [gpu.bus_id for gpu in gpus], but=count - len(gpus))
    if gpus:
        return tuple(gpus), None
    return (), "the NVIDIA driver sees no GPU" if count == 0 else "NVML failed: no GPU could be opened"


def _read_one(nvml: Nvml, index: int, handle: Any, driver: str | None, cuda: str | None) -> Gpu:
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
        processes=_processes(nvml.ask("nvmlDeviceGetComputeRunningProcesses", handle)),
        compute_mode=COMPUTE_MODES.get(_or(nvml.number("nvmlDeviceGetComputeMode", handle), -1)),
        accounting=_flag(nvml.number("nvmlDeviceGetAccountingMode", handle)),
        virtualization=VIRTUALIZATIONS.get(_or(nvml.number("nvmlDeviceGetVirtualizationMode", handle), 0)),
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


def _processes(listed: Any) -> tuple[int, ...] | None:
    """Return the ids of processes."""
    if not isinstance(listed, list):
        return None
    return tuple(pid for one in listed if isinstance(pid := getattr(one, "pid", None), int))


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


# What is sampled


def _sources(nvml: Nvml, first: int, absent: list[Gap]) -> list[tuple[bool, Source]]:
    """Return one source for each GPU. What a driver does not tell of it at first is absent; later it is NaN."""
    sources: list[tuple[bool, Source]] = []
    for index in range(nvml.number("nvmlDeviceGetCount") or 0):
        nvml.about = f"GPU {first + index}"
        handle = nvml.ask("nvmlDeviceGetHandleByIndex", index)
        if handle is None:
            absent.append(Gap(what=f"GPU {first + index}", why=nvml.last_error))
        elif (source := _gpu(nvml, first + index, handle, absent)) is not None:
            sources.append((False, source))
    if not sources:
        absent.append(Gap(what="GPUs", why="the NVIDIA driver sees no GPU that reports anything"))
    return sources


Ask = Callable[[Nvml, Any], Sequence[float]]


def _gpu(nvml: Nvml, index: int, handle: Any, absent: list[Gap]) -> Source | None:
    columns: list[Column] = []
    asks: list[tuple[Ask, int]] = []
    untold = ""
    if (nvml.ask("nvmlDeviceGetMigMode", handle) or (0,))[0] == 1:
        untold = "it is cut into slices (MIG), of which NVML does not report this"
    elif VIRTUALIZATIONS.get(nvml.number("nvmlDeviceGetVirtualizationMode", handle) or 0) == "vGPU":
        untold = "it is a vGPU, of which only its host knows this"
    for ask, told in _GPU:
        if any(math.isnan(v) for v in ask(nvml, handle)):
            why = untold if untold and nvml.last_code == NOT_SUPPORTED else nvml.last_error or "not reported"
            absent.append(Gap(what=f"GPU {index}: {', '.join(t[2] for t in told)}", why=why))
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
