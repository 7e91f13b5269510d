"""Names of Arm cores, from the implementer and part number of the main id register (MIDR_EL1).

Sources: Arm Architecture Reference Manual, MIDR_EL1; the technical reference manuals of the cores, and
arch/arm64/include/asm/cputype.h of Linux.
"""

from __future__ import annotations

IMPLEMENTERS = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "FUJITSU",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x56: "Marvell",
    0x61: "Apple",
    0x69: "Intel",
    0x6D: "Microsoft",
    0x70: "Phytium",
    0xC0: "Ampere",
}

PARTS = {
    0x41: {
        0xC05: "Cortex-A5",
        0xC07: "Cortex-A7",
        0xC08: "Cortex-A8",
        0xC09: "Cortex-A9",
        0xC0D: "Cortex-A12",
        0xC0E: "Cortex-A17",
        0xC0F: "Cortex-A15",
        0xD01: "Cortex-A32",
        0xD02: "Cortex-A34",
        0xD03: "Cortex-A53",
        0xD04: "Cortex-A35",
        0xD05: "Cortex-A55",
        0xD06: "Cortex-A65",
        0xD07: "Cortex-A57",
        0xD08: "Cortex-A72",
        0xD09: "Cortex-A73",
        0xD0A: "Cortex-A75",
        0xD0B: "Cortex-A76",
        0xD0C: "Neoverse-N1",
        0xD0D: "Cortex-A77",
        0xD0E: "Cortex-A76AE",
        0xD40: "Neoverse-V1",
        0xD41: "Cortex-A78",
        0xD42: "Cortex-A78AE",
        0xD43: "Cortex-A65AE",
        0xD44: "Cortex-X1",
        0xD46: "Cortex-A510",
        0xD47: "Cortex-A710",
        0xD48: "Cortex-X2",
        0xD49: "Neoverse-N2",
        0xD4A: "Neoverse-E1",
        0xD4B: "Cortex-A78C",
        0xD4C: "Cortex-X1C",
        0xD4D: "Cortex-A715",
        0xD4E: "Cortex-X3",
        0xD4F: "Neoverse-V2",
        0xD80: "Cortex-A520",
        0xD81: "Cortex-A720",
        0xD82: "Cortex-X4",
        0xD83: "Neoverse-V3AE",
        0xD84: "Neoverse-V3",
        0xD85: "Cortex-X925",
        0xD87: "Cortex-A725",
        0xD88: "Cortex-A520AE",
        0xD89: "Cortex-A720AE",
        0xD8A: "C1-Nano",
        0xD8B: "C1-Pro",
        0xD8C: "C1-Ultra",
        0xD8E: "Neoverse-N3",
        0xD8F: "Cortex-A320",
        0xD90: "C1-Premium",
    },
    0x42: {0x516: "ThunderX2"},
    0x43: {0x0A1: "ThunderX", 0x0AF: "ThunderX2", 0x0B8: "ThunderX3"},
    0x46: {0x001: "A64FX"},
    0x48: {0xD01: "Kunpeng-920", 0xD02: "TaiShan-v120"},
    0x4E: {0x000: "Denver", 0x003: "Denver 2", 0x004: "Carmel", 0x010: "Olympus"},
    0x50: {0x000: "X-Gene"},
    0x51: {
        0x001: "Oryon",
        0x800: "Kryo 2xx Gold",
        0x801: "Kryo 2xx Silver",
        0x802: "Kryo 3xx Gold",
        0x803: "Kryo 3xx Silver",
        0x804: "Kryo 4xx Gold",
        0x805: "Kryo 4xx Silver",
        0xC00: "Falkor",
    },
    0x61: {
        0x022: "Icestorm M1",
        0x023: "Firestorm M1",
        0x024: "Icestorm M1 Pro",
        0x025: "Firestorm M1 Pro",
        0x028: "Icestorm M1 Max",
        0x029: "Firestorm M1 Max",
        0x032: "Blizzard M2",
        0x033: "Avalanche M2",
        0x034: "Blizzard M2 Pro",
        0x035: "Avalanche M2 Pro",
        0x038: "Blizzard M2 Max",
        0x039: "Avalanche M2 Max",
    },
    0x6D: {0xD49: "Azure Cobalt 100"},
    0x70: {
        0x660: "FTC660",
        0x661: "FTC661",
        0x662: "FTC662",
        0x663: "FTC663",
        0x664: "FTC664",
        0x862: "FTC862",
    },
    0xC0: {0xAC3: "Ampere-1", 0xAC4: "Ampere-1a", 0xAC5: "Ampere-1b"},
}


def vendor_name(implementer: int) -> str:
    """Return an implementer's name, or its number where it is not known."""
    return IMPLEMENTERS.get(implementer, f"{implementer:#04x}")


def part_name(implementer: int, part: int) -> str:
    """Return a core's name such as ``Cortex-X925``; for an unknown one its numbers, ``ARM 0xd99``."""
    return PARTS.get(implementer, {}).get(part) or f"{vendor_name(implementer)} {part:#05x}"


def from_midr(midr: int) -> tuple[int, int]:
    """Return the implementer and the part number in MIDR_EL1 (bits 31-24 and 15-4)."""
    return midr >> 24 & 0xFF, midr >> 4 & 0xFFF
