"""Settings that nothing tells: their entries say what is known, and are never set."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.audit.kind import Kind
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting


class Unread(Kind):
    """Nothing tells its value."""

    name = "unread"

    why: str

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        yield from ()
