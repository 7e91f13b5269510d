"""Judges the variables of a process by their values and effects, as findings and checks."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import TypedDict

from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import listed, plural
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.process.environment.model import Effect, Inherited, ProcessContext, Reader
from hwdiag.process.environment.registry import PRESENT, has_pool, known_variable
from hwdiag.process.model import Software

TITLE = "Inherited variables that mislead the numeric libraries"
NAMED = 12
"""Variables in order that are named."""


def judged(name: str, value: str, context: ProcessContext) -> Effect | None:
    """Return what a variable does wrong in this process; None where it is in order, or not known."""
    known = known_variable(name)
    if known is None:
        return None
    it = Inherited(name, value, context)
    if known.reader == "nothing":
        return Effect(state="ignored", severity="note", title=f"{it.shown} is inherited, and nothing reads it",
                      why=known.effect)  # fmt: skip
    if context.has(known.reader) is False and known.reader != "libmkl_rt":
        return Effect(
            state="ignored",
            severity="note",
            title=f"{it.shown} is inherited, and nothing here reads it",
            why=f"Only {known.reader} reads it, which is not in this process: it has no effect.",
        )
    if known.judge is not None:
        return known.judge(it)
    if known.harmless or not known.does or value.strip().lower() in known.off:
        return None
    return Effect(
        state="in effect", severity=known.severity, title=f"{it.shown} is in effect: {known.does}", why=known.advice
    )


def effects(context: ProcessContext) -> dict[str, Effect | None]:
    """Return how each known variable of a process acts, None for what is in order."""
    return {
        name: judged(name, value, context)
        for name, value in context.environment.items()
        if known_variable(name) is not None
    }


def about_variables(
    context: ProcessContext,
    *,
    origin: Callable[[str, str], str] = lambda name, value: "",
    evidence: str = "software.environment",
) -> Iterator[Finding | Check]:
    """Yield a finding for each variable that misleads, and a check that names those that were judged to be in order.

    Args:
        context: the process's.
        origin: gives a sentence on where a variable of this value came from, or nothing.
        evidence: path of the variables in the record.
    """
    found = effects(context)
    for name, effect in found.items():
        if effect is not None:
            yield finding(name, effect, origin(name, context.environment[name]), evidence)
    fine = [name for name, effect in found.items() if effect is None]
    if any(effect is not None and effect.severity != "note" for effect in found.values()):
        return
    named = [f"{name}={context.environment[name][:40]}" for name in fine[:NAMED]]
    yield Check(
        id="environment",
        state="fine",
        title=f"{plural(len(found), 'inherited variable')} of numeric libraries judged by value: none misleads them"
        if found
        else "No variable that numeric libraries read is set",
        detail=f"In order: {listed(named)}." if named else "",
    )


def finding(name: str, effect: Effect, origin: str, evidence: str) -> Finding:
    """Return the finding about a variable's effect."""
    known = known_variable(name)
    source = f" (Source: {known.source}.)" if known is not None else ""
    away = f"Take it away with `unset {name}` in the shell, or for one start with `env -u {name} COMMAND`."
    parts = (effect.why, origin, effect.remedy or away)
    return Finding(
        id=f"inherited-{slug(name)}",
        severity=effect.severity,
        title=effect.title,
        detail=" ".join(part for part in parts if part) + source,
        evidence=(f"{evidence}.{name}",),
    )


def slug(name: str) -> str:
    return name.lower().replace("_", "-").strip("-")


# What a variable is judged by


def host_context(
    host: Host, environment: Mapping[str, str], *, software: Software | None = None, processes: int = 1
) -> ProcessContext:
    """Return the context of a process that is started here, as far as ``software`` saw one; of this host only."""
    seen = software if software is not None and software.outcome.ok else None
    return ProcessContext(
        environment=environment,
        cpus=host.usable_cpus,
        cores=len(host.usable_cores) or len(host.usable_cpus),
        quota=host.limits.cpu_quota,
        arch=host.system.arch,
        flags=host.cpu.flags or None,
        gpus=len(host.accelerators) or None,
        processes=processes,
        readers={} if seen is None else readers_of(seen),
        libraries=None if seen is None else seen.libraries,
        threads=None if seen is None else seen.threads,
        thread_limit=None if seen is None else seen.thread_limit,
        main_cpus=None if seen is None else seen.main_cpus,
        capability=None if seen is None else seen.cpu_capability,
        **system_facts(environment),
    )


class SystemFacts(TypedDict):
    """The facts of this host's kernel, loader and PATH that variables ask for."""

    loadavg: float | None
    glibc: tuple[int, int] | None
    tunables: frozenset[str] | None
    commands: frozenset[str]


def system_facts(environment: Mapping[str, str]) -> SystemFacts:
    """Return what the host says that some variables are judged by."""
    return {
        "loadavg": os.getloadavg()[2] if "OMP_DYNAMIC" in environment else None,
        "glibc": glibc_version() if "MALLOC_CHECK_" in environment else None,
        "tunables": known_tunables() if "GLIBC_TUNABLES" in environment else None,
        "commands": named_commands(environment),
    }


def readers_of(software: Software) -> dict[Reader, bool]:
    """Return which readers of variables this PyTorch has loaded."""
    return {
        **{reader: is_there(software) for reader, is_there in PRESENT.items()},
        "OpenBLAS": has_pool(software, "OpenBLAS"),
        "libmkl_rt": any(p.name == "MKL" and p.path is not None for p in software.pools),
    }


RUNTIMES: tuple[tuple[Reader, str], ...] = (
    ("libgomp", r"libgomp[-.\w]*\.so"),
    ("libiomp5 or libomp", r"lib(iomp5|omp)[-.\w]*\.so"),
    ("libmkl_rt", r"libmkl_rt[-.\w]*\.so"),
    ("OpenBLAS", r"lib(scipy_)?openblas[-.\w]*\.so"),
)
"""File names by which readers are known."""


def readers_mapped(libraries: Iterable[str]) -> dict[Reader, bool]:
    """Return which readers are among mapped files; of those that are linked into others, nothing is told."""
    names = [PurePath(path).name for path in libraries]
    return {reader: any(re.match(pattern, name) for name in names) for reader, pattern in RUNTIMES}


def named_commands(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the compilers that variables name and that are on PATH."""
    named = {words[0] for name in ("CC", "CXX") if (words := environment.get(name, "").split())}
    path = environment.get("PATH") or os.environ.get("PATH", os.defpath)
    return frozenset(word for word in named if shutil.which(word, path=path))


def glibc_version() -> tuple[int, int] | None:
    """Return the version of this process's glibc; None where it is another C library."""
    try:
        said = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return None
    match = re.search(r"glibc (\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else None


def known_tunables() -> frozenset[str] | None:
    """Return the names that the dynamic loader lists; None where it cannot be asked (before glibc 2.33)."""
    for loader in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
        if Path(loader).exists():
            said = Root.live().output(loader, "--list-tunables") or ""
            names = frozenset(re.findall(r"^(glibc\.\S+?):", said, re.MULTILINE))
            return names or None
    return None
