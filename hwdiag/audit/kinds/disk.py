"""Kernel files of disks: the disk must still be the one that was meant, since names change from boot to boot."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from hwdiag.audit.kind import Kind, PersistentFile, Place
from hwdiag.audit.kinds.file import Files, beside, is_plain_path
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting


class DiskPlace(Place):
    """A file of a disk, with what tells the disk from another that may have its name after the next boot."""

    disk: str
    sectors: int
    model: str

    @property
    def told(self) -> str:
        return f"{self.name} {self.sectors} {self.model}"


class DiskFiles(Files):
    """Kernel files of disks that hold data, below ``/sys/block/*``; not of loop devices and the like."""

    name = "disk"
    means = {"udev": "/etc/udev/rules.d/99-hwdiag.rules"}

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        disks = {d.name for d in host.disks}
        yield from (s for s in super().read(root, host) if s.target in disks)

    def places(self, where: str, wanted: str, host: Host, disturbs: Sequence[str] = ()) -> Iterator[Place]:
        match = re.match("/sys/block/([^/]+)/", where)
        disk = next((d for d in host.disks if match and d.name == match[1]), None)
        if disk is None or not is_plain_path(where):
            return
        known = {"disk": disk.name, "sectors": (disk.size_bytes or 0) // 512, "model": disk.model or ""}
        sides = tuple(DiskPlace(kind="disk", name=side.name, **known) for side in beside(where, disturbs))
        yield DiskPlace(kind="disk", name=where, wanted=wanted, sides=sides, **known)

    def known(self, disturbs: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        yield from (("disk", f"{pattern} *") for _, pattern in super().known(disturbs))

    def glob(self, where: Sequence[str]) -> str | None:
        return None  # by name, since not every disk was looked at

    @classmethod
    def keep(cls, means: str, kept: Sequence[tuple[Kind, Place]]) -> PersistentFile:
        """Return the lines in the order of the steps: a scheduler before the queue's length that it resets."""
        by_disk: dict[str, list[DiskPlace]] = {}
        for _, place in kept:
            assert isinstance(place, DiskPlace)
            by_disk.setdefault(place.disk, []).append(place)
        lines = [
            "  local some=no all=yes",
            "  echo '# Disks are named by serial number, or by the port they are at: sda may be another one tomorrow.'",
        ]
        for disk, places in by_disk.items():
            values = (f"{p.name.removeprefix(f'/sys/block/{disk}/')}={p.wanted}" for p in places)
            words = [shlex.quote(disk), str(places[0].sectors), shlex.quote(places[0].model), *map(shlex.quote, values)]
            lines.append(f"  if rule {' '.join(words)}; then some=yes; else all=no; fi")
        lines.append('  if [ "$some" = no ]; then return 1; elif [ "$all" = no ]; then return 3; fi')
        return PersistentFile(path=cls.means[means], body="\n".join(lines), part="disk_rule")
