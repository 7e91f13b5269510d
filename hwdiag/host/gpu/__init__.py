"""The GPUs of this host: one module a vendor, and the folder is the list.

A vendor's module has what ``Vendor`` says. It never raises for what it finds, and needs no tool of the vendor's: what
is missing is a reason in words.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast

from hwdiag.core.value import Value
from hwdiag.host.model import Gap, Gpu
from hwdiag.host.nvidia_kernel import note_unlisted
from hwdiag.host.root import Root
from hwdiag.host.source import Source


class Reason(Value):
    """A reason for a GPU's low clock."""

    name: str
    meaning: str
    """What it means and what to do, in a clause."""
    is_fault: bool = False
    """Whether it is more than the usual end of the range."""
    bit: int = 0
    """Of the column ``reasons`` of its samples, where there is one. Bit 0 there says that it is idle: no reason."""


class NotHere(str):
    """The reason why a vendor has no GPU here, where nothing speaks for one: no failure."""


@dataclass
class Opened:
    """The GPUs of one vendor, held open to be asked again and again."""

    count: int
    """How many numbers they take."""
    read: Callable[[int], tuple[tuple[Gpu, ...], str | None]]
    """Given the first number: the GPUs, and why there are none where there are none."""
    sources: Callable[[int, list[Gap]], list[tuple[bool, Source]]]
    """Given the first number: what is sampled of each, and whether it is a part of the processor. What is not told is
    added to the list, with the reason."""
    close: Callable[[], None] = lambda: None


class Vendor(Protocol):
    """The functions of a module of this folder."""

    RANK: int
    """Where its GPUs come: those that programs most likely compute on are first."""
    REASONS: tuple[Reason, ...]
    """For a low clock, as its driver tells them."""
    TORCH_BUILD: str
    """What PyTorch calls its builds for them."""

    def open_gpus(self, root: Root, library: Any = None) -> tuple[Opened | None, str | None]:
        """Return its GPUs, or why there are none: ``NotHere`` or None where nothing speaks for one.

        ``library`` stands in for the vendor's Python module.
        """


@cache
def vendors() -> Mapping[str, Vendor]:
    """Return the modules of this folder by name, in the order of their GPUs."""
    found = {
        m.name: cast("Vendor", importlib.import_module(f"{__name__}.{m.name}")) for m in pkgutil.iter_modules(__path__)
    }
    return dict(sorted(found.items(), key=lambda item: (item[1].RANK, item[0])))


@cache
def reasons() -> Mapping[str, Reason]:
    """Return all reasons for a low clock by name."""
    return {reason.name: reason for vendor in vendors().values() for reason in vendor.REASONS}


def reason_names(vendor: str, bits: int) -> tuple[str, ...]:
    """Return what the bits of a vendor's column ``reasons`` say, in words."""
    known = [r for r in vendors()[vendor].REASONS if r.bit] if vendor in vendors() else []
    unknown = bits & ~(1 | sum(r.bit for r in known))
    names = [r.name for r in known if bits & r.bit]
    return (*names, f"unknown reason {unknown:#x}") if unknown else tuple(names)


def torch_build(gpu: Gpu) -> str:
    """Return what PyTorch calls its builds for this GPU, such as ``CUDA``."""
    return vendors()[gpu.vendor].TORCH_BUILD if gpu.vendor in vendors() else gpu.vendor


class Gpus:
    """All GPUs of the host, held open."""

    def __init__(self, root: Root, opened: Sequence[Opened], notes: Sequence[str]) -> None:
        """Use ``open_gpus``. ``notes`` say why some vendors have none."""
        self.root, self.notes = root, tuple(notes)
        self.opened: list[tuple[Opened, int]] = []
        first = 0
        for one in opened:
            self.opened.append((one, first))
            first += one.count

    def read(self) -> tuple[tuple[Gpu, ...], str | None]:
        """Return the GPUs as they are now, and why there are none where there are none."""
        gpus: list[Gpu] = []
        notes = list(self.notes)
        for one, first in self.opened:
            found, why = one.read(first)
            gpus += found
            notes += [] if why is None else [why]
        for why in notes if gpus else ():
            if not isinstance(why, NotHere):
                self.root.note("GPUs", why)
        return tuple(gpus), None if gpus else "; ".join(dict.fromkeys(notes)) or "no GPU was found"

    def sources(self, absent: list[Gap], *, integrated: bool = True) -> list[Source]:
        """Return what is sampled of each GPU; close them and all is closed. What a driver does not tell is absent.

        Without ``integrated``, those that are a part of the processor are left out where there are others.
        """
        found: list[tuple[bool, Source]] = []
        for one, first in self.opened:
            mine = one.sources(first, absent)
            if mine:
                mine[-1][1].close = _both(mine[-1][1].close, one.close)
            else:
                one.close()
            found += mine
        if not found:
            absent += [Gap(what="GPUs", why=why) for why in self.notes]
        left_out = [source for is_integrated, source in found if is_integrated and not integrated]
        kept = [source for _, source in found if source not in left_out]
        if not kept:
            return left_out
        for source in left_out:
            source.close()
        return kept

    def close(self) -> None:
        """Close all of them."""
        for one, _ in self.opened:
            one.close()


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def close() -> None:
        first()
        second()

    return close


def find_gpus(root: Root, nvml: Any = None) -> Gpus:
    """Open the GPUs of all vendors; ``nvml`` stands in for the module ``pynvml``. Close them at last."""
    libraries = {} if nvml is None else {"nvidia": nvml}
    opened: list[Opened] = []
    notes: list[str] = []
    for name, vendor in vendors().items():
        one, why = vendor.open_gpus(root, libraries.get(name))
        if one is not None:
            opened.append(one)
        if why is not None:
            notes.append(why)
    return Gpus(root, opened, notes)


@contextmanager
def open_gpus(root: Root, nvml: Any = None) -> Iterator[Gpus]:
    """Open the GPUs of all vendors for a while."""
    gpus = find_gpus(root, nvml)
    try:
        yield gpus
    finally:
        gpus.close()


def read_gpus(root: Root, *, nvml: Any = None) -> tuple[tuple[Gpu, ...], str | None]:
    """Return the GPUs, and why there are none where there are none.

    ``nvml`` stands in for the module ``pynvml``. A snapshot remembers what was told; a dump tells what its files do.
    """
    if nvml is None and root.gpus is not None:
        note_unlisted(root, [gpu.bus_id for gpu in root.gpus[0]])
        for gap in root.gpu_gaps:
            root.note(gap.what, gap.why, gap.kind)
        return root.gpus
    with open_gpus(root, nvml) as gpus:
        return gpus.read()


def gpu_sources(root: Root, absent: list[Gap], nvml: Any = None, *, integrated: bool = True) -> list[Source]:
    """Return what is sampled of the GPUs; nothing of a snapshot, which does not change."""
    if root.source == "snapshot" and nvml is None:
        return []
    why_not: list[Gap] = []
    sources = find_gpus(root, nvml).sources(why_not, integrated=integrated)
    if sources or nvml is not None or root.source == "live":
        absent += why_not
    return sources
