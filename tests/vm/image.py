"""The guest's kernel and root disk: built once into a cache folder, and again whenever build.sh changes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

BUILD = Path(__file__).with_name("build.sh")
BUILD_LIMIT_S = 600


class NoGuestError(Exception):
    """There can be no guest here; the message says why."""


def cache() -> Path:
    """Where images are kept: $HWDIAG_VM_DIR, or hwdiag/vm in the person's cache folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("HWDIAG_VM_DIR") or home / "hwdiag" / "vm").absolute()


def image() -> Path:
    """The folder with vmlinuz, initrd.img and root.img, built if need be (about 30 s).

    Raises NoGuestError where this machine cannot run or build it.
    """
    for program, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("qemu-img", "qemu-utils"),
        ("iasl", "acpica-tools"),
    ):
        if shutil.which(program) is None:
            raise NoGuestError(f"no virtual guest here: no {program} (Debian: {package})")
    name = hashlib.sha256(BUILD.read_bytes()).hexdigest()[:12]
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with open(cache() / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (cache() / name).exists():
                build(cache() / name)
    except OSError as error:
        raise NoGuestError(f"no virtual guest here: {error}") from error
    return cache() / name


def build(folder: Path) -> None:
    """Build the image; the folder is there only if that went well."""
    if platform.machine() != "x86_64" or not Path("/etc/debian_version").exists() or shutil.which("mmdebstrap") is None:
        raise NoGuestError("no virtual guest here: building one needs Debian on x86-64, with mmdebstrap")
    if os.geteuid() != 0:
        raise NoGuestError(
            f"no virtual guest here: building one needs root, once: sudo {BUILD} EMPTY_FOLDER, then mv it to {folder}"
        )
    unfinished = folder.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        end = subprocess.run(
            [BUILD, unfinished], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise NoGuestError(f"no virtual guest here: {BUILD.name} took longer than {BUILD_LIMIT_S} s") from None
    if end.returncode:
        raise NoGuestError(f"no virtual guest here: {BUILD.name} failed: {' | '.join(end.stderr.splitlines()[-3:])}")
    unfinished.rename(folder)
