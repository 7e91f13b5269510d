"""Reasons for a low clock of AMD's GPUs, by the table that amdgpu shows as ``gpu_metrics``.

Source: drivers/gpu/drm/amd/include/kgd_pp_interface.h and drivers/gpu/drm/amd/pm/swsmu/inc/amdgpu_smu.h of Linux. Only
the bits that mean the same on every chip are read (``indep_throttle_status``): tables before 1.3 and 2.2, and those of
MI300 (1.4 and later), have none.
"""

from __future__ import annotations

import struct

from hwdiag.host.gpu import Reason
from hwdiag.host.root import OpenFile, Root

HEADER = struct.Struct("<HBB")
"""Size of the table, and its format and content revision."""
STATUS = struct.Struct("<Q")
UNKNOWN = (1 << 64) - 1
"""Written where the chip does not tell it."""

KINDS = (
    (
        Reason(bit=0x02, name="package power limit (PPT)", meaning="it draws what it may: normal under full load"),
        range(0, 8),
    ),
    (
        Reason(
            bit=0x04, name="package current limit (TDC, EDC)", meaning="the current that its supply gives is used up"
        ),
        range(16, 23),
    ),
    (
        Reason(
            bit=0x08,
            name="supply droop (APCC)",
            meaning="its supply sags under load: look at its power cables and the power supply",
            is_fault=True,
        ),
        range(23, 24),
    ),
    (
        Reason(
            bit=0x10,
            name="temperature of chip or memory",
            meaning="it is too hot: look at fans, dust and air flow",
            is_fault=True,
        ),
        (*range(32, 38), 42, 43),
    ),
    (
        Reason(
            bit=0x20,
            name="temperature of voltage regulators",
            meaning="its supply on the board is too hot: look at fans, dust and air flow",
            is_fault=True,
        ),
        (38, 39, 40, 41, 44, 45),
    ),
    (
        Reason(
            bit=0x40,
            name="PROCHOT of the package",
            meaning="something in the machine says that it is too hot: look at its cooling",
            is_fault=True,
        ),
        (46, 47),
    ),
    (Reason(bit=0x80, name="reliability (PPM, FIT)", meaning="its voltage is kept low for reliability"), (56, 57)),
)
"""Each reason, and the bits of the driver that say it."""
REASONS = tuple(reason for reason, _ in KINDS)


def reason_bits(table: bytes) -> int | None:
    """Return the bits of REASONS that hold now; None where this table does not report them."""
    if len(table) < HEADER.size:
        return None
    size, form, content = HEADER.unpack_from(table)
    offset = 112 if (form, content) == (1, 3) else 120 if form == 2 and 2 <= content <= 4 else None
    if offset is None or size > len(table) or offset + STATUS.size > size:
        return None
    (status,) = STATUS.unpack_from(table, offset)
    if status == UNKNOWN:
        return None
    return sum(reason.bit for reason, bits in KINDS if any(status >> bit & 1 for bit in bits))


def open_metrics(root: Root, device: str) -> OpenFile | None:
    """Return a card's table held open; None where it does not tell the reasons."""
    path = f"{device}/gpu_metrics"
    file = root.keep(path) if root.exists(path) else None
    if file is not None and bits_of(file) is None:
        file.close()
        return None
    return file


def bits_of(file: OpenFile) -> int | None:
    """Return the bits that hold now; None where the card sleeps."""
    try:
        return reason_bits(file.word())
    except OSError:
        return None
