"""Starts a command on certain CPUs and memory, where numactl(8) is not installed.

Run by path with ``python -IS``, standard library only::

    bind.py CPUS MODE NODES COMMAND [ARGUMENT...]

CPUS and NODES are numbers joined by commas, or ``-``; MODE is one of set_mempolicy(2)'s, or ``-``.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

MODES = {"preferred": 1, "bind": 2, "interleave": 3}
"""MPOL_PREFERRED, MPOL_BIND and MPOL_INTERLEAVE of <linux/mempolicy.h>."""
SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237, "riscv64": 237, "ppc64le": 261, "ppc64": 261, "s390x": 270}
"""Numbers of the system call, from each architecture's <asm/unistd.h>."""


def numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]


def set_memory_policy(mode: str, nodes: list[int]) -> None:
    """Set the memory policy of this process. Raises OSError where the kernel, or a container's filter, refuses it."""
    bits = 8 * ctypes.sizeof(ctypes.c_ulong)
    mask = (ctypes.c_ulong * (max(nodes) // bits + 1))()
    for node in nodes:
        mask[node // bits] |= 1 << (node % bits)
    libc = ctypes.CDLL(None, use_errno=True)
    # The kernel takes one bit less than the number it is given.
    if libc.syscall(SET_MEMPOLICY[platform.machine()], MODES[mode], mask, ctypes.c_ulong(bits * len(mask) + 1)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    cpus, mode, nodes, *command = sys.argv[1:]
    if cpus != "-":
        os.sched_setaffinity(0, numbers(cpus))
    if mode != "-":
        set_memory_policy(mode, numbers(nodes))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
