"""Block devices that hold data, from /sys/block."""

from __future__ import annotations

import re
from typing import Literal

from hwdiag.host.model import Disk
from hwdiag.host.root import Root
from hwdiag.host.settings import READ_AHEAD, SCHEDULER, read_file, read_number

DiskKind = Literal["nvme", "sata", "scsi", "virtio", "mmc", "xen", "other"]

NOT_DATA = re.compile(r"(loop|ram|zram|dm-|md|sr|fd|nbd|mtdblock)\d.*|nvme\d+c\d+n\d+|mmcblk\d+(boot|rpmb)\d*")
"""Memory, images, media, what is only layered over other disks, and the paths behind a multipath NVMe."""

_BY_NAME: tuple[tuple[str, DiskKind], ...] = (
    ("nvme", "nvme"),
    ("mmcblk", "mmc"),
    ("vd", "virtio"),
    ("xvd", "xen"),
)


def read_disks(root: Root) -> tuple[Disk, ...]:
    """Return the disks by name. One of size 0 (an empty card reader) is left out."""
    names = [n for n in root.names("/sys/block") if not NOT_DATA.fullmatch(n)]
    places = {n: f"/sys/block/{n}" for n in names}
    for name in root.names("/sys/class/block"):
        # The same ones and their partitions; on some trees the only place.
        if name not in places and not NOT_DATA.fullmatch(name):
            place = f"/sys/class/block/{name}"
            if not root.exists(f"{place}/partition"):
                places[name] = place
    disks = (_read_one(root, name, place) for name, place in sorted(places.items()))
    return tuple(d for d in disks if d is not None)


def _read_one(root: Root, name: str, place: str) -> Disk | None:
    sectors = root.integer(f"{place}/size")
    if sectors == 0:
        return None
    rotational = root.integer(f"{place}/queue/rotational")
    return Disk(
        name=name,
        kind=_kind(root, name, place),
        size_bytes=sectors * 512 if sectors is not None and sectors > 0 else None,  # always 512, whatever the disk's
        model=root.word(f"{place}/device/model"),
        rotational=bool(rotational) if rotational is not None else None,
        scheduler=read_file(root, f"{place}/{SCHEDULER}"),
        read_ahead_kb=read_number(root, f"{place}/{READ_AHEAD}"),
    )


def _kind(root: Root, name: str, place: str) -> DiskKind:
    for prefix, kind in _BY_NAME:
        if name.startswith(prefix):
            return kind
    if not name.startswith("sd"):
        return "other"
    way = root.link(place) or ""
    # libata hides SATA disks behind SCSI; the way there, or the made-up vendor, gives it away.
    if re.search(r"/ata\d", way) or root.word(f"{place}/device/vendor") == "ATA":
        return "sata"
    return "other" if "/usb" in way else "scsi"
