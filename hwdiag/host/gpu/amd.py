"""GPUs of AMD, as the driver amdgpu shows them in sysfs; their names by amdsmi where that is installed.

Sources: Documentation/gpu/amdgpu/{thermal,driver-misc}.rst of Linux; drivers/gpu/drm/amd/amdkfd for the versions of
``gfx_target_version``; amdgpu.ids of libdrm; the reference of AMD SMI's Python library.
"""

from __future__ import annotations

import re
from typing import Any

from hwdiag.host.amd_metrics import REASONS as METRICS_REASONS
from hwdiag.host.amd_metrics import bits_of, open_metrics
from hwdiag.host.drm import (
    Card,
    Wanted,
    cards,
    driver_version,
    link,
    node,
    product_name,
    scaled,
    source,
    unbound,
    value,
    with_reasons,
)
from hwdiag.host.gpu import Opened, Reason, reason_names
from hwdiag.host.library import Library, LibraryError, is_installed
from hwdiag.host.model import Gap, Gpu
from hwdiag.host.root import Root
from hwdiag.host.source import Source

RANK = 1
TORCH_BUILD = "ROCm"
REASONS: tuple[Reason, ...] = METRICS_REASONS
VENDOR, DRIVERS = "1002", ("amdgpu",)
NAMES = ("/usr/share/libdrm/amdgpu.ids", "/opt/amdgpu/share/libdrm/amdgpu.ids")
COMPUTE_NODES = "/sys/class/kfd/kfd/topology/nodes"


def open_gpus(root: Root, library: Any = None) -> tuple[Opened | None, str | None]:
    """Open the cards of amdgpu; ``library`` stands in for ``amdsmi``."""
    found = cards(root, VENDOR, DRIVERS)
    if not found:
        bare = unbound(root, VENDOR)
        return None, f"no driver has taken AMD's {bare[0]} (amdgpu is not loaded)" if bare else None
    names = market_names(root, library)
    gpus = [(card, names.get(card.slot or "") or name_of(root, card)) for card in found]

    def read(first: int) -> tuple[tuple[Gpu, ...], str | None]:
        return tuple(gpu_of(root, first + i, card, name) for i, (card, name) in enumerate(gpus)), None

    def sources(first: int, absent: list[Gap]) -> list[tuple[bool, Source]]:
        made = [(is_integrated(root, card), source_of(root, first + i, card, absent)) for i, card in enumerate(found)]
        return [(integrated, source) for integrated, source in made if source is not None]

    return Opened(len(found), read, sources), None


def gpu_of(root: Root, index: int, card: Card, name: str) -> Gpu:
    """Return the facts of one card as they are now."""
    integrated = is_integrated(root, card)
    sm, sm_max = clocks(root.text(f"{card.device}/pp_dpm_sclk"))
    memory, memory_max = clocks(root.text(f"{card.device}/pp_dpm_mclk"))
    generation, width = link(root, card, "current")
    max_generation, max_width = link(root, card, "max")
    return Gpu(
        vendor="amd",
        index=index,
        name=name,
        integrated=integrated,
        uuid=root.word(f"{card.device}/unique_id"),
        bus_id=card.slot,
        driver=driver_version(root, card.driver),
        architecture=target(root, card),
        memory_bytes=root.integer(f"{card.device}/mem_info_vram_total") or None,
        unified_memory=integrated,
        sm_mhz=sensor(root, card, "freq1_input", 1e6) or sm,
        sm_max_mhz=sm_max,
        memory_mhz=sensor(root, card, "freq2_input", 1e6) or memory,
        memory_max_mhz=memory_max,
        power_w=_first(sensor(root, card, "power1_average", 1e6), sensor(root, card, "power1_input", 1e6)),
        power_limit_w=sensor(root, card, "power1_cap", 1e6),
        power_min_w=sensor(root, card, "power1_cap_min", 1e6),
        power_max_w=sensor(root, card, "power1_cap_max", 1e6),
        power_default_w=sensor(root, card, "power1_cap_default", 1e6),
        temperature_c=_first(sensor(root, card, "temp1_input", 1e3), sensor(root, card, "temp2_input", 1e3)),
        pcie_generation=None if integrated else generation,
        pcie_width=None if integrated else width,
        pcie_max_generation=None if integrated else max_generation,
        pcie_max_width=None if integrated else max_width,
        throttle_reasons=throttling(root, card),
        node=node(root, card),
        utilization=root.integer(f"{card.device}/gpu_busy_percent"),
    )


def throttling(root: Root, card: Card) -> tuple[str, ...]:
    """Return why its clock is low now."""
    file = open_metrics(root, card.device)
    if file is None:
        return ()
    bits = bits_of(file)
    file.close()
    return reason_names("amd", bits or 0)


