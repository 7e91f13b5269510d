"""GPUs of NVIDIA that are not there, but have a state: a folder, which NVML's stand-in here and nvidia-smi's read.

``nvidia-smi`` beside this file is the other half: it also changes the state. The profiles' values are what nvidia-smi
printed on real ones. A file ``faults`` in the folder says which calls go wrong, and how: ``CALL|PATTERN|FAULT``.

Used as a module in place of ``pynvml`` by ``host.library``'s child, the folder is that of HWDIAG_SIMULATED_GPUS.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

STATE = "HWDIAG_SIMULATED_GPUS"
SMI = Path(__file__).with_name("nvidia-smi")
HANG_S = 60.0

NOT_SUPPORTED, UNKNOWN, LOST, RESET, MISMATCH, NO_PERMISSION = 3, 999, 15, 16, 18, 4
WORDS = {
    2: "Invalid Argument",
    3: "Not Supported",
    4: "Insufficient Permissions",
    9: "Driver Not Loaded",
    12: "NVML Shared Library Not Found",
    15: "GPU is lost",
    16: "GPU requires reset",
    18: "Driver/library version mismatch",
    999: "Unknown Error",
}
FAULTS = {"lost": LOST, "reset": RESET, "unknown": UNKNOWN, "na": NOT_SUPPORTED, "refused": NO_PERMISSION,
          "mismatch": MISMATCH, "no driver": 9, "no library": 12}  # fmt: skip

COMMON = {"persistence_mode": "Enabled", "accounting.mode": "Disabled", "compute_mode": "Default", "lock": "default"}
PROFILES: Mapping[str, Mapping[str, str]] = {
    "GB10": {
        "name": "NVIDIA GB10", "pci.bus_id": "0000000F:01:00.0", "compute_cap": "12.1", "driver_version": "580.159.03",
        "persistence_mode": "Enabled", "compute_mode": "Default", "lock": "default",
        "clocks.sm": "208", "clocks.max.sm": "3003", "power.draw": "2.00", "temperature.gpu": "37",
        "utilization.gpu": "0", "utilization.memory": "0", "reasons": "1",
        "pcie.link.gen.current": "1", "pcie.link.width.current": "1",
    },
    "RTX 3060": {
        **COMMON, "name": "NVIDIA GeForce RTX 3060", "pci.bus_id": "00000000:2D:00.0", "compute_cap": "8.6",
        "driver_version": "570.124.04", "memory.total": "12288", "memory.used": "116",
        "power.limit": "170.00", "power.min_limit": "100.00", "power.max_limit": "190.00",
        "power.default_limit": "170.00", "power.draw": "11.60", "clocks.sm": "210", "clocks.max.sm": "2145",
        "clocks.mem": "405", "clocks.max.mem": "7501", "temperature.gpu": "42", "utilization.gpu": "0",
        "utilization.memory": "0", "reasons": "1", "pcie.link.gen.current": "1", "pcie.link.gen.max": "4",
        "pcie.link.width.current": "16", "pcie.link.width.max": "16",
    },
    "A100 MIG": {
        **COMMON, "name": "NVIDIA A100-SXM4-40GB", "pci.bus_id": "00000000:00:04.0", "compute_cap": "8.0",
        "driver_version": "510.47.03", "persistence_mode": "Disabled", "ecc.mode.current": "Enabled",
        "ecc.mode.pending": "Enabled", "mig.mode.current": "Enabled", "mig.mode.pending": "Enabled",
        "memory.total": "40960", "memory.used": "38", "power.limit": "400.00", "power.min_limit": "100.00",
        "power.max_limit": "400.00", "power.default_limit": "400.00", "power.draw": "66.92", "clocks.sm": "1410",
        "clocks.max.sm": "1410", "clocks.mem": "1215", "clocks.max.mem": "1215", "temperature.gpu": "36",
        "reasons": "1", "virtualization": "1", "pcie.link.gen.current": "4", "pcie.link.gen.max": "4",
        "pcie.link.width.current": "16", "pcie.link.width.max": "16",
    },
    "H100": {
        **COMMON, "name": "NVIDIA H100 80GB HBM3", "pci.bus_id": "00000000:00:09.0", "compute_cap": "9.0",
        "driver_version": "590.48.01", "ecc.mode.current": "Enabled", "ecc.mode.pending": "Enabled",
        "mig.mode.current": "Disabled", "mig.mode.pending": "Disabled", "memory.total": "81559", "memory.used": "0",
        "power.limit": "700.00", "power.min_limit": "200.00", "power.max_limit": "700.00",
        "power.default_limit": "700.00", "power.draw": "69.58", "clocks.sm": "1980", "clocks.max.sm": "1980",
        "clocks.mem": "2619", "clocks.max.mem": "2619", "temperature.gpu": "28", "utilization.gpu": "0",
        "utilization.memory": "0", "reasons": "1", "vboost": "default", "virtualization": "1",
        "pcie.link.gen.current": "5", "pcie.link.gen.max": "5", "pcie.link.width.current": "16",
        "pcie.link.width.max": "16",
    },
}  # fmt: skip
"""Each GPU as it is while idle, by the names of --query-gpu; ``reasons`` are the bits of its clock's reasons,
``virtualization`` NVML's number. What is not there is ``[N/A]``."""


