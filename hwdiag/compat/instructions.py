"""From bytes to an instruction and the CPU feature that it needs.

capstone disassembles and puts most instructions into a group of its feature; small tables stand in for those that it
groups nowhere (FMA, MOVBE, POPCNT) or does not know (AMX, AVX-VNNI). Encodings after Intel's SDM, volume 2 (2.3 VEX,
2.7 EVEX), AMD's APM, volume 4 (XOP, FMA4), and Arm's A-profile Architecture Reference Manual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

X86_GROUPS = {
    "sse3": "pni", "ssse3": "ssse3", "sse41": "sse4_1", "sse42": "sse4_2", "sse4a": "sse4a", "aes": "aes",
    "pclmul": "pclmulqdq", "avx": "avx", "f16c": "f16c", "fc16": "f16c", "fma": "fma", "fma4": "fma4", "xop": "xop",
    "tbm": "tbm", "bmi": "bmi1", "bmi2": "bmi2", "avx2": "avx2", "adx": "adx", "sha": "sha_ni", "avx512": "avx512f",
    "cdi": "avx512cd", "dqi": "avx512dq", "bwi": "avx512bw", "vlx": "avx512vl",
}  # fmt: skip
X86_MNEMONICS = (
    (r"vf(n?m)(add|sub|addsub|subadd)\d{3}[ps][sd]", "fma"),
    (r"popcnt", "popcnt"),
    (r"movbe", "movbe"),
    (r"lzcnt", "abm"),
    (r"rdrand", "rdrand"),
    (r"rdseed", "rdseed"),
    (r"crc32", "sse4_2"),
    (r"adcx|adox", "adx"),
    (r"sha(1|256)\w+", "sha_ni"),
    (r"v?pclmul\w+", "pclmulqdq"),
    (r"v?gf2p8\w+", "gfni"),
    (r"v?aes\w+", "aes"),
)
EVEX_MNEMONICS = (
    (r"vpdp[bw]\w+", "avx512_vnni"),
    (r"vdpbf16ps|vcvtne\w*bf16", "avx512_bf16"),
    (r"vpmadd52\w+", "avx512ifma"),
    (r"vpopcnt[dq]", "avx512_vpopcntdq"),
    (r"vpopcnt[bw]|vpshufbitqmb", "avx512_bitalg"),
    (r"vpsh[lr]d\w+|vp(compress|expand)[bw]", "avx512_vbmi2"),
    (r"vperm[it]?2?b|vpmultishiftqb", "avx512vbmi"),
    (r"v\w+[ps]h|vcvt\w+ph\w*", "avx512_fp16"),
)
VEX_UNKNOWN = {  # (prefix, opcode) in map 2 of those that capstone 5 does not decode: (name, feature)
    (None, 0x49): ("ldtilecfg", "amx_tile"), ("66", 0x49): ("sttilecfg", "amx_tile"),
    ("f2", 0x49): ("tilezero", "amx_tile"), ("f2", 0x4B): ("tileloadd", "amx_tile"),
    ("66", 0x4B): ("tileloaddt1", "amx_tile"), ("f3", 0x4B): ("tilestored", "amx_tile"),
    ("f3", 0x5C): ("tdpbf16ps", "amx_bf16"), ("f2", 0x5C): ("tdpfp16ps", "amx_fp16"),
    (None, 0x5E): ("tdpbuud", "amx_int8"), ("66", 0x5E): ("tdpbusd", "amx_int8"),
    ("f3", 0x5E): ("tdpbsud", "amx_int8"), ("f2", 0x5E): ("tdpbssd", "amx_int8"),
    ("66", 0x50): ("vpdpbusd", "avx_vnni"), ("66", 0x51): ("vpdpbusds", "avx_vnni"),
    ("66", 0x52): ("vpdpwssd", "avx_vnni"), ("66", 0x53): ("vpdpwssds", "avx_vnni"),
    ("66", 0xB4): ("vpmadd52luq", "avx_ifma"), ("66", 0xB5): ("vpmadd52huq", "avx_ifma"),
}  # fmt: skip

ARM_GROUPS = {
    "neon": "asimd", "fparmv8": "fp", "aes": "aes", "crc": "crc32", "dotprod": "asimddp", "fullfp16": "asimdhp",
    "lse": "atomics", "sve": "sve", "sve2": "sve2",
}  # fmt: skip
ARM_MNEMONICS = (
    (r"bf(dot|mmla|mlal[bt]|cvtn?2?|cvtnt)", "bf16"),
    (r"(s|u|us)mmla|(us|su)dot", "i8mm"),
    (r"[su]dot", "asimddp"),
    (r"crc32\w+", "crc32"),
    (r"cas\w*|swp\w*|ld(add|clr|set|eor|smax|umax|smin|umin)\w*", "atomics"),
    (r"smstart|smstop|[su]mop[as]|fmop[as]", "sme"),
)

TITLES = {
    "pni": "SSE3", "ssse3": "SSSE3", "sse4_1": "SSE4.1", "sse4_2": "SSE4.2", "sse4a": "SSE4a", "abm": "LZCNT",
    "bmi1": "BMI1", "bmi2": "BMI2", "avx": "AVX", "avx2": "AVX2", "fma": "FMA3", "fma4": "FMA4", "xop": "XOP",
    "sha_ni": "SHA", "avx_vnni": "AVX-VNNI", "avx_ifma": "AVX-IFMA", "amx_tile": "AMX", "amx_bf16": "AMX-BF16",
    "amx_fp16": "AMX-FP16", "amx_int8": "AMX-INT8", "asimd": "NEON", "asimddp": "DotProd", "asimdhp": "FP16",
    "atomics": "LSE",
}  # fmt: skip


def title(feature: str) -> str:
    """Return a feature's name as manuals write it: ``AVX512-VNNI`` of ``avx512_vnni``."""
    return TITLES.get(feature) or re.sub(r"AVX512[_]?", "AVX512-", feature.upper())


