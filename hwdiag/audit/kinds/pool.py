"""Properties of ZFS pools, which the pool itself keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwdiag.audit.kind import Kind, Place
from hwdiag.audit.kinds.unit import DEVICE, WORD
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting, normal


class PoolProperty(Kind):
    """A property of each ZFS pool (zpoolprops(7))."""

    name = "pool"

    property: str

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        for pool in root.names("/proc/spl/kstat/zfs"):
            if not root.exists(f"/proc/spl/kstat/zfs/{pool}/state"):
                continue  # a file of ZFS as a whole, not a pool
            here = root.source == "live"
            why = f"'zpool get' reported nothing about {pool}" if here else "only the machine itself can be asked"
            text = root.output("zpool", "get", "-H", "-o", "value", self.property, pool)
            now = normal(text) if text else None
            where = f"pool {pool} {self.property}"
            yield Setting(where=where, target=pool, now=now, why="" if now else why)

    def places(self, where: str, wanted: str, host: Host, disturbs: Sequence[str] = ()) -> Iterator[Place]:
        name = where.removeprefix("pool ")
        if DEVICE.fullmatch(name.rpartition(" ")[0]):
            yield Place(kind="pool", name=name, wanted=wanted)

    def known(self, disturbs: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        yield "pool", f"{WORD}* {self.property}"
