"""Compiler flags that are right for a host: asked of its own compiler, looked up, or the floor of mixed cores."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hwdiag.host.model import Build
from hwdiag.host.root import Root

SIERRA_FOREST = ("avx2", "avx_vnni", "avx_ifma", "avx_ne_convert", "avx_vnni_int8", "cmpccxadd")
EFFICIENT = {"6/175/": "sierraforest", "6/182/": "grandridge", "6/221/": "clearwaterforest"}
"""Intel's servers of E-cores by family and model (arch/x86/include/asm/intel-family.h of Linux), as GCC names them."""
ASSUMED_GCC = "14.1"
"""Where no compiler can be asked, flags are given for this version of GCC and newer ones."""


def read_build(
    root: Root, arch: str, level: str, flags: tuple[str, ...], vendor: str | None, parts: Iterable[int], *, mixed: bool
) -> Build | None:
    """Return the compiler flags for this CPU, and their source; None where nobody knows.

    With several kinds of cores ``native`` means the one that the compiler happens to run on, so what all have is the
    answer. ``parts`` are the part numbers of Arm cores.
    """
    option = "-march" if arch == "x86_64" else "-mcpu"
    if mixed:
        floor = _floor(level)
        return None if floor is None else Build(flags=floor, by="what all kinds of its cores have")
    return _asked(root, option) or _looked_up(arch, flags, vendor, tuple(dict.fromkeys(parts))) or _level(level)


def server_build(build: Build, family: str | None, model: str | None, flags: tuple[str, ...]) -> Build:
    """Return the flags with the name that GCC has for a server of Intel, where the catalogue only knows its desktop
    sibling or the generation before."""
    target = build.target if build.by == "archspec" else None
    ours = None
    if target == "icelake" and ((family or "").startswith(("6/106/", "6/108/")) or "Xeon" in (model or "")):
        ours = "icelake-server"  # also as QEMU names it, 6/134
    elif target == "sapphirerapids" and "amx_fp16" in flags:
        ours = "graniterapids"
    elif target is not None and set(SIERRA_FOREST) <= set(flags):
        ours = next((name for start, name in EFFICIENT.items() if (family or "").startswith(start)), None)
    return (
        build if ours is None else Build(flags=f"-march={ours} -mtune={ours}", by="archspec, for a server", target=ours)
    )


def _floor(level: str) -> str | None:
    """Return the instruction set level as GCC and Clang write it."""
    if level.startswith("x86-64-v"):
        return "-march=x86-64" if level == "x86-64-v1" else f"-march={level}"
    return f"-march={level}" if level.startswith(("armv", "rv64")) else None


def _level(level: str) -> Build | None:
    floor = _floor(level)
    return None if floor is None else Build(flags=floor, by=f"the level {level}")


def _asked(root: Root, option: str) -> Build | None:
    """Return ``native``, with the name that the installed compiler has for this CPU."""
    said = root.output("gcc", f"{option}=native", "-Q", "--help=target") or ""
    match = re.search(rf"^\s*{option}=\s+(\S+)$", said, re.MULTILINE)
    name = "gcc"
    if match is None:
        said = root.output("clang", f"{option}=native", "-###", "-E", "-x", "c", "/dev/null") or ""
        match, name = re.search(r'"-target-cpu" "([^"]+)"', said), "clang"
    return Build(flags=f"{option}=native", by=f"{name} on this host", target=match[1]) if match else None


def _looked_up(arch: str, flags: tuple[str, ...], vendor: str | None, parts: tuple[int, ...]) -> Build | None:
    """Return the most special microarchitecture of archspec's catalogue of which this host lacks no feature."""
    from archspec.cpu import TARGETS  # 30 ms, and only where nobody can be asked

    have = {*flags, "sse3"} if "pni" in flags else set(flags)  # Linux calls it by its code name
    part = f"{parts[0]:#05x}" if len(parts) == 1 else None
    fitting = [
        t
        for t in TARGETS.values()
        if t.family.name == arch and t.features and all(f in have for f in t.features)
        and t.vendor.lower() in ("generic", (vendor or "").lower()) and t.cpu_part in ("", part)
    ]  # fmt: skip
    best = max(fitting, key=lambda t: (len(t.ancestors), len(t.features)), default=None)
    if best is None:
        return None
    try:
        found = str(best.optimization_flags("gcc", ASSUMED_GCC)).strip()
    except Exception:  # its own error where the compiler does not know the target
        return None
    return Build(flags=found, by="archspec", target=best.name) if found else None