def uuid(number: int) -> str:
    """The UUID of a simulated GPU."""
    return f"GPU-00000000-0000-0000-0000-{number:012d}"


class GpuState:
    """The GPUs of a host, as a folder."""

    def __init__(self, folder: Path, *profiles: str | Mapping[str, str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for number, profile in enumerate(profiles):
            fields = PROFILES[profile] if isinstance(profile, str) else profile
            self.set(number, **{**fields, "index": str(number)})

    def of(self, number: int) -> Path:
        return self.folder / uuid(number)

    def set(self, number: int = 0, **fields: str | None) -> None:
        """Put fields to values, dots as they are (``**{"clocks.sm": "513"}``); None takes one away."""
        self.of(number).mkdir(exist_ok=True)
        for field, text in fields.items():
            place = self.of(number) / field
            place.unlink(missing_ok=True) if text is None else place.write_text(f"{text}\n")

    def get(self, number: int, field: str) -> str | None:
        place = self.of(number) / field
        return place.read_text().strip() if place.exists() else None

    def everything(self) -> dict[str, str]:
        """All fields of all GPUs: the truth."""
        return {f"{p.parent.name} {p.name}": p.read_text().strip() for p in sorted(self.folder.glob("*/*"))}

    def faults(self, *lines: str) -> None:
        """Let calls go wrong: ``*|--query-gpu=power.limit|unknown``, ``nvmlInit|*|hang``."""
        (self.folder / "faults").write_text("".join(f"{line}\n" for line in lines))

    @property
    def calls(self) -> list[str]:
        """What nvidia-smi was asked, in order."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def nvml(self) -> Nvml:
        """NVML of these GPUs, in this process."""
        return Nvml(self.folder)

    @property
    def healthy(self) -> Nvml:
        """NVML of these GPUs, with no call going wrong any more."""
        self.faults()
        return self.nvml


class NVMLError(Exception):
    """As in pynvml: the code is ``value``, the words are the driver's."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return WORDS.get(self.value, f"error {self.value}")


class Device:
    """A handle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class PciInfo(ctypes.Structure):
    _fields_ = [("busId", ctypes.c_char * 32)]


class Rates(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


def number(device: Device, field: str, scale: float = 1) -> int:
    """A field's number; NVML's "not supported" where it is not there, and its error where its text is one."""
    text = told(device, field)
    return round(float(text) * scale)


def told(device: Device, field: str) -> str:
    place = device.folder / field
    if not place.exists():
        raise NVMLError(NOT_SUPPORTED)
    text = place.read_text().strip()
    code = {"[Unknown Error]": UNKNOWN, "[GPU requires reset]": RESET, "[GPU is lost]": LOST}.get(text)
    if code is not None:
        raise NVMLError(code)
    return text


def enabled(device: Device, field: str) -> int:
    return int(told(device, field) == "Enabled")


def _memory(device: Device) -> Memory:
    total, used = number(device, "memory.total", 1 << 20), number(device, "memory.used", 1 << 20)
    return Memory(total=total, used=used, free=total - used)


def _capability(device: Device) -> tuple[int, int]:
    major, _, minor = told(device, "compute_cap").partition(".")
    return int(major), int(minor)


class nvmlFriendlyObject:
    """What pynvml makes of a structure in a list."""

    def __init__(self, **fields: int | None) -> None:
        vars(self).update(fields)


def _processes(device: Device) -> list[nvmlFriendlyObject]:
    return [nvmlFriendlyObject(pid=int(pid), usedGpuMemory=None) for pid in told(device, "processes").split()]


CLOCKS = {1: "sm", 2: "mem"}
COMPUTE_MODES = {"Default": 0, "Prohibited": 2, "Exclusive_Process": 3}
ANSWERS: Mapping[str, Callable[..., Any]] = {
    "nvmlDeviceGetName": lambda d: told(d, "name"),
    "nvmlDeviceGetUUID": lambda d: d.folder.name,
    "nvmlDeviceGetPciInfo": lambda d: PciInfo(busId=told(d, "pci.bus_id").encode()),
    "nvmlDeviceGetCudaComputeCapability": _capability,
    "nvmlDeviceGetMemoryInfo": _memory,
    "nvmlDeviceGetClockInfo": lambda d, kind: number(d, f"clocks.{CLOCKS[kind]}"),
    "nvmlDeviceGetMaxClockInfo": lambda d, kind: number(d, f"clocks.max.{CLOCKS[kind]}"),
    "nvmlDeviceGetPowerUsage": lambda d: number(d, "power.draw", 1000),
    "nvmlDeviceGetEnforcedPowerLimit": lambda d: number(d, "power.limit", 1000),
    "nvmlDeviceGetPowerManagementDefaultLimit": lambda d: number(d, "power.default_limit", 1000),
    "nvmlDeviceGetPowerManagementLimitConstraints": lambda d: [
        number(d, "power.min_limit", 1000), number(d, "power.max_limit", 1000)
    ],
    "nvmlDeviceGetTemperature": lambda d, _: number(d, "temperature.gpu"),
    "nvmlDeviceGetPersistenceMode": lambda d: enabled(d, "persistence_mode"),
    "nvmlDeviceGetAccountingMode": lambda d: enabled(d, "accounting.mode"),
    "nvmlDeviceGetComputeRunningProcesses": _processes,
    "nvmlDeviceGetComputeMode": lambda d: COMPUTE_MODES[told(d, "compute_mode")],
    "nvmlDeviceGetEccMode": lambda d: [enabled(d, "ecc.mode.current"), enabled(d, "ecc.mode.pending")],
    "nvmlDeviceGetMigMode": lambda d: [enabled(d, "mig.mode.current"), enabled(d, "mig.mode.pending")],
    "nvmlDeviceGetVirtualizationMode": lambda d: number(d, "virtualization"),
    "nvmlDeviceGetUtilizationRates": lambda d: Rates(
        gpu=number(d, "utilization.gpu"), memory=number(d, "utilization.memory")
    ),
    "nvmlDeviceGetCurrentClocksEventReasons": lambda d: number(d, "reasons"),
    "nvmlDeviceGetCurrPcieLinkGeneration": lambda d: number(d, "pcie.link.gen.current"),
    "nvmlDeviceGetMaxPcieLinkGeneration": lambda d: number(d, "pcie.link.gen.max"),
    "nvmlDeviceGetCurrPcieLinkWidth": lambda d: number(d, "pcie.link.width.current"),
    "nvmlDeviceGetMaxPcieLinkWidth": lambda d: number(d, "pcie.link.width.max"),
}  # fmt: skip
"""NVML's functions of a device. What is not here, the driver has not (``AttributeError``)."""


class Nvml:
    """The functions of pynvml, on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in ANSWERS and name not in SYSTEM:
            raise AttributeError(name)
        return lambda *given: self._call(name, given)

    def _call(self, name: str, given: tuple[Any, ...]) -> Any:
        about = given[0].folder.name if given and isinstance(given[0], Device) else str(given[0]) if given else ""
        file = self.folder / "faults"
        for line in file.read_text().splitlines() if file.exists() else ():
            at, pattern, fault = line.split("|")
            if fnmatchcase(name, at) and fnmatchcase(about, pattern):
                if fault == "hang":
                    time.sleep(HANG_S)
                if fault in FAULTS:
                    raise NVMLError(FAULTS[fault])
        return (SYSTEM[name](self.devices, *given)) if name in SYSTEM else ANSWERS[name](*given)

    @property
    def devices(self) -> list[Device]:
        return [Device(p.parent) for p in sorted(self.folder.glob("GPU-*/index"), key=lambda p: int(p.read_text()))]


def _cuda(devices: list[Device]) -> int:
    driver = int(re.split(r"\D", told(devices[0], "driver_version"))[0])
    return next(cuda for least, cuda in ((580, 13000), (570, 12080), (0, 11060)) if driver >= least)


SYSTEM: Mapping[str, Callable[..., Any]] = {
    "nvmlInit": lambda _: None,
    "nvmlShutdown": lambda _: None,
    "nvmlDeviceGetCount": len,
    "nvmlDeviceGetHandleByIndex": lambda devices, index: devices[index],
    "nvmlSystemGetDriverVersion": lambda devices: told(devices[0], "driver_version"),
    "nvmlSystemGetCudaDriverVersion_v2": _cuda,
}


def __getattr__(name: str) -> Callable[..., Any]:
    """A function of NVML, where this module is imported in place of ``pynvml``."""
    if name.startswith("nvml") and STATE in os.environ:
        return getattr(Nvml(Path(os.environ[STATE])), name)
    raise AttributeError(name)
