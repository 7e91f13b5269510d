"""The guest's kernel and root disk, and a Python of another architecture: built once into a cache folder, and again
whenever the script that builds them changes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

BUILD = Path(__file__).with_name("build.sh")
ARM = BUILD.with_name("arm64.sh")
SSHD = BUILD.with_name("sshd.sh")
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
    return kept(BUILD)


def arm_root() -> Path:
    """A folder with Debian's Python for AArch64 in it, to be run by ``qemu-aarch64 -L``; made if need be (about 15 s).

    Raises NoGuestError where it cannot be made.
    """
    return kept(ARM)


def kept(script: Path) -> Path:
    """What this script builds: the folder of an earlier time, or of now."""
    folder = cache() / hashlib.sha256(script.read_bytes()).hexdigest()[:12]
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with open(cache() / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                build(script, folder)
    except OSError as error:
        raise NoGuestError(f"no virtual guest here: {error}") from error
    return folder


def build(script: Path, folder: Path) -> None:
    """Run the script; the folder is there only if that went well."""
    if platform.machine() != "x86_64" or not Path("/etc/debian_version").exists() or shutil.which("mmdebstrap") is None:
        raise NoGuestError("no virtual guest here: building one needs Debian on x86-64, with mmdebstrap")
    if os.geteuid() != 0:
        raise NoGuestError(
            f"no virtual guest here: building one needs root, once: sudo {script} EMPTY_FOLDER, then mv it to {folder}"
        )
    unfinished = folder.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        end = subprocess.run(
            [script, unfinished], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise NoGuestError(f"no virtual guest here: {script.name} took longer than {BUILD_LIMIT_S} s") from None
    if end.returncode:
        raise NoGuestError(f"no virtual guest here: {script.name} failed: {' | '.join(end.stderr.splitlines()[-3:])}")
    unfinished.rename(folder)
