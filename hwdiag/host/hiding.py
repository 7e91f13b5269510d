"""Instruction set features that the processor has and that the kernel's command line or a hypervisor hides."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hwdiag.host.isa import X86_FEATURES
from hwdiag.host.model import Hidden

XSAVE_FEATURES = tuple(n for n in X86_FEATURES if n.startswith(("AVX", "AMX", "F16C", "FMA")))
"""Features whose registers the kernel saves with XSAVE: without it, they are off (arch/x86/kernel/fpu/xstate.c)."""

CMDLINE = {
    "noxsave": XSAVE_FEATURES,
    "arm64.nosve": ("SVE", "SVE2", "SVE-I8MM", "SVE-BF16"),
    "arm64.nosme": ("SME", "SME2"),
    "gather_data_sampling=force": XSAVE_FEATURES,
}
"""Options of the kernel's command line and what they take away (Documentation/admin-guide/kernel-parameters.txt)."""

X86_WORDS = {flag.replace("_", ""): name for name, flag in X86_FEATURES.items()}

X86_BITS = {
    4 * 32 + 12: "FMA",
    4 * 32 + 20: "SSE4.2",
    4 * 32 + 28: "AVX",
    4 * 32 + 29: "F16C",
    9 * 32 + 5: "AVX2",
    9 * 32 + 8: "BMI2",
    9 * 32 + 16: "AVX512F",
    9 * 32 + 17: "AVX512DQ",
    9 * 32 + 30: "AVX512BW",
    9 * 32 + 31: "AVX512VL",
}
"""``clearcpuid`` also takes bit numbers (arch/x86/include/asm/cpufeatures.h)."""

V3 = ("AVX", "F16C", "FMA", "AVX2", "BMI2")
V4 = (*V3, "AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL")

INTEL_V3 = frozenset({
    60, 61, 63, 69, 70, 71, 78, 79, 85, 86, 94, 102, 106, 108, 125, 126, 140, 141, 142, 143, 151, 154, 158, 165, 166,
    167, 170, 172, 173, 174, 175, 183, 186, 189, 191, 197, 198, 207,
})  # fmt: skip
"""Models of family 6 from Haswell on (arch/x86/include/asm/intel-family.h of Linux)."""
INTEL_V4 = frozenset({85, 106, 108, 143, 173, 174, 207})
"""The Xeons among them that have AVX-512."""
INTEL_LESS = re.compile(r"Pentium|Celeron|Atom", re.IGNORECASE)
"""Sold with AVX and more switched off."""
EMULATED = re.compile(r"QEMU Virtual CPU|QEMU TCG CPU|Common (32-bit )?KVM processor|Westmere|Nehalem", re.IGNORECASE)
"""Model names that QEMU makes up for its oldest CPU types."""


def hidden_features(
    cmdline: str | None, *, hypervisor: bool, vendor: str | None, model: str | None, family: str | None,
    have: tuple[str, ...],
) -> tuple[Hidden, ...]:  # fmt: skip
    """Return the features that are hidden, and by whom. ``have`` are the features that are there, ``family`` as
    ``Cpu.family``."""
    found = list(_by_cmdline(cmdline or "", set(have)))
    told = {f for h in found for f in h.features}
    if hypervisor:
        expected = _expected(vendor, model or "", family)
        missing = tuple(f for f in expected if f not in have and f not in told)
        if missing:
            found.append(Hidden(features=missing, by="hypervisor", why=f"a {model or vendor} has them"))
        elif not told and EMULATED.search(model or "") and "AVX" not in have:
            found.append(Hidden(features=(), by="hypervisor", why=f"{model!r} is a CPU type of the hypervisor's own"))
    return tuple(found)


def _by_cmdline(cmdline: str, have: set[str]) -> Iterator[Hidden]:
    for word in cmdline.split():
        name, _, value = word.partition("=")
        if name == "clearcpuid":
            features = tuple(f for part in value.split(",") if (f := _feature(part)) is not None)
        else:
            features = CMDLINE.get(word, ())
        gone = tuple(f for f in features if f not in have)
        if gone:
            yield Hidden(features=gone, by="kernel", why=f"{word[:80]} on its command line")


def _feature(part: str) -> str | None:
    """Return the feature that a word of ``clearcpuid`` names by its flag or its bit number."""
    if part.isdecimal() and len(part) < 5:
        return X86_BITS.get(int(part))
    return X86_WORDS.get(part.lower().replace("_", ""))


def _expected(vendor: str | None, model: str, family: str | None) -> tuple[str, ...]:
    """Return the features that every processor of this family and model has; empty where that is not known."""
    numbers = re.fullmatch(r"(\d+)/(\d+)/\d+", family or "")
    if numbers is None:
        return ()
    kind, number = int(numbers[1]), int(numbers[2])
    if vendor == "GenuineIntel" and kind == 6 and not INTEL_LESS.search(model):
        return V4 if number in INTEL_V4 else V3 if number in INTEL_V3 else ()
    if vendor == "AuthenticAMD" and kind >= 23:
        zen4 = kind >= 26 or (kind == 25 and (16 <= number < 32 or 96 <= number < 128 or 160 <= number < 176))
        return V4 if zen4 else V3
    return ()
