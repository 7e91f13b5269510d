"""Kernel files: sysctls, attributes of sysfs, parameters of modules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from hwdiag.audit.kind import Kind, Place
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting, read_files

SYSCTL = "/proc/sys/"
PLAIN = re.compile("[A-Za-z0-9._:/-]+")
"""Paths in which TuneD expands nothing: neither ``*`` nor ``${f:exec:...}``."""


class Files(Kind):
    """Kernel files. ``*`` stands for any one name in a path; what it matched is the target."""

    name = "file"
    means = {
        "sysctl": "/etc/sysctl.d/99-zz-hwdiag.conf",
        "tmpfiles": "/etc/tmpfiles.d/hwdiag.conf",
        "modprobe": "/etc/modprobe.d/hwdiag-zfs.conf",
    }

    path: str
    older: str | None = None
    """Where kernels have it that do not have ``path``."""

    @property
    def patterns(self) -> tuple[str, ...]:
        return (self.path,) if self.older is None else (self.path, self.older)

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        yield from read_files(root, *self.patterns)

    def places(self, where: str, wanted: str, host: Host, disturbs: Sequence[str] = ()) -> Iterator[Place]:
        if is_plain_path(where):
            yield Place(kind="file", name=where, wanted=wanted, sides=beside(where, disturbs))

    def known(self, disturbs: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        for path in self.patterns:
            yield from (("file", p) for p in (path, *(side.name for side in beside(path, disturbs))))

    def glob(self, where: Sequence[str]) -> str | None:
        return next((p for p in self.patterns if all(fnmatchcase(w, p) for w in where)), None)

    def line(self, means: str, place: Place) -> str:
        return {"sysctl": sysctl, "tmpfiles": tmpfile, "modprobe": module_option}[means](place.name, place.wanted)

    def tuned(self, name: str, wanted: str, *, is_pattern: bool) -> tuple[str, str, str] | None:
        if name.startswith(SYSCTL):
            return "sysctl", sysctl_name(name), wanted
        return ("sysfs", name, wanted) if is_pattern or PLAIN.fullmatch(name) else None


def is_plain_path(where: str) -> bool:
    """Return whether it is an absolute path that a script may hold: no empty part, no ``..``, nothing unprintable."""
    return where.startswith("/") and where.isprintable() and all(p not in ("", ".", "..") for p in where[1:].split("/"))


def beside(where: str, names: Sequence[str]) -> tuple[Place, ...]:
    """Return the files of these names, from the folder of ``where`` on."""
    folder = where.rpartition("/")[0]
    return tuple(Place(kind="file", name=f"{folder}/{name}") for name in names)


def sysctl_name(path: str) -> str:
    """Return the name of a sysctl: ``vm.swappiness`` of ``/proc/sys/vm/swappiness``."""
    return path.removeprefix(SYSCTL).replace("/", ".")


def sysctl(path: str, wanted: str) -> str:
    """Return the file for sysctl.d(5). It sorts after 99-sysctl.conf, which is /etc/sysctl.conf on many
    distributions."""
    return f"{sysctl_name(path)} = {wanted}"


def tmpfile(path: str, wanted: str) -> str:
    """Return the file for tmpfiles.d(5), which is written at boot only."""
    return f"w! {path} - - - - {wanted.replace('%', '%%')}"


def module_option(path: str, wanted: str) -> str:
    """Return the file for modprobe.d(5). Root on ZFS reads it from the initial ramdisk: that must be made again by
    hand."""
    module, _, parameter = path.removeprefix("/sys/module/").partition("/parameters/")
    return f"options {module} {parameter}={wanted}"
