"""What NVML tells of GPUs, again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hwdiag.host.gpu import CLOCK_MEM, CLOCK_SM, TEMPERATURE_GPU, Nvml, open_nvml
from hwdiag.host.model import Gap
from hwdiag.host.root import Root
from hwdiag.host.sampling.source import Column, Source


def gpu_sources(root: Root, absent: list[Gap], module: Any = None) -> list[Source]:
    """One source for each GPU. What a driver does not tell of it at first is absent; later it is NaN."""
    nvml, why = open_nvml(root, module)
    if nvml is None:
        absent.append(Gap(what="GPUs", why=why or "unknown"))
        return []

    def shutdown() -> None:
        nvml.ask("nvmlShutdown")

    sources = []
    for index in range(nvml.number("nvmlDeviceGetCount") or 0):
        handle = nvml.ask("nvmlDeviceGetHandleByIndex", index)
        if handle is None:
            absent.append(Gap(what=f"GPU {index}", why=nvml.last_error))
        elif (source := _gpu(nvml, index, handle, absent)) is not None:
            sources.append(source)
    if sources:
        sources[-1].close = shutdown
    else:
        absent.append(Gap(what="GPUs", why="the NVIDIA driver sees no GPU that tells anything"))
        shutdown()
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
    bits = nvml.number("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if bits is None:  # its name before driver 535
        bits = nvml.number("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
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
