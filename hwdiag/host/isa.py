"""Instruction set: levels and the features that matter for numeric libraries, from the flags of /proc/cpuinfo.

Sources: the x86-64 psABI, "Micro-architecture levels"; the Arm architecture's mandatory features per version (Arm ARM,
"Armv8-A architecture extensions") as far as the kernel shows them (Documentation/arch/arm64/elf_hwcaps.rst).
"""

from __future__ import annotations

from collections.abc import Collection

from hwdiag.host.model import Isa
from hwdiag.host.root import Root

# A level includes those before it.
X86_LEVELS = (
    ("x86-64-v1", "lm cmov cx8 fpu fxsr mmx sse sse2 syscall"),
    ("x86-64-v2", "cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3"),
    ("x86-64-v3", "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"),
    ("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)

ARM_LEVELS = (
    ("armv8-a", "fp asimd"),
    ("armv8.1-a", "atomics asimdrdm crc32"),
    ("armv8.2-a", "dcpop"),
    ("armv8.3-a", "fcma jscvt lrcpc"),
    ("armv8.4-a", "asimddp dit flagm ilrcpc uscat"),
    ("armv8.5-a", "flagm2 frint sb"),
    ("armv8.6-a", "bf16 ecv i8mm"),
    ("armv8.7-a", "afp wfxt"),
)

ARMV9 = {
    "armv8.5-a": "armv9-a",
    "armv8.6-a": "armv9.1-a",
    "armv8.7-a": "armv9.2-a",
}
"""Armv9.x is Armv8.(x+5) with SVE2."""

X86_FEATURES = {
    "SSE4.2": "sse4_2",
    "AVX": "avx",
    "F16C": "f16c",
    "FMA": "fma",
    "AVX2": "avx2",
    "BMI2": "bmi2",
    "AVX-VNNI": "avx_vnni",
    "AVX512F": "avx512f",
    "AVX512BW": "avx512bw",
    "AVX512CD": "avx512cd",
    "AVX512DQ": "avx512dq",
    "AVX512VL": "avx512vl",
    "AVX512-IFMA": "avx512ifma",
    "AVX512-VBMI": "avx512vbmi",
    "AVX512-VBMI2": "avx512_vbmi2",
    "AVX512-VNNI": "avx512_vnni",
    "AVX512-BF16": "avx512_bf16",
    "AVX512-FP16": "avx512_fp16",
    "AMX-TILE": "amx_tile",
    "AMX-INT8": "amx_int8",
    "AMX-BF16": "amx_bf16",
    "AMX-FP16": "amx_fp16",
}

RISCV_FEATURES = {
    "V": "v",
    "Zba": "zba",
    "Zbb": "zbb",
    "Zbs": "zbs",
    "Zfh": "zfh",
    "Zvfh": "zvfh",
    "Zvfbfmin": "zvfbfmin",
    "Zvfbfwma": "zvfbfwma",
}

ARM_FEATURES = {
    "NEON": "asimd",
    "LSE": "atomics",
    "FP16": "asimdhp",
    "FHM": "asimdfhm",
    "DotProd": "asimddp",
    "I8MM": "i8mm",
    "BF16": "bf16",
    "SVE": "sve",
    "SVE2": "sve2",
    "SVE-I8MM": "svei8mm",
    "SVE-BF16": "svebf16",
    "SME": "sme",
    "SME2": "sme2",
}


def isa_of(arch: str, flags: tuple[str, ...]) -> Isa | None:
    """Return the level and the features that these flags mean on this architecture (``uname -m``); None without flags.

    The level of an architecture other than x86-64 and 64-bit Arm is ``unknown``.
    """
    if not flags:
        return None
    have = set(flags)
    names: dict[str, str] = {}
    level = "unknown"
    if arch == "x86_64":
        names, level = X86_FEATURES, _highest(X86_LEVELS, have)
    elif arch == "aarch64":
        names, level = ARM_FEATURES, _highest(ARM_LEVELS, have)
        if "sve2" in have:
            level = ARMV9.get(level, level)
    return Isa(
        level=level,
        features=tuple(name for name, flag in names.items() if flag in have),
        missing=tuple(name for name, flag in names.items() if flag not in have),
    )


def riscv_isa(texts: Collection[str]) -> Isa | None:
    """Return the level and the features that all harts of a RISC-V machine have; None where they tell none.

    Source: "RISC-V ISA extension naming conventions"; the kernel writes ``rv64imafdcv_zicsr_zba``
    (Documentation/arch/riscv/uabi.rst).
    """
    lists = [_riscv_extensions(text) for text in texts if text.startswith("rv64")]
    if not lists:
        return None
    have = set.intersection(*lists)
    level = "rv64gc" if set("imafdc") <= have else "unknown"
    return Isa(
        level=f"{level}v" if level == "rv64gc" and "v" in have else level,
        features=tuple(name for name, flag in RISCV_FEATURES.items() if flag in have),
        missing=tuple(name for name, flag in RISCV_FEATURES.items() if flag not in have),
    )


def _riscv_extensions(text: str) -> set[str]:
    letters, _, longer = text.removeprefix("rv64").replace("g", "imafd", 1).partition("_")
    return {*letters, *longer.split("_")}


def sve_bits(root: Root) -> int | None:
    """Return the default length of an SVE vector in bits; the kernel tells it in bytes
    (Documentation/arch/arm64/sve.rst)."""
    length = root.integer("/proc/sys/abi/sve_default_vector_length")
    return length * 8 if length is not None and 16 <= length <= 256 else None


def _highest(levels: tuple[tuple[str, str], ...], have: set[str]) -> str:
    highest = "unknown"
    for name, needed in levels:
        if not set(needed.split()) <= have:
            break
        highest = name
    return highest
