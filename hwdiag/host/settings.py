"""Settings as they are now: the one place that knows how a setting of each kind is read, through a Root.

What is read is said by the caller (``audit.knobs``), so that a new setting needs nothing here. Values have one form
for reading, comparing and writing: the chosen word of ``always [madvise] never``, single blanks between numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from hwdiag.core.value import Value
from hwdiag.host.model import Gpu, Host
from hwdiag.host.root import Root

MAX_TEXT = 4096
"""A kernel attribute is one page at most."""


class Setting(Value):
    """One place that holds a setting, and what it is set to."""

    where: str
    """The file, or the interface in words that name it: ``gpu GPU-473d8d0f persistence_mode``."""
    target: str = ""
    """The part of the host that it belongs to (``sda``, ``policy0``, ``GPU 0``); empty for the whole host."""
    now: str | None = None
    why: str = ""
    """Why it is not known, in a clause."""


# Where settings are


class Files(Value):
    """Kernel files. ``*`` stands for any one name in a path; what it matched is the target."""

    path: str
    of_disks: bool = False
    """Take only disks that hold data as targets, no loop devices and the like."""


class GpuFact(Value):
    """One attribute of each GPU, as NVML tells it."""

    fact: str
    """Attribute of ``host.model.Gpu``."""
    field: str
    """What ``nvidia-smi --query-gpu`` calls it."""


class AccessTimes(Value):
    """``noatime``, ``relatime`` or ``strictatime`` of each mounted file system on a disk (mount(8))."""


class UnitState(Value):
    """Whether a systemd unit is enabled: ``enabled`` or ``disabled``; unknown where it is not installed."""

    unit: str


class ResourceLimit(Value):
    """Soft limit of a resource for processes like this one (getrlimit(2)), in the units of limits.conf(5)."""

    name: str
    """As /proc/self/limits calls it."""
    unit: int = 1
    """How many of the kernel's units make one of limits.conf's: 1024 where that counts in kB."""


class PoolProperty(Value):
    """A property of each ZFS pool (zpoolprops(7))."""

    property: str


class Mention(Value):
    """The first file among these that says something: what a boot would set."""

    folders: tuple[str, ...]
    """Folders of ``*.conf`` and ``*.rules`` files, or files themselves."""
    pattern: str
    """Regular expression of the line's beginning."""


class Unread(Value):
    """Nothing tells its value."""

    why: str


Source = Files | GpuFact | AccessTimes | UnitState | ResourceLimit | PoolProperty | Mention | Unread


def read_settings(root: Root, source: Source, host: Host) -> tuple[Setting, ...]:
    """All places of this kind that are there, in the order of their names. Never raises for what it finds."""
    return tuple(_READERS[type(source)](root, source, host))


def normal(text: str) -> str:
    """``madvise`` of ``always [madvise] never``; otherwise the text with single blanks, without ends."""
    chosen = re.search(r"\[([^\[\]\s]+)\]", text)
    return chosen[1] if chosen else " ".join(text.split())


# How they are read


def _files(root: Root, source: Files, host: Host) -> Iterator[Setting]:
    disks = {d.name for d in host.disks}
    for path, matched in _expand(root, source.path):
        target = "/".join(matched)
        if source.of_disks and target not in disks:
            continue
        text = root.text(path, MAX_TEXT)
        why = "" if text is not None else next((g.why for g in root.gaps if g.what == path), "not readable")
        yield Setting(where=path, target=target, now=None if text is None else normal(text), why=why)


