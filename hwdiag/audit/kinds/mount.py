"""Access times of mounted file systems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwdiag.audit.kind import Kind, Place
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting, mounts

_ON_DISK = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"})


class AccessTimes(Kind):
    """``noatime``, ``relatime`` or ``strictatime`` of each mounted file system on a disk (mount(8))."""

    name = "mount"

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        for place, kind, _device, options in mounts(root):
            if kind in _ON_DISK and "ro" not in options:
                mode = next((o for o in ("noatime", "relatime") if o in options), "strictatime")
                yield Setting(where=f"mount {place}", target=place, now=mode)

    def places(self, where: str, wanted: str, host: Host, disturbs: Sequence[str] = ()) -> Iterator[Place]:
        yield Place(kind="mount", name=where.removeprefix("mount "), wanted=wanted)

    def known(self, disturbs: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        yield "mount", "/*"
