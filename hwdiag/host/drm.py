"""Graphics cards as Linux's drivers show them in /sys/class/drm, whoever made them.

Sources: Documentation/gpu/amdgpu/thermal.rst and Documentation/hwmon/sysfs-interface.rst of Linux; pci.ids(5).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hwdiag.core.value import Value
from hwdiag.host.model import Gap
from hwdiag.host.root import OpenFile, Root
from hwdiag.host.source import Column, Source

CARDS = "/sys/class/drm"
PCI_IDS = ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids")
MAX_NAMES_BYTES = 4 << 20
"""pci.ids has 1.5 MB."""
GENERATIONS = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}
"""PCIe generations by the GT/s of one lane."""


class Card(Value):
    """One card."""

    folder: str
    """``/sys/class/drm/card0``."""
    driver: str
    slot: str | None = None
    """Its PCI address, ``0000:03:00.0``."""
    product: str = "0000"
    """Its PCI device id, four digits in lower case."""
    revision: str = ""
    hwmon: str | None = None
    """The folder of its sensors."""

    @property
    def device(self) -> str:
        return f"{self.folder}/device"


def cards(root: Root, vendor: str, drivers: tuple[str, ...]) -> tuple[Card, ...]:
    """Return the cards of a vendor (its PCI id, ``1002``) with one of these drivers, by PCI address."""
    found = []
    for number in root.ids(CARDS, "card"):
        folder = f"{CARDS}/card{number}"
        if (root.word(f"{folder}/device/vendor") or "").lower() != f"0x{vendor}":
            continue
        told = dict(line.partition("=")[::2] for line in (root.text(f"{folder}/device/uevent") or "").splitlines())
        if told.get("DRIVER") not in drivers:
            continue
        revision = (root.word(f"{folder}/device/revision") or "").lower().removeprefix("0x")
        product = told.get("PCI_ID", "").partition(":")[2].lower().rjust(4, "0")
        sensors = root.names(f"{folder}/device/hwmon")
        found.append(
            Card(
                folder=folder,
                driver=told["DRIVER"],
                slot=told.get("PCI_SLOT_NAME") or None,
                product=product,
                revision=revision,
                hwmon=f"{folder}/device/hwmon/{sensors[0]}" if sensors else None,
            )
        )
    return tuple(sorted(found, key=lambda card: (card.slot or "", card.folder)))


def unbound(root: Root, vendor: str) -> tuple[str, ...]:
    """Return the PCI addresses of a vendor's display controllers that no driver has taken."""
    found = []
    for slot in root.names("/sys/bus/pci/devices"):
        folder = f"/sys/bus/pci/devices/{slot}"
        if (root.word(f"{folder}/class") or "").startswith("0x03") and root.word(f"{folder}/vendor") == f"0x{vendor}":
            told = root.text(f"{folder}/uevent") or ""
            if "DRIVER=" not in told:
                found.append(slot)
    return tuple(found)


def product_name(root: Root, vendor: str, product: str) -> str | None:
    """Return what the list of PCI devices calls this one, where the list is installed."""
    text = next((t for path in PCI_IDS if (t := root.text(path, MAX_NAMES_BYTES)) is not None), "")
    block = re.search(rf"^{vendor}  .*\n((?:[\t#].*\n|\n)*)", text, re.MULTILINE)
    match = re.search(rf"^\t{product}  (.+)$", block[1], re.MULTILINE) if block else None
    return match[1].strip() if match else None


def driver_version(root: Root, driver: str) -> str:
    """Return the driver's name, with a version where it is not the kernel's own."""
    version = root.word(f"/sys/module/{driver}/version")
    return f"{driver} {version}" if version else driver


def scaled(root: Root, path: str, unit: float) -> float | None:
    """Return a sensor's value in units of ``unit`` of its own."""
    value = root.integer(path)
    return None if value is None else value / unit


def link(root: Root, card: Card, which: str) -> tuple[int | None, int | None]:
    """Return generation and lanes of its PCIe link, ``current`` or ``max``."""
    speed = re.match(r"([\d.]+) GT/s", root.word(f"{card.device}/{which}_link_speed") or "")
    width = root.integer(f"{card.device}/{which}_link_width")
    return GENERATIONS.get(speed[1]) if speed else None, width or None


def node(root: Root, card: Card) -> int | None:
    """Return the NUMA node next to it."""
    found = root.integer(f"{card.device}/numa_node")
    return found if found is not None and found >= 0 else None


# What is sampled

Ask = Callable[[float], float]
"""Reads a value, given the seconds since the last time."""


class Wanted(NamedTuple):
    """A column, where a driver tells it."""

    name: str
    unit: str
    title: str
    paths: Sequence[str | None]
    """The first that is there counts: drivers and their versions differ in them."""
    make: Callable[[OpenFile], Ask]


def source(root: Root, index: int, driver: str, wanted: Sequence[Wanted], absent: list[Gap]) -> Source | None:
    """Return the columns of one GPU; those that its driver does not tell are absent."""
    columns: list[Column] = []
    asks: list[Ask] = []
    files: list[OpenFile] = []
    for name, unit, title, paths, make in wanted:
        file = next((f for path in paths if path is not None and (f := readable(root, path)) is not None), None)
        if file is None:
            absent.append(Gap(what=f"GPU {index}: {title}", why=f"{driver} does not report it"))
            continue
        files.append(file)
        columns.append(Column(name=f"gpu{index}.{name}", unit=unit, title=f"GPU {index} {title}"))
        asks.append(make(file))

    def close() -> None:
        for file in files:
            file.close()

    return Source(tuple(columns), lambda elapsed: [ask(elapsed) for ask in asks], close) if columns else None


def with_reasons(found: Source | None, index: int, bits: Callable[[], int | None], close: Callable[[], None]) -> Source:
    """Return a GPU's columns and the one of the reasons for a low clock. ``close`` closes what ``bits`` reads."""
    column = Column(name=f"gpu{index}.reasons", unit="bits", title=f"GPU {index} reasons for a low clock")

    def read(elapsed: float) -> list[float]:
        now = bits()
        return [*(() if found is None else found.read(elapsed)), math.nan if now is None else float(now)]

    def close_all() -> None:
        close()
        if found is not None:
            found.close()

    return Source((*(() if found is None else found.columns), column), read, close_all)


def readable(root: Root, path: str) -> OpenFile | None:
    """Return the file held open; None where it is missing or holds no number."""
    if not root.exists(path) or (file := root.keep(path)) is None:
        return None
    if math.isnan(number(file)):
        file.close()
        return None
    return file


def number(file: OpenFile) -> float:
    """Return the file's number; NaN where it has none now, as while the card sleeps."""
    try:
        return float(file.word())
    except (OSError, ValueError):
        return math.nan


def value(unit: float = 1.0) -> Callable[[OpenFile], Ask]:
    """Return what makes a reader of a number in units of ``unit``."""
    return lambda file: lambda _: number(file) / unit


def rate(unit: float = 1.0) -> Callable[[OpenFile], Ask]:
    """Return what makes a reader of a counter's growth in a second; NaN at first, and where it went backwards."""

    def make(file: OpenFile) -> Ask:
        before = number(file)

        def read(elapsed: float) -> float:
            nonlocal before
            last, before = before, number(file)
            return (before - last) / elapsed / unit if elapsed > 0 and before >= last else math.nan

        return read

    return make
