"""Check that a file is a shared library for this machine."""

from __future__ import annotations

import errno
import os
import stat

MACHINES = {3: "32-bit x86", 40: "32-bit Arm", 62: "x86-64", 183: "64-bit Arm", 243: "RISC-V", 21: "POWER", 22: "s390"}
"""``e_machine`` of elf(5), in words."""
OF_ARCH = {"x86_64": 62, "aarch64": 183, "riscv64": 243, "ppc64le": 21, "s390x": 22}
SHARED = 3
"""``e_type`` ET_DYN."""


def why_not_loaded(path: str, arch: str) -> str | None:
    """Return why the dynamic loader cannot load this file, in a clause; None where nothing speaks against it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return "which does not exist" if missing else f"which cannot be opened ({(error.strerror or '').lower()})"
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return "which is not a file"
        head = os.read(handle, 20)
    except OSError as error:
        return f"which cannot be read ({(error.strerror or '').lower()})"
    finally:
        os.close(handle)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return "which is not a shared library"
    order = "little" if head[5] == 1 else "big"
    kind, machine = (int.from_bytes(head[at : at + 2], order) for at in (16, 18))  # type: ignore[arg-type]
    if kind != SHARED:
        return "which is not a shared library"
    wanted = OF_ARCH.get(arch)
    if wanted is not None and (machine != wanted or head[4] != 2):
        return f"which is built for {MACHINES.get(machine, f'another machine (ELF {machine})')}, not for {arch}"
    return None
