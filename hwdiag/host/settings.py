"""Tunables of the host as they are now, through a Root: the one place that reads them, for facts and for the audit.

Values have one form for reading, comparing and writing: the chosen word of ``always [madvise] never``, single blanks
between numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from hwdiag.core.value import Value
from hwdiag.host.root import Root

MAX_TEXT = 4096
"""A kernel attribute is one page at most."""

# Files that both facts and entries of the audit are about

CPU = "/sys/devices/system/cpu"
POLICY = f"{CPU}/cpufreq/policy*"
CPU_POLICY = f"{CPU}/cpu*/cpufreq"
"""Where Linux before 4.3 has what is in ``POLICY``."""
GOVERNOR = (f"{POLICY}/scaling_governor", f"{CPU_POLICY}/scaling_governor")
NO_TURBO = f"{CPU}/intel_pstate/no_turbo"
BOOST = f"{CPU}/cpufreq/boost"
POLICY_BOOST = (f"{POLICY}/boost", f"{CPU_POLICY}/boost")
HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
SCHEDULER, READ_AHEAD = "queue/scheduler", "queue/read_ahead_kb"
"""In a disk's folder."""
LIMITS = "/proc/self/limits"
OPEN_FILES, LOCKED_MEMORY = "Max open files", "Max locked memory"


class Setting(Value):
    """One place that holds a setting, and what it is set to."""

    where: str
    """The file, or the interface in words that name it: ``gpu GPU-473d8d0f persistence_mode``."""
    target: str = ""
    """The part of the host that it belongs to (``sda``, ``policy0``, ``GPU 0``); empty for the whole host."""
    now: str | None = None
    offered: tuple[str, ...] = ()
    """What else it could be, where the place lists it: ``always``, ``madvise``, ``never``."""
    why: str = ""
    """Why it is not known, in a clause."""


def normal(text: str) -> str:
    """Return the word in brackets, ``madvise`` of ``always [madvise] never``, otherwise the text with single blanks."""
    chosen = re.search(r"\[([^\[\]\s]+)\]", text)
    return chosen[1] if chosen else " ".join(text.split())


def choices(text: str) -> tuple[str, ...]:
    """Return the words of ``always [madvise] never``; nothing where none is in brackets."""
    return tuple(re.sub(r"[\[\]]", "", text).split()) if re.search(r"\[[^\[\]\s]+\]", text) else ()


def read_files(root: Root, *patterns: str) -> tuple[Setting, ...]:
    """Return the settings in the files of the first pattern that matches any. ``*`` is any one name in a path."""
    for pattern in patterns:
        found = [_read(root, path, "/".join(matched)) for path, matched in _expand(root, pattern)]
        if found:
            return tuple(found)
    return ()


def read_file(root: Root, path: str) -> str | None:
    """Return what one file is set to; None where it is missing, empty or cannot be read."""
    return _read(root, path, "").now or None


def read_number(root: Root, path: str) -> int | None:
    """Return the number that one file is set to."""
    now = read_file(root, path)
    if now is None or now.isdecimal():
        return None if now is None else int(now)
    root.note(path, f"not a number: {now[:40]!r}")
    return None


def _read(root: Root, path: str, target: str) -> Setting:
    text = root.text(path, MAX_TEXT)
    why = "" if text is not None else next((g.why for g in root.gaps if g.what == path), "not readable")
    now, offered = (None, ()) if text is None else (normal(text), choices(text))
    return Setting(where=path, target=target, now=now, offered=offered, why=why)


def _expand(root: Root, pattern: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Return the paths that match and exist, with what each wildcard stood for."""
    found: list[tuple[str, tuple[str, ...]]] = [("", ())]
    parts = pattern.strip("/").split("/")
    for part in parts:
        if "*" not in part:
            found = [(f"{path}/{part}", matched) for path, matched in found]
            continue
        found = [
            (f"{path}/{name}", (*matched, name))
            for path, matched in found
            for name in _numbered(root.names(path or "/"))
            if fnmatchcase(name, part)
        ]
    return ((path, matched) for path, matched in found if root.exists(path))


def _numbered(names: Iterable[str]) -> list[str]:
    """Return the names sorted, ``policy2`` before ``policy10``."""
    return sorted(names, key=lambda n: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", n)])


def resource_limit(root: Root, name: str) -> tuple[int | None, int | None] | None:
    """Return soft and hard limit of a resource for processes like this one (proc(5)), None inside for unlimited."""
    text = root.text(LIMITS) or ""
    match = re.search(rf"^{re.escape(name)}\s+(\d+|unlimited)\s+(\d+|unlimited)\b", text, re.MULTILINE)
    if match is None:
        return None
    soft, hard = (None if word == "unlimited" else int(word) for word in match.groups())
    return soft, hard


_ESCAPE = re.compile(r"\\([0-7]{3})")


def mounts(root: Root) -> tuple[tuple[str, str, str, tuple[str, ...]], ...]:
    """Return the mount point, type, source and options of every mount (proc(5), mountinfo), escapes undone."""
    found = []
    for line in (root.text("/proc/self/mountinfo") or "").splitlines():
        left, dash, right = line.partition(" - ")
        fields, more = left.split(" "), right.split(" ")
        if dash and len(fields) >= 6 and len(more) >= 2:
            place, device = (_ESCAPE.sub(lambda m: chr(int(m[1], 8)), word) for word in (fields[4], more[1]))
            found.append((place, more[0], device, tuple(fields[5].split(","))))
    return tuple(found)


def is_active(root: Root, unit: str) -> bool:
    """Return whether systemd runs this unit now (it keeps a link for each that it started)."""
    return root.exists(f"/run/systemd/units/invocation:{unit}")
