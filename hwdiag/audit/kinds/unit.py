"""Units of systemd: whether they are started at boot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hwdiag.audit.kind import Kind, Place
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting

DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:!@+-]*")
"""Names of devices, pools and units that a script may hold."""
WORD = "[A-Za-z0-9]"
"""The shell's pattern of their first character."""

_WANTS = tuple(f"/etc/systemd/system/{t}.target.wants" for t in ("multi-user", "timers", "graphical", "default"))
_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


class UnitState(Kind):
    """The state of a systemd unit: ``enabled`` or ``disabled``; unknown where it is not installed."""

    name = "unit"

    unit: str

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        if any(root.exists(f"{folder}/{self.unit}") for folder in _UNITS):
            enabled = any(root.exists(f"{folder}/{self.unit}") for folder in _WANTS)
            yield Setting(where=f"unit {self.unit}", now="enabled" if enabled else "disabled")

    def places(self, where: str, wanted: str, host: Host, disturbs: Sequence[str] = ()) -> Iterator[Place]:
        unit = where.removeprefix("unit ")
        if DEVICE.fullmatch(unit):
            yield Place(kind="unit", name=unit, wanted=wanted, sides=(Place(kind="active", name=unit),))

    def known(self, disturbs: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        yield from (("unit", self.unit), ("active", self.unit))
