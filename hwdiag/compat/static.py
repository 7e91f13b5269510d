"""Search for shared objects with instructions above a level, for a host that is not here.

Whether such code is reached depends on dispatch at run time and is undecidable in general: the answer is "contains
AVX2 code, dispatch unknown", never "will crash". Executable sections are disassembled linearly, in windows spread
evenly over the file until the time is up, so the answer says how much of the code was looked at.
"""

from __future__ import annotations

import re
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hwdiag.compat.instructions import disassembler, title
from hwdiag.core.value import Value

WINDOW = 4096
"""Bytes disassembled at a time: x86 code falls into step again after a few instructions."""
LEAST = 8
"""Fewer finds than this may be data between functions that reads like an instruction."""
MAX_BYTES = 2**31
EM_X86_64, EM_AARCH64 = 62, 183

LEVELS: dict[str, frozenset[str]] = {
    "x86-64-v2": frozenset(),
    "x86-64-v2+avx": frozenset({"avx"}),
    "x86-64-v3": frozenset({"avx", "avx2", "fma", "bmi1", "bmi2"}),
    "x86-64-v4": frozenset({"avx", "avx2", "fma", "bmi1", "bmi2", "avx512f"}),
    "armv8-a": frozenset(),
    "armv8.2-a": frozenset({"asimddp"}),
    "armv9-a": frozenset({"asimddp", "sve"}),
}
"""What each level has of the features that are looked for (x86-64 psABI, 3.1.1; v2+avx is Ivy Bridge's)."""

X86_TEXT = (  # the first that matches the instruction's text names its feature
    (r"\S+ .*\b(zmm\d+|k[1-7])\b|\S+ .*[xy]mm(1[6-9]|2\d|3[01])\b", "avx512f"),
    (r"vf(n?m)(add|sub|addsub|subadd)\d{3}[ps][sd] ", "fma"),
    (r"v(p(?!test|erm2f128|ermil)|broadcasti|extracti|inserti|movntdqa)\w* .*\bymm", "avx2"),
    (r"v(pbroadcast|pgather|gather|psllv|psrlv|psrav|perm[dq]|pblendd|pmaskmov)\w* ", "avx2"),
    (r"(mulx|pdep|pext|bzhi|rorx|sarx|shlx|shrx) ", "bmi2"),
    (r"(andn|bextr|blsi|blsmsk|blsr) ", "bmi1"),
    (r"v\w+ .*\b[xy]mm", "avx"),
)
ARM_TEXT = ((r"\S+ .*\bz\d+\.", "sve"), (r"[su]dot ", "asimddp"))


class Content(Value):
    """The instructions above a level in a shared object."""

    path: str
    level: str
    found: dict[str, int] = {}
    """Instructions seen by the feature that they need, most frequent first; only those the level lacks."""
    looked_at: float = 0.0
    """Share of the executable bytes that were disassembled, 0..1."""
    note: str | None = None
    """Why it could not be looked at."""

    def text(self) -> str:
        """Return the finding as text: ``contains AVX2 code, dispatch unknown (12 % of its code looked at)``."""
        if self.note:
            return f"not looked at: {self.note}"
        share = f"{self.looked_at:.0%} of its code looked at"
        if not self.found:
            return f"nothing above {self.level} seen ({share})"
        return f"contains {', '.join(title(f) for f in self.found)} code, dispatch unknown ({share})"


def contains(path: Path, level: str, *, seconds: float = 2.0) -> Content:
    """Look for instructions above ``level`` in a shared object, for at most ``seconds``.

    Raises:
        KeyError: the level is not one of ``LEVELS``.
    """
    has = LEVELS[level]
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 30} GiB")
        machine, sections = executable_sections(path)
    except (OSError, ValueError, struct.error) as error:
        return Content(path=str(path), level=level, note=getattr(error, "strerror", None) or str(error))
    table = X86_TEXT if machine == EM_X86_64 else ARM_TEXT
    if (machine == EM_X86_64) != level.startswith("x86"):
        return Content(path=str(path), level=level, note="it is for another architecture")
    patterns = [(re.compile(pattern), feature) for pattern, feature in table if feature not in has]
    engine = disassembler("x86_64" if machine == EM_X86_64 else "aarch64")
    counts: Counter[str] = Counter()
    windows = [(at, min(WINDOW, end - at)) for start, end in sections for at in range(start, end, WINDOW)]
    looked, deadline = 0, time.monotonic() + seconds
    with path.open("rb") as file:
        for at, size in evenly(windows):
            if time.monotonic() > deadline:
                break
            file.seek(at)
            counts.update(features_in(engine, file.read(size), patterns))
            looked += size
    total = sum(size for _, size in windows)
    found = {feature: n for feature, n in counts.most_common() if n >= LEAST}
    return Content(path=str(path), level=level, found=found, looked_at=looked / total if total else 1.0)


def features_in(engine: object, code: bytes, patterns: list[tuple[re.Pattern[str], str]]) -> Iterator[str]:
    """Yield the feature of each instruction of a window that needs one. Bytes that are none are stepped over."""
    at = 0
    while at < len(code):
        for address, size, mnemonic, operands in engine.disasm_lite(code[at:], at):  # type: ignore[attr-defined]
            at = address + size
            text = f"{mnemonic} {operands}"
            feature = next((f for pattern, f in patterns if pattern.match(text)), None)
            if feature is not None:
                yield feature
        at += 1


def evenly(windows: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield all windows once, in an order whose every beginning is spread over the whole (van der Corput's)."""
    bits = max(1, (len(windows) - 1).bit_length())
    for n in range(1 << bits):
        i = int(f"{n:0{bits}b}"[::-1], 2)
        if i < len(windows):
            yield windows[i]


def executable_sections(path: Path) -> tuple[int, list[tuple[int, int]]]:
    """Return the machine, and ``(start, end)`` in the file of each section with code (ELF-64, little-endian; elf(5)).

    Raises:
        ValueError: not such a file.
    """
    with path.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        (machine,) = struct.unpack_from("<H", head, 18)
        if machine not in (EM_X86_64, EM_AARCH64):
            raise ValueError(f"for a machine that is not known here (ELF {machine})")
        (offset,) = struct.unpack_from("<Q", head, 40)
        each, count = struct.unpack_from("<HH", head, 58)
        size = path.stat().st_size
        if each != 64 or offset + each * count > size:
            raise ValueError("no section headers")
        file.seek(offset)
        headers = file.read(each * count)
    found = []
    for n in range(count):
        kind, flags, _, start, length = struct.unpack_from("<IQQQQ", headers, n * each + 4)
        if kind == 1 and flags & 4 and start + length <= size:  # SHT_PROGBITS, SHF_EXECINSTR
            found.append((start, start + length))
    return machine, found