def _expand(root: Root, pattern: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The paths that match and exist, with what each wildcard stood for."""
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
    """Sorted, ``policy2`` before ``policy10``."""
    return sorted(names, key=lambda n: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", n)])


def _gpu_facts(_: Root, source: GpuFact, host: Host) -> Iterator[Setting]:
    for gpu in host.gpus:
        value = getattr(gpu, source.fact)
        where = f"gpu {gpu_id(gpu)} {source.field}"
        why = "" if value is not None else "this GPU or its driver does not tell it"
        yield Setting(where=where, target=f"GPU {gpu.index}", now=_gpu_word(value), why=why)


def gpu_id(gpu: Gpu) -> str:
    """What names a GPU best: a UUID stays with the board, an index does not."""
    return gpu.uuid or gpu.bus_id or str(gpu.index)


def _gpu_word(value: object) -> str | None:
    """As nvidia-smi prints it."""
    if isinstance(value, bool):
        return "Enabled" if value else "Disabled"
    if isinstance(value, float):
        return f"{value:.2f}"
    return None if value is None else str(value)


_ON_DISK = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"})
_ESCAPE = re.compile(r"\\([0-7]{3})")


def mounts(root: Root) -> tuple[tuple[str, str, str, tuple[str, ...]], ...]:
    """Mount point, type, source and options of every mount (proc(5), mountinfo), escapes undone."""
    found = []
    for line in (root.text("/proc/self/mountinfo") or "").splitlines():
        left, dash, right = line.partition(" - ")
        fields, more = left.split(" "), right.split(" ")
        if dash and len(fields) >= 6 and len(more) >= 2:
            place, device = (_ESCAPE.sub(lambda m: chr(int(m[1], 8)), word) for word in (fields[4], more[1]))
            found.append((place, more[0], device, tuple(fields[5].split(","))))
    return tuple(found)


def _access_times(root: Root, _: AccessTimes, __: Host) -> Iterator[Setting]:
    for place, kind, _device, options in mounts(root):
        if kind in _ON_DISK and "ro" not in options:
            mode = next((o for o in ("noatime", "relatime") if o in options), "strictatime")
            yield Setting(where=f"mount {place}", target=place, now=mode)


_WANTS = tuple(f"/etc/systemd/system/{t}.target.wants" for t in ("multi-user", "timers", "graphical", "default"))
_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


def _unit(root: Root, source: UnitState, _: Host) -> Iterator[Setting]:
    if any(root.exists(f"{folder}/{source.unit}") for folder in _UNITS):
        enabled = any(root.exists(f"{folder}/{source.unit}") for folder in _WANTS)
        yield Setting(where=f"unit {source.unit}", now="enabled" if enabled else "disabled")


def is_active(root: Root, unit: str) -> bool:
    """Whether systemd runs this unit now (it keeps a link for each that it started)."""
    return root.exists(f"/run/systemd/units/invocation:{unit}")


def _limit(root: Root, source: ResourceLimit, _: Host) -> Iterator[Setting]:
    text = root.text("/proc/self/limits") or ""
    match = re.search(rf"^{re.escape(source.name)}\s+(\d+|unlimited)\s+(\d+|unlimited)\b", text, re.MULTILINE)
    if match:
        now = match[1] if match[1] == "unlimited" else str(int(match[1]) // source.unit)
        yield Setting(where=f"limit {source.name}", now=now)


def _pools(root: Root, source: PoolProperty, _: Host) -> Iterator[Setting]:
    for name in root.names("/proc/spl/kstat/zfs"):
        if not root.exists(f"/proc/spl/kstat/zfs/{name}/state"):
            continue  # a file of ZFS as a whole, not a pool
        text = root.output("zpool", "get", "-H", "-o", "value", source.property, name)
        now = normal(text) if text else None
        yield Setting(where=f"pool {name} {source.property}", target=name, now=now, why="" if now else "zpool failed")


def _mention(root: Root, source: Mention, _: Host) -> Iterator[Setting]:
    wanted = re.compile(source.pattern)
    for folder in source.folders:
        names = [f"{folder}/{n}" for n in root.names(folder) if n.endswith((".conf", ".rules"))] or [folder]
        for path in names:
            line = next((x for x in (root.text(path) or "").splitlines() if wanted.match(x.strip())), None)
            if line is not None:
                yield Setting(where=path, now=normal(line)[:200])


def _unread(_: Root, __: Unread, ___: Host) -> Iterator[Setting]:
    yield from ()


_READERS: dict[type[Value], Callable[[Root, Any, Host], Iterator[Setting]]] = {
    Files: _files,
    GpuFact: _gpu_facts,
    AccessTimes: _access_times,
    UnitState: _unit,
    ResourceLimit: _limit,
    PoolProperty: _pools,
    Mention: _mention,
    Unread: _unread,
}
