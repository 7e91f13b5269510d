"""Way: one way in which people start programs, such as a Slurm job, and the files that start a measured Plan that way.

Each is a module of ``tune/ways/`` with its ``WAY``; the folder is the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

from hwdiag import __version__
from hwdiag.core.files import File
from hwdiag.core.finding import Recommendation
from hwdiag.core.jinja import one_line
from hwdiag.host.cpulist import format_cpulist
from hwdiag.host.model import Host
from hwdiag.process.launch import Launch

PLACEHOLDER = ("python3", "/path/to/your/program.py")
IMAGE = "registry.example/your-image:tag"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPLITS = re.compile(r"[\s:]")
"""Characters that end a path in LD_PRELOAD and PYTHONPATH."""


@dataclass(frozen=True)
class Start:
    """One measured Plan and the program that it starts."""

    launch: Launch
    recommendation: Recommendation
    host: Host
    """The Plan was measured on it."""
    scripts: PurePath
    """The run's folder of scripts, absolute, with launch.sh and the libraries that it preloads."""
    made_at: str
    """UTC, ISO 8601."""
    command: tuple[str, ...] = ()
    """The person's; empty where it is not known."""
    folder: PurePath | None = None
    """The folder that the command is started in."""
    image: str = IMAGE
    """Of containers."""
    settings: str = ""
    """The file that the program imports for what is within it; empty where that is nothing."""
    peak_bytes: int | None = None
    """The most memory that a process was seen to take under the Plan."""

    @property
    def words(self) -> tuple[str, ...]:
        """Return the command, or a place for it."""
        return self.command or PLACEHOLDER

    @property
    def members(self) -> tuple[Launch, ...]:
        """Return the Launch of each process that runs at the same time."""
        return self.launch.members

    @property
    def libraries(self) -> tuple[str, ...]:
        """Return the paths of what is preloaded, in the order in which LD_PRELOAD has them."""
        beside = [str(self.scripts / PurePath(path).name) for path in self.launch.preload]
        return (*reversed(beside), *([self.launch.allocator.path] if self.launch.allocator else []))

    @property
    def python_path(self) -> str:
        """Return the folder in front of PYTHONPATH; empty where there is none."""
        return str(self.scripts / "switches") if self.launch.python_path else ""

    @property
    def unset(self) -> tuple[str, ...]:
        """Return the variables that are taken away."""
        return tuple(filter(_NAME.fullmatch, self.launch.unset))

    @cached_property
    def paths(self) -> dict[str, str]:
        """Return LD_PRELOAD and PYTHONPATH, as far as they are set: what goes in front of inherited ones."""
        found = {"LD_PRELOAD": ":".join(filter(plain, self.libraries)), "PYTHONPATH": self.python_path}
        return {name: value for name, value in found.items() if value and (name != "PYTHONPATH" or plain(value))}

    @property
    def environment(self) -> dict[str, str]:
        """Return all variables that are set, in the order of their names: those that a shell can set."""
        every = {**self.launch.environment(), **self.paths}
        return {name: every[name] for name in sorted(every) if _NAME.fullmatch(name)}

    def cpus(self, member: Launch) -> int:
        """Return the number of logical CPUs that one process needs: those it is bound to, its threads', or all that it
        was measured with."""
        if member.cpus is not None:
            return len(member.cpus)
        return member.threads or max(1, len(self.host.usable_cpus))

    @property
    def is_bound(self) -> bool:
        """Return whether processes run on CPUs of given numbers."""
        return any(member.cpus is not None for member in self.members)

    @property
    def binds_memory(self) -> bool:
        """Return whether a memory policy was chosen, which is the case only where it was measured to pay."""
        return any(member.memory is not None for member in self.members)

    def header(self, mark: str = "#") -> str:
        """Return the first lines of a file: what it is, of which host, and what it leaves to the person."""
        return "".join(f"{mark} {one_line(line)}\n" for line in (*self._about(), *self.notes()))

    def _about(self) -> Iterator[str]:
        r = self.recommendation
        how = "as it runs today" if r.plan is None else "the way that it needs"
        if r.speedup is not None:
            how = "the way that was fastest"
        yield f"Starts a program {how} on {self.host.label}, as hwdiag {__version__} measured ({self.made_at})."
        yield r.title
        if not (self.settings and self.launch.is_default):
            yield f"It sets: {self.launch.describe()}"
        if not self.command:
            yield f"Put your own command in the place of: {' '.join(PLACEHOLDER)}"

    def notes(self) -> Iterator[str]:
        """Yield what no way of starting can set, a sentence each."""
        if self.launch.interop_threads:
            count = self.launch.interop_threads
            yield f"Begin the program with torch.set_num_interop_threads({count}): no variable sets it."
        if self.settings:
            yield f"The program imports {self.settings}, which lies in {self.scripts}."
        for path in (*self.libraries, self.python_path):
            if path and not plain(path):
                yield f"Left out: {path}, which has a space or a colon: start the program by launch.sh, which copes."
        if self.recommendation.risk:
            yield f"Mind: {self.recommendation.risk}"


@dataclass(frozen=True)
class Way:
    """One way to start programs."""

    name: str
    """``slurm``: a word of ``--for``, and a folder below scripts/."""
    title: str
    files: Callable[[Start], Iterator[File]]
    """Yields the files, with paths below the way's folder."""


def plain(path: str) -> bool:
    """Return whether LD_PRELOAD and PYTHONPATH can hold a path."""
    return not _SPLITS.search(path)


def nodes_of(members: tuple[Launch, ...]) -> str:
    """Return the NUMA nodes that the memory of all processes comes from, as a list; empty where no policy says so."""
    return format_cpulist(tuple(sorted({n for m in members if m.memory is not None for n in m.memory.nodes})))


def cpus_of(members: tuple[Launch, ...]) -> str:
    """Return the CPUs of all processes as a list; empty where none is bound."""
    return format_cpulist(tuple(sorted({c for m in members if m.cpus is not None for c in m.cpus})))


def numactl(member: Launch) -> tuple[str, ...]:
    """Return the command that sets a process's memory policy alone; empty where it has none."""
    return member.model_copy(update={"cpus": None}).binding() if member.memory is not None else ()