def _first(*values: float | None) -> float | None:
    return next((v for v in values if v is not None), None)


def sensor(root: Root, card: Card, name: str, unit: float) -> float | None:
    """Return one of its sensors."""
    return None if card.hwmon is None else scaled(root, f"{card.hwmon}/{name}", unit)


def is_integrated(root: Root, card: Card) -> bool:
    """Return whether the GPU is a part of the processor: only there does the driver show the north bridge's voltage."""
    return card.hwmon is not None and root.word(f"{card.hwmon}/in1_label") == "vddnb"


def clocks(levels: str | None) -> tuple[float | None, float | None]:
    """Return the clock now and the highest of lines ``1: 2430Mhz *``. Some firmware shows 0 for what it hides."""
    found = [(int(mhz), bool(star)) for mhz, star in re.findall(r"^\d+: (\d{1,6})M[hH]z *(\*?)", levels or "", re.M)]
    now = next((float(mhz) for mhz, is_now in found if is_now and mhz), None)
    return now, max((float(mhz) for mhz, _ in found if mhz), default=None)


def target(root: Root, card: Card) -> str | None:
    """Return what compilers and builds of torch call its architecture: ``gfx1100`` for version 110000."""
    for number in root.ids(COMPUTE_NODES, ""):
        text = root.text(f"{COMPUTE_NODES}/{number}/properties") or ""
        told = {name: int(value) for name, value in re.findall(r"^(\w+) (\d{1,20})$", text, re.MULTILINE)}
        version = told.get("gfx_target_version", 0)
        if version and address(told.get("domain", 0), told.get("location_id", 0)) == card.slot:
            return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return None


def address(domain: int, location: int) -> str:
    """Return the PCI address of a compute node: its location is bus, device and function in 16 bits."""
    return f"{domain:04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"


def name_of(root: Root, card: Card) -> str:
    """Return what the board, libdrm or the list of PCI devices calls it."""
    told = root.word(f"{card.device}/product_name")
    for path in NAMES if told is None else ():
        match = re.search(
            rf"^{card.product},\s*{card.revision or '00'},\s*(.+)$", root.text(path) or "", re.MULTILINE | re.IGNORECASE
        )
        if match:
            return match[1].strip()
    return told or product_name(root, VENDOR, card.product) or f"AMD GPU 0x{card.product}"


def market_names(root: Root, library: Any) -> dict[str, str]:
    """Return the names of the cards by PCI address, as AMD's library tells them where it is installed."""
    if library is None:
        if root.source != "live" or not is_installed("amdsmi"):
            return {}
        library = Library("amdsmi")
    found: dict[str, str] = {}
    try:
        library.amdsmi_init()
        for handle in library.amdsmi_get_processor_handles():
            slot = library.amdsmi_get_gpu_device_bdf(handle)
            name = library.amdsmi_get_gpu_asic_info(handle).get("market_name")
            if isinstance(slot, str) and isinstance(name, str) and name not in ("", "N/A"):
                found[slot.lower()] = name
        library.amdsmi_shut_down()
    except (LibraryError, AttributeError, TypeError) as error:
        root.note("amdsmi", str(error)[:200])
    finally:
        if isinstance(library, Library):
            library.close()
    return found


def source_of(root: Root, index: int, card: Card, absent: list[Gap]) -> Source | None:
    """Return the columns of one card."""
    device, hwmon = card.device, card.hwmon or card.device
    wanted = (
        Wanted("use", "%", "was at work", [f"{device}/gpu_busy_percent"], value()),
        Wanted("memory_use", "%", "read or wrote its memory", [f"{device}/mem_busy_percent"], value()),
        Wanted("memory", "B", "memory in use", [f"{device}/mem_info_vram_used"], value()),
        Wanted("clock", "MHz", "clock of its cores", [f"{hwmon}/freq1_input"], value(1e6)),
        Wanted("memory_clock", "MHz", "clock of its memory", [f"{hwmon}/freq2_input"], value(1e6)),
        Wanted("power", "W", "power", [f"{hwmon}/power1_average", f"{hwmon}/power1_input"], value(1e6)),
        Wanted("temperature", "°C", "temperature", [f"{hwmon}/temp1_input", f"{hwmon}/temp2_input"], value(1e3)),
    )
    found = source(root, index, card.driver, wanted, absent)
    metrics = open_metrics(root, device)
    if metrics is None:
        absent.append(Gap(what=f"GPU {index}: reasons for a low clock", why=f"{card.driver} does not report them"))
        return found
    return with_reasons(found, index, lambda: bits_of(metrics), metrics.close)
