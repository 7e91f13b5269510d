"""GPUs of Intel, as the drivers xe and i915 show them in sysfs.

Sources: Documentation/ABI/testing/sysfs-driver-intel-{i915,xe}-hwmon and Documentation/gpu/xe of Linux;
drivers/gpu/drm/i915/gt/intel_gt_sysfs_pm.c and drivers/gpu/drm/xe/xe_gt_{freq,idle,throttle}.c for the other files.
"""

from __future__ import annotations

import math
from typing import Any

from hwdiag.host.drm import (
    Ask,
    Card,
    Wanted,
    cards,
    driver_version,
    link,
    node,
    number,
    product_name,
    rate,
    readable,
    scaled,
    source,
    unbound,
    value,
    with_reasons,
)
from hwdiag.host.gpu import Opened, Reason
from hwdiag.host.model import Gap, Gpu
from hwdiag.host.root import OpenFile, Root
from hwdiag.host.source import Source

RANK = 2
TORCH_BUILD = "XPU"
VENDOR, DRIVERS = "8086", ("xe", "i915")
PROCESSORS_OWN = "0000:00:02.0"
"""Where the GPU of a processor is, in all of Intel's."""
CLOCK = ("act_freq", "rps_act_freq_mhz", "gt_act_freq_mhz")
_REASONS = {
    "pl1": Reason(bit=0x2, name="power limit PL1", meaning="it draws what it may for long: normal under full load"),
    "pl2": Reason(
        bit=0x4, name="power limit PL2", meaning="it draws what it may for a short while: normal under full load"
    ),
    "pl4": Reason(bit=0x8, name="current limit PL4", meaning="the current that its supply gives is used up"),
    "thermal": Reason(
        bit=0x10, name="temperature limit", meaning="it is too hot: look at fans, dust and air flow", is_fault=True
    ),
    "prochot": Reason(
        bit=0x20,
        name="PROCHOT",
        meaning="something in the machine says that it is too hot: look at its cooling",
        is_fault=True,
    ),
    "ratl": Reason(
        bit=0x40, name="running average temperature limit", meaning="it was hot for long: look at its cooling"
    ),
    "vr_thermalert": Reason(
        bit=0x80, name="voltage regulator's temperature", meaning="its supply on the board is too hot", is_fault=True
    ),
    "vr_tdc": Reason(
        bit=0x100, name="voltage regulator's current", meaning="its supply on the board gives what it can"
    ),
}
"""By the ends of the files' names."""
REASONS = tuple(_REASONS.values())


def open_gpus(root: Root, library: Any = None) -> tuple[Opened | None, str | None]:
    """Open the cards of xe and i915; there is no library to stand in for."""
    del library
    found = cards(root, VENDOR, DRIVERS)
    if not found:
        bare = unbound(root, VENDOR)
        return None, f"no driver has taken Intel's {bare[0]} (neither xe nor i915 is loaded)" if bare else None
    gpus = [(card, product_name(root, VENDOR, card.product) or f"Intel GPU 0x{card.product}") for card in found]

    def read(first: int) -> tuple[tuple[Gpu, ...], str | None]:
        return tuple(gpu_of(root, first + i, card, name) for i, (card, name) in enumerate(gpus)), None

    def sources(first: int, absent: list[Gap]) -> list[tuple[bool, Source]]:
        made = [(card.slot == PROCESSORS_OWN, source_of(root, first + i, card, absent)) for i, card in enumerate(found)]
        return [(integrated, source) for integrated, source in made if source is not None]

    return Opened(len(found), read, sources), None


def first_there(root: Root, *paths: str) -> str | None:
    """Return the first of these paths that is there: drivers and their versions differ in them."""
    return next((path for path in paths if root.exists(path)), None)


def clock_file(root: Root, card: Card, xe: str, i915: str, older: str) -> str | None:
    """Return the file of a clock of its first engine group: of xe, of i915, and of i915 before Linux 5.18."""
    return first_there(
        root, f"{card.device}/tile0/gt0/freq0/{xe}", f"{card.folder}/gt/gt0/{i915}", f"{card.folder}/{older}"
    )


