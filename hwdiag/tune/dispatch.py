"""Checks and levers of the kernels that numeric libraries choose on this CPU.

A library asks the CPU once, at its start, and takes its fastest kernels for it. Three things come in between: an
inherited variable that caps or forces the choice, a library that asks for the vendor instead of the instructions, and
kernels whose wider vectors cost more in clock than they bring.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from hwdiag.experiment.lever import Factor, Lever
from hwdiag.host.model import Host
from hwdiag.process.launch import Launch
from hwdiag.process.model import Software

DISPATCH = "dispatch"
CAPS = (
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES",
)  # fmt: skip
"""Variables by which numeric libraries choose their kernels; each one that is inherited is tried without."""
NO_AVX512 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""On early AVX-512 CPUs (Skylake-SP) its heavy use lowers the clock; there AVX2 may be faster. ATen and oneDNN only."""

VENDOR_CHECK = "libhwdiag-mkl.so"
VENDOR_CHECK_SOURCE = """\
/* MKL takes its AVX-512 and AVX2 kernels only where this function says that the CPU is Intel's. Answered with yes, it
   goes on to ask the CPU which instructions it has, and takes none that are missing. Not supported by Intel. */
int mkl_serv_intel_cpu_true(void) { return 1; }
"""
VENDOR_RISK = (
    "Intel does not support it: MKL's vendor check is answered by a preloaded function, which a later MKL may ignore "
    "or react to badly. MKL still asks the CPU for its instructions, so it takes none that are missing."
)


def dispatch(host: Host, software: Software, vendor_check: Path | None) -> Factor:
    """Return ways to other kernels than those that are taken today; ``vendor_check`` is the library made for it."""
    return Factor(DISPATCH, tuple(_levers(host, software, vendor_check)))


def _levers(host: Host, software: Software, vendor_check: Path | None) -> Iterator[Lever]:
    for name in CAPS:
        if name in software.environment:
            yield Lever(id=f"without-{name}", factor=DISPATCH, title=f"without {name}", launch=Launch(unset=(name,)))
    if has(host, "AVX512F"):
        yield Lever(id="no-avx512", factor=DISPATCH, title="no AVX-512", launch=Launch(env=NO_AVX512))
    if vendor_check is not None and has_foreign_mkl(host, software):
        yield Lever(
            id="mkl-as-on-intel",
            factor=DISPATCH,
            title="MKL as on Intel",
            launch=Launch(preload=(str(vendor_check),)),
            risk=VENDOR_RISK,
        )


def has(host: Host, feature: str) -> bool:
    """Return whether all CPUs have this instruction-set feature."""
    return host.cpu.isa is not None and feature in host.cpu.isa.features


def has_foreign_mkl(host: Host, software: Software) -> bool:
    """Return whether torch multiplies by MKL on a CPU of another vendor that has more than MKL gives it."""
    return bool(software.mkl) and host.cpu.vendor not in (None, "GenuineIntel") and has(host, "AVX2")


def build_vendor_check(folder: Path) -> Path | None:
    """Compile the function that answers MKL's question; None where there is no C compiler that can."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    library = folder / VENDOR_CHECK
    command = [compiler, "-shared", "-fPIC", "-O1", "-x", "c", "-o", str(library), "-"]
    clean = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    try:
        done = subprocess.run(command, input=VENDOR_CHECK_SOURCE, text=True, capture_output=True, timeout=60, env=clean)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return library if done.returncode == 0 and library.is_file() else None