@dataclass(frozen=True)
class Instruction:
    """One instruction, the features that it needs, the most special one first, and whether it only ends programs."""

    text: str
    needs: tuple[str, ...] = ()
    deliberate: bool = False


@lru_cache(maxsize=4)
def disassembler(machine: str) -> Any:
    """Return capstone for ``x86_64`` or ``aarch64``, or None for another machine."""
    import capstone as cs

    if machine == "x86_64":
        found = cs.Cs(cs.CS_ARCH_X86, cs.CS_MODE_64)
    elif machine == "aarch64":
        found = cs.Cs(cs.CS_ARCH_ARM64, cs.CS_MODE_ARM)
    else:
        return None
    found.detail = True
    return found


def decode(code: bytes, machine: str, address: int = 0) -> Instruction | None:
    """Return the first instruction of ``code``, or None where it is none, or the machine is not known here.

    Args:
        code: up to 16 bytes.
        machine: ``x86_64`` or ``aarch64``, as platform.machine() says.
        address: of the first byte, for relative operands.
    """
    engine = disassembler(machine)
    if engine is None or not code:
        return None
    found = next(engine.disasm(code, address, 1), None)
    if machine == "aarch64":
        if code[:4] == bytes(4) or (found and found.mnemonic in ("udf", "brk")):
            return Instruction(f"{found.mnemonic} {found.op_str}".strip() if found else "udf #0", (), True)
        return None if found is None else Instruction(instruction_text(found), arm_needs(found))
    if found is None:
        return undecoded(code)
    if found.mnemonic in ("ud0", "ud1", "ud2", "int3"):
        return Instruction(instruction_text(found), (), True)
    return Instruction(instruction_text(found), x86_needs(found))


def instruction_text(found: Any) -> str:
    return f"{found.mnemonic} {found.op_str}".strip()


def groups_of(found: Any) -> list[str]:
    return [str(found.group_name(g)).lower() for g in found.groups]


def x86_needs(found: Any) -> tuple[str, ...]:
    """Return the features that an x86 instruction needs, the most special one first."""
    kind, rest = encoding(bytes(found.bytes))
    groups = [X86_GROUPS[g] for g in groups_of(found) if g in X86_GROUPS]
    if kind == "evex":
        special = [feature for pattern, feature in EVEX_MNEMONICS if re.fullmatch(pattern, found.mnemonic)]
        short = ["avx512vl"] if len(rest) > 2 and rest[2] & 0x60 != 0x40 and "scalar" not in groups else []
        scalar = re.search(r"s[sdh]$", found.mnemonic) is not None
        return tuple(
            dict.fromkeys(
                [*special, *(g for g in groups if g.startswith("avx512")), *([] if scalar else short), "avx512f"]
            )
        )
    special = [feature for pattern, feature in X86_MNEMONICS if re.fullmatch(pattern, found.mnemonic)]
    return tuple(dict.fromkeys([*special, *groups, *(["avx"] if kind == "vex" and not groups and not special else [])]))


def arm_needs(found: Any) -> tuple[str, ...]:
    """Return the features that an AArch64 instruction needs beyond the architecture's floor."""
    special = [feature for pattern, feature in ARM_MNEMONICS if re.fullmatch(pattern, found.mnemonic)]
    groups = [ARM_GROUPS[g] for g in groups_of(found) if g in ARM_GROUPS]
    if re.search(r"\b[zp]\d+\b", found.op_str) and "sve2" not in groups:
        groups.append("sve")
    return tuple(dict.fromkeys([*special, *sorted(groups, key=["sve2", "sve"].__contains__, reverse=True)]))


def encoding(code: bytes) -> tuple[str, bytes]:
    """Return ``vex``, ``evex``, ``xop`` or ``legacy``, and the bytes after the prefix that says so (64-bit mode)."""
    at = 0
    while at < len(code) and code[at] in b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3":
        at += 1
    first = code[at : at + 1]
    if first == b"\x62":
        return "evex", code[at + 1 :]
    if first in (b"\xc4", b"\xc5"):
        return "vex", code[at:]
    if first == b"\x8f" and len(code) > at + 1 and code[at + 1] & 0x1F >= 8:
        return "xop", code[at + 1 :]
    return "legacy", code[at:]


def undecoded(code: bytes) -> Instruction | None:
    """Return an instruction that capstone does not know, as far as its prefixes tell."""
    kind, rest = encoding(code)
    shown = " ".join(f"{b:02x}" for b in code[:8])
    if kind == "evex":
        return Instruction(f"an EVEX-encoded instruction ({shown})", ("avx512f",))
    if kind == "xop":
        return Instruction(f"an XOP-encoded instruction ({shown})", ("xop",))
    if kind == "vex":
        if len(rest) > 3 and rest[0] == 0xC4 and rest[1] & 0x1F == 2:
            prefix = (None, "66", "f3", "f2")[rest[2] & 3]
            name, feature = VEX_UNKNOWN.get((prefix, rest[3]), ("", "avx"))
            if name:
                return Instruction(name, (feature,))
        return Instruction(f"a VEX-encoded instruction ({shown})", ("avx",))
    return None