def gpu_of(root: Root, index: int, card: Card, name: str) -> Gpu:
    """Return the facts of one card as they are now."""
    integrated = card.slot == PROCESSORS_OWN
    now = clock_file(root, card, *CLOCK)
    most = clock_file(root, card, "rp0_freq", "rps_RP0_freq_mhz", "gt_RP0_freq_mhz")
    generation, width = (None, None) if integrated else link(root, card, "current")
    max_generation, max_width = (None, None) if integrated else link(root, card, "max")
    limit, default = (None, None) if card.hwmon is None else (
        scaled(root, f"{card.hwmon}/power1_max", 1e6),
        scaled(root, f"{card.hwmon}/power1_rated_max", 1e6),
    )  # fmt: skip
    return Gpu(
        vendor="intel",
        index=index,
        name=name,
        integrated=integrated,
        bus_id=card.slot,
        driver=driver_version(root, card.driver),
        memory_bytes=memory_bytes(root, card),
        unified_memory=integrated,
        sm_mhz=None if now is None else root.integer(now),
        sm_max_mhz=None if most is None else root.integer(most),
        power_limit_w=limit or None,
        power_default_w=default or None,
        temperature_c=temperature(root, card),
        pcie_generation=generation,
        pcie_width=width,
        pcie_max_generation=max_generation,
        pcie_max_width=max_width,
        throttle_reasons=throttling(root, card),
        node=node(root, card),
    )


def memory_bytes(root: Root, card: Card) -> int | None:
    """Return the memory of its own: of all tiles with xe; i915 tells it on some kernels alone."""
    tiles = [root.integer(f"{card.device}/tile{i}/physical_vram_size_bytes") for i in root.ids(card.device, "tile")]
    of_tiles = sum(t for t in tiles if t is not None)
    return of_tiles or root.integer(f"{card.folder}/lmem_total_bytes") or None


def temperature(root: Root, card: Card) -> float | None:
    """Return the temperature of the package: sensor 2 with xe, 1 with i915."""
    if card.hwmon is None:
        return None
    path = first_there(root, f"{card.hwmon}/temp2_input", f"{card.hwmon}/temp1_input")
    return None if path is None else scaled(root, path, 1e3)


def throttling(root: Root, card: Card) -> tuple[str, ...]:
    """Return why its clock is low now."""
    return tuple(reason.name for reason, path in throttle_files(root, card) if root.integer(path))


def throttle_files(root: Root, card: Card) -> list[tuple[Reason, str]]:
    """Return the files that say whether a reason holds: of xe, or of i915."""
    found = []
    for end, reason in _REASONS.items():
        path = first_there(
            root,
            f"{card.device}/tile0/gt0/freq0/throttle/reason_{end}",
            f"{card.folder}/gt/gt0/throttle_reason_{end}",
        )
        if path is not None:
            found.append((reason, path))
    return found


def source_of(root: Root, index: int, card: Card, absent: list[Gap]) -> Source | None:
    """Return the columns of one card. Neither driver counts how long programs ran, only how long the card slept."""
    slept = (
        f"{card.device}/tile0/gt0/gtidle/idle_residency_ms",
        f"{card.folder}/gt/gt0/rc6_residency_ms",
        f"{card.folder}/power/rc6_residency_ms",
    )
    hwmon = card.hwmon or card.device
    wanted = (
        Wanted("awake", "%", "was awake", slept, awake),
        Wanted("clock", "MHz", "clock of its cores", [clock_file(root, card, *CLOCK)], value()),
        Wanted("power", "W", "power", [f"{hwmon}/energy1_input"], rate(1e6)),
        Wanted("temperature", "°C", "temperature", [f"{hwmon}/temp2_input", f"{hwmon}/temp1_input"], value(1e3)),
    )
    found = source(root, index, card.driver, wanted, absent)
    told = [(reason.bit, f) for reason, path in throttle_files(root, card) if (f := readable(root, path)) is not None]
    if not told:
        absent.append(Gap(what=f"GPU {index}: reasons for a low clock", why=f"{card.driver} does not report them"))
        return found

    def close() -> None:
        for _, file in told:
            file.close()

    return with_reasons(found, index, lambda: sum(bit for bit, file in told if number(file) == 1), close)


def awake(file: OpenFile) -> Ask:
    """Return what reads a counter of milliseconds asleep as the share of the time awake."""
    asleep = rate(10.0)(file)

    def read(elapsed: float) -> float:
        share = 100 - asleep(elapsed)
        return share if math.isnan(share) else min(100.0, max(0.0, share))

    return read
