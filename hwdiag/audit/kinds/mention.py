"""Settings that the person's own files would make at boot: shown, never set."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hwdiag.audit.kind import Kind
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting, normal


class Mention(Kind):
    """The first line of each of these files that says something: what a boot would set."""

    name = "mention"

    folders: tuple[str, ...]
    """Folders of ``*.conf`` and ``*.rules`` files, or files themselves."""
    pattern: str
    """Regular expression of the line's beginning."""

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        wanted = re.compile(self.pattern)
        for folder in self.folders:
            names = [f"{folder}/{n}" for n in root.names(folder) if n.endswith((".conf", ".rules"))] or [folder]
            for path in names:
                line = next((x for x in (root.text(path) or "").splitlines() if wanted.match(x.strip())), None)
                if line is not None:
                    yield Setting(where=path, now=normal(line)[:200])
