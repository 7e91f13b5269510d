"""Resource limits of login sessions. No script sets them, since they act on later logins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwdiag.audit.kind import Kind, Place
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting, resource_limit


class ResourceLimit(Kind):
    """Soft limit of a resource for processes like this one (getrlimit(2)), in the units of limits.conf(5)."""

    name = "limit"
    means = {"limits": "/etc/security/limits.d/99-hwdiag.conf"}

    resource: str
    """As /proc/self/limits calls it."""
    item: str
    """As limits.conf(5) calls it."""
    unit: int = 1
    """How many of the kernel's units make one of limits.conf's: 1024 where that counts in kB."""
    both: bool = False
    """Set the hard limit along with the soft one."""

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        found = resource_limit(root, self.resource)
        if found is not None:
            now = "unlimited" if found[0] is None else str(found[0] // self.unit)
            yield Setting(where=f"limit {self.resource}", now=now)

    def places(self, where: str, wanted: str, host: Host, disturbs: Sequence[str] = ()) -> Iterator[Place]:
        yield Place(kind="limit", name=where.removeprefix("limit "), wanted=wanted)

    def line(self, means: str, place: Place) -> str:
        """Return the line of limits.conf(5), for logins only. A service takes LimitNOFILE= and LimitMEMLOCK= of its
        unit."""
        kind = "-" if self.both else "soft"
        return f"* {kind} {self.item} {place.wanted}\nroot {kind} {self.item} {place.wanted}"
