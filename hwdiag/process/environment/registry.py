"""The registry of environment variables that are worth a word when they are inherited.

Each entry was checked against the reader's own source or documentation; see ``source``. Variables act at process start.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hwdiag.process.environment import binding, debugging, devices, dispatch, loading, memory, threads
from hwdiag.process.environment.model import Reader, Variable
from hwdiag.process.model import Software

VARIABLES: tuple[Variable, ...] = tuple(
    variable
    for module in (threads, binding, dispatch, loading, memory, devices, debugging)
    for variable in module.VARIABLES
)

PRESENT: dict[Reader, Callable[[Software], bool]] = {
    "libgomp": lambda s: has_pool(s, "libgomp"),
    "libiomp5 or libomp": lambda s: has_pool(s, "libiomp5", "libomp"),
    "MKL": lambda s: has_pool(s, "MKL") or bool(s.mkl),
    "oneDNN": lambda s: s.onednn is not False,
}
"""How the software tells whether a reader is in the process; the others are taken to be."""


IMAGINED_CAPS = ("TORCH_DISABLE_AVX2", "TORCH_DISABLE_AVX512", "PYTORCH_DISABLE_AVX2", "MKL_DEBUG_CPU_TYPE")
"""Variables that are told to cap an instruction set, and that nothing reads; the registry has them too."""


def caps_of(software: Software) -> tuple[str, ...]:
    """Return the settings that cap the instruction set for real in this software: those whose reader is in the
    process."""
    readers: dict[Reader, Callable[[Software], bool]] = {
        **PRESENT,
        "OpenBLAS": lambda s: has_pool(s, "OpenBLAS"),
        "NumPy": lambda s: s.numpy_version is not None,
    }
    capping = ((v, readers.get(v.reader)) for v in VARIABLES if v.cap is not None)
    return tuple(f"{v.cap} ({v.reader})" for v, is_there in capping if is_there is None or is_there(software))


def has_pool(software: Software, *names: str) -> bool:
    return any(pool.name in names for pool in software.pools)


def known_variable(name: str) -> Variable | None:
    """Return the registry's entry of a variable."""
    return next((v for v in VARIABLES if re.fullmatch(v.pattern, name)), None)


def can_force(name: str) -> bool:
    """Return whether this variable can make a library run what the CPU or the process cannot."""
    known = known_variable(name)
    return known is not None and known.forces


def is_read_by_libraries(name: str) -> bool:
    """Return whether the registry knows this variable, as read or as wrongly believed to be."""
    return known_variable(name) is not None
