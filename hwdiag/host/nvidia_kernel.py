"""NVIDIA's GPUs as the kernel sees them, whatever NVML says: PCI devices, and errors in its log (Xid).

Source: NVIDIA's documentation of XID errors; sysfs-bus-pci of Linux.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hwdiag.host.model import Xid
from hwdiag.host.root import Root

PCI = "/sys/bus/pci/devices"
VENDOR = "0x10de"
CONTAINERS = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
LINE = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]{7,16})\): (\d{1,4}),? ?(.{0,160})")
MOST = 50
"""Kinds of errors that are told apart; a log has thousands of lines of few kinds."""


def note_unlisted(root: Root, listed: Sequence[str | None], but: int = 0) -> None:
    """Note each PCI device that is an NVIDIA GPU and that NVML does not list, with its driver.

    ``but``: GPUs that NVML counts and cannot open, told already.
    """
    known = {place(slot) for slot in listed if slot}
    bound = []
    for slot in root.names(PCI):
        folder = f"{PCI}/{slot}"
        is_gpu = re.match(r"0x03(00|02)", root.word(f"{folder}/class") or "") is not None
        if not is_gpu or root.word(f"{folder}/vendor") != VENDOR or place(slot) in known:
            continue
        told = root.text(f"{folder}/uevent")
        driver = re.search(r"^DRIVER=(\S{1,60})$", told or "", re.MULTILINE)
        if driver is None and told is not None:
            root.note(f"NVIDIA GPU at {slot}", "no driver has taken it", "unbound")
        elif driver is not None and driver[1] != "nvidia":
            root.note(f"NVIDIA GPU at {slot}", f"the driver {driver[1]} has it, not NVIDIA's", "unbound")
        elif driver is not None:
            bound.append(slot)
    # A container sees all PCI devices, and was given some; without one listed, NVML's own failure is the reason.
    if known and len(bound) > but and not any(root.exists(path) for path in CONTAINERS):
        for slot in bound:
            root.note(f"NVIDIA GPU at {slot}", "the driver has it, and NVML does not list it", "unlisted")


def place(slot: str) -> str:
    """Return a PCI address as the kernel writes it: NVML writes the domain with eight digits."""
    domain, _, rest = slot.lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def has_gpu(root: Root) -> bool:
    """Return whether there is an NVIDIA device on the PCI bus."""
    return any(root.word(f"{PCI}/{slot}/vendor") == VENDOR for slot in root.names(PCI))


def read_xids(root: Root) -> tuple[Xid, ...] | None:
    """Return the errors of NVIDIA's GPUs in the kernel's log since boot; None where it may not be read, or no such GPU
    is there."""
    if not has_gpu(root):
        return None
    log = root.output("dmesg")
    if log is None:
        return None
    found: dict[tuple[str, int], Xid] = {}
    for slot, code, words in LINE.findall(log):
        key = place(slot), int(code)
        if key in found or len(found) < MOST:
            before = found[key].count if key in found else 0
            found[key] = Xid(slot=key[0], code=key[1], count=before + 1, last=words.strip())
    return tuple(found.values())
