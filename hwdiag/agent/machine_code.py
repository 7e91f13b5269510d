"""Machine code that this process may execute."""

import ctypes
import mmap

PAGES = []  # type: list[mmap.mmap]
"""Executable pages, kept alive."""


def executable(code):
    """Return the address of this machine code, made executable. Raises OSError where the system forbids that."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    PAGES.append(page)
    return ctypes.addressof(ctypes.c_char.from_buffer(page))
