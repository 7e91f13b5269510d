"""Packages that really die: machine code in memory, or a shared object that gcc makes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import script
from tests.vm.image import NoGuestError, arm_root

IN_MEMORY = """
import ctypes, mmap
def run():
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex({code!r}) + bytes([0xc3]))
    ctypes.{kind}(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
"""
"""``run()`` executes these bytes: CFUNCTYPE lets go of the interpreter's lock first, PYFUNCTYPE keeps it."""


class Site:
    """A folder of packages, and an interpreter that has it on its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        self.folder.mkdir()
        self.python = script(folder / "python", f'PYTHONPATH={self.folder} exec {sys.executable} "$@"')

    def add(self, name: str, code: str, *files: Path, version: str = "1.0", needs: str = "") -> str:
        """A package of this code; with files, a distribution whose RECORD lists them."""
        package = self.folder / name
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(code)
        for file in files:
            shutil.copy(file, package)
        info = self.folder / f"{name}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        requires = f"Requires-Dist: {needs}\n" if needs else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
        record = [f"{name}/__init__.py", *(f"{name}/{file.name}" for file in files), f"{info.name}/METADATA"]
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in record))
        return name

    def emulated(self, qemu: str, cpu: str) -> str:
        """The interpreter under user-mode emulation of a CPU."""
        line = f'PYTHONPATH={self.folder} exec {qemu} -cpu {cpu} {sys.executable} "$@"'
        return script(self.folder.parent / f"python-{cpu}", line)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder for packages, and its interpreter."""
    return Site(tmp_path)


@pytest.fixture
def shared_object(tmp_path: Path) -> Callable[[str, str], Path]:
    """Makes a shared object with gcc; gives its path. Skips where there is no gcc."""
    gcc = shutil.which("gcc")

    def make(name: str, source: str) -> Path:
        if gcc is None:
            pytest.skip("no gcc here")
        path = tmp_path / f"{name}.so"
        subprocess.run(
            [gcc, "-shared", "-fPIC", "-O0", "-x", "c", "-", "-o", str(path)], input=source, text=True, check=True
        )
        return path

    return make


@pytest.fixture
def qemu() -> str:
    """Path of qemu's user mode for x86-64; skips where it is missing."""
    path = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if path is None:
        pytest.skip("no qemu-user here (Debian: qemu-user)")
    return path


@pytest.fixture
def arm(site: Site) -> Callable[[str], str]:
    """Makes an interpreter for AArch64 under user-mode emulation of a CPU; skips where one cannot be had."""
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if qemu is None:
        pytest.skip("no qemu-user here (Debian: qemu-user)")
    try:
        root = arm_root()
    except NoGuestError as error:
        pytest.skip(str(error))

    def emulated(cpu: str) -> str:
        line = f'PYTHONPATH={site.folder} exec {qemu} -cpu {cpu} -L {root} {root}/usr/bin/python3 "$@"'
        return script(site.folder.parent / f"python-{cpu}", line)

    return emulated
