"""Kinds of host settings: how one is read, named in a script, and kept over a reboot.

A kind is a module of ``audit.kinds``, and the part of the scripts beside it: ``NAME.sh`` defines ``get_NAME`` and
``put_NAME``. A kind without that part is read, and perhaps kept, but never set by a script.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import ClassVar

from hwdiag.core.value import Value
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting

OURS = "# Written by make_persistent.sh of hwdiag, which also removes it: 'make_persistent.sh uninstall'."


class Place(Value):
    """One thing to set, in the words of the script: ``file /proc/sys/vm/swappiness 10``."""

    kind: str
    """The word of the script for its kind, or a variable of the script that holds it."""
    name: str
    wanted: str = ""
    sides: tuple[Place, ...] = ()
    """What the kernel changes along with it."""

    @property
    def told(self) -> str:
        """Return what the script and its journal call it: its name, and what tells it from another of that name."""
        return self.name


class PersistentFile(Value):
    """One file that install writes: a text, what a shell body prints, or a copy of a script."""

    path: str
    mode: str = "644"
    text: str = ""
    body: str = ""
    """Lines of the shell function that prints it."""
    part: str = ""
    """The part of ``audit.kinds`` that the body calls: ``disk_rule`` for ``disk_rule.sh``."""
    script: str | None = None
    """One that is copied from beside make_persistent.sh."""
    checksum: str = ""

    @property
    def function(self) -> str:
        return "file_" + "".join(c if c.isalnum() else "_" for c in self.path.strip("/")).replace("__", "_")


class Kind(Value):
    """One kind of settings. Subclasses have fields that tell one entry's settings from another's."""

    name: ClassVar[str]
    """The first word of its places, and the name of its part of the scripts."""
    needs: ClassVar[str] = ""
    """A tool that its part of the scripts calls, and that not every host has."""
    means: ClassVar[Mapping[str, str]] = {}
    """Means of its own to keep a value over a reboot, each with the file that it writes."""

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        """Yield all settings of this kind that are there, by name. Never raises for what it finds."""
        raise NotImplementedError

    def places(self, where: str, wanted: str, host: Host, disturbs: Sequence[str] = ()) -> Iterator[Place]:
        """Yield a setting's place in the words of the script; nothing where its name is not one that it can have.

        ``disturbs`` are the entry's files that the kernel changes along with it.
        """
        yield from ()

    def known(self, disturbs: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        """Yield the script's word and a shell pattern for all places that it can have: others, in a journal, are not
        touched."""
        yield self.name, "*"

    def glob(self, where: Sequence[str]) -> str | None:
        """Return the pattern that stands for all these places in a script; None where each is named."""
        return None

    def condition(self, asked: str) -> str | None:
        """Return the command that tells whether ``$file`` of the pattern is meant, by what the person asked for."""
        return None

    @property
    def is_told(self) -> bool:
        """Return whether something tells the present value."""
        return True

    def line(self, means: str, place: Place) -> str:
        """Return the line that keeps one place, in the file of this means."""
        raise NotImplementedError

    @classmethod
    def keep(cls, means: str, kept: Sequence[tuple[Kind, Place]]) -> PersistentFile:
        """Return the file that keeps these places by one of the kind's means."""
        lines = (source.line(means, place) for source, place in kept)
        return PersistentFile(path=cls.means[means], text="\n".join([OURS, *lines]))

    def tuned(self, name: str, wanted: str, *, is_pattern: bool) -> tuple[str, str, str] | None:
        """Return section, key and value of a TuneD profile for a place or a pattern; None where TuneD cannot set it."""
        return None


@cache
def part(name: str) -> str:
    """Return a kind's part of the scripts; empty where it has none."""
    file = resources.files("hwdiag.audit.kinds") / f"{name}.sh"
    return file.read_text(encoding="utf-8") if file.is_file() else ""
