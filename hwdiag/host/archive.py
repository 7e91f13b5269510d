"""Snapshots as files: a gzipped tar of what the readers read, and the one door through which a stranger's is opened.

Inside are regular files under root-relative names (``proc/cpuinfo``) and ``hwdiag-snapshot.json``, the manifest.
Nothing is ever unpacked to the disk; whatever else an archive holds, and whatever is larger than ours get, is refused.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from pydantic import ValidationError

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.outside import OutsideError, parse_json, read_file, user_path
from hwdiag.core.text import now
from hwdiag.core.value import Value
from hwdiag.host.cpulist import CpuList
from hwdiag.host.model import Gap, Gpu
from hwdiag.host.root import Outside, Root

MANIFEST = "hwdiag-snapshot.json"
SCHEMA_VERSION: Literal[1] = 1

MAX_ENTRIES = 100_000
"""A host of 512 CPUs gives 10,000 files."""
MAX_FILE_BYTES = 32 << 20
"""The largest file that a reader asks for, /proc/cpuinfo of 4,096 CPUs, is 8 MiB."""
MAX_PACKED_BYTES = 64 << 20
"""Of the archive's file. A host of 512 CPUs gives 300 kB."""
MAX_TOTAL_BYTES = 256 << 20
"""Uncompressed, with the headers of all entries. A host of 512 CPUs gives 15 MiB."""


class Uname(Value):
    """The answer of uname(2), without the host's name unless that was asked for."""

    system: str = "Linux"
    node: str = ""
    release: str = ""
    machine: str = ""


class Failure(Value):
    """An answer that was an error."""

    number: int
    """``errno``."""
    text: str


class Manifest(Value):
    """The content of a snapshot beside its files' texts."""

    schema_version: Literal[1] = SCHEMA_VERSION
    made_by: str
    """hwdiag's version."""
    made_at: str
    """UTC, ISO 8601."""
    with_names: bool = False
    """Whether host name, serial numbers and the like were left in."""
    uname: Uname | None = None
    affinity: CpuList | None = None
    page_bytes: int | None = None
    shared_memory: tuple[int, int] | None = None
    """Size and free bytes of /dev/shm."""
    compilers: tuple[str, ...] | None = None
    """Of those that were looked for, the ones on PATH."""
    gpus: tuple[Gpu, ...] = ()
    gpu_note: str | None = None
    gpu_gaps: tuple[Gap, ...] = ()
    """Why GPUs could not be asked."""
    folders: dict[str, tuple[str, ...]] = {}
    """Names in the directories that were listed."""
    links: dict[str, str] = {}
    present: tuple[str, ...] = ()
    """Paths that were only asked about, and are there."""
    failures: dict[str, Failure] = {}
    """Files and directories that are there but could not be read."""
    outputs: dict[str, str] = {}
    """What programs printed, by their command line."""


class Archive(Root):
    """A snapshot in memory."""

    def __init__(self, manifest: Manifest, files: dict[str, bytes]) -> None:
        """Use ``open_archive``."""
        super().__init__("\0")  # no path leads from here to this machine's disk
        self.source = "snapshot"
        self.manifest = manifest
        self._files = {f"/{name}": data for name, data in files.items()}
        self._children: dict[str, set[str]] = {k: set(v) for k, v in manifest.folders.items()}
        for path in self._files:
            while path:
                path, _, name = path.rpartition("/")
                known = self._children.setdefault(path or "/", set())
                if name in known:
                    break  # and so are the folders above
                known.add(name)
        self._present = {*manifest.present, *manifest.links, *manifest.failures}

    def exists(self, path: str) -> bool:
        return path in self._files or path in self._children or path in self._present

    def link(self, path: str) -> str | None:
        return self.manifest.links.get(path)

    def output(self, *command: str) -> str | None:
        return self.manifest.outputs.get(" ".join(command))

    @property
    def uname(self) -> os.uname_result | None:
        found = self.manifest.uname
        return os.uname_result((found.system, found.node, found.release, "", found.machine)) if found else None

    @property
    def affinity(self) -> tuple[int, ...] | None:
        return self.manifest.affinity

    @property
    def page_bytes(self) -> int | None:
        return self.manifest.page_bytes

    @property
    def shared_memory(self) -> tuple[int, int] | None:
        return self.manifest.shared_memory

    def commands(self, *names: str) -> tuple[str, ...] | None:
        found = self.manifest.compilers
        return None if found is None else tuple(name for name in names if name in found)

    @property
    def gpus(self) -> tuple[tuple[Gpu, ...], str | None] | None:
        return self.manifest.gpus, self.manifest.gpu_note

    @property
    def gpu_gaps(self) -> tuple[Gap, ...]:
        return self.manifest.gpu_gaps

    @property
    def read_at(self) -> str:
        return self.manifest.made_at

    def _list(self, path: str) -> list[str]:
        if path not in self._children:
            raise self._why_not(path)
        return list(self._children[path])

    def _read(self, path: str, limit: int) -> bytes:
        if path not in self._files:
            raise self._why_not(path)
        return self._files[path][: limit + 1]

    def keep(self, path: str) -> None:
        """Return None, since a snapshot does not change."""
        self.note(path, "a snapshot does not change")

    def _why_not(self, path: str) -> OSError:
        failure = self.manifest.failures.get(path)
        return OSError(failure.number, failure.text) if failure else OSError(errno.ENOENT, "not in the snapshot")


class PackedDump(Archive):
    """A dump in memory: the archive of a folder with ``proc`` and ``sys`` in it, with links as the kernel has them.

    It lacks what a snapshot has in its manifest: uname, affinity, compilers, GPUs, programs' outputs.
    """

    def __init__(self, files: dict[str, bytes], folders: set[str], links: dict[str, str]) -> None:
        """Use ``open_archive``."""
        listed: dict[str, tuple[str, ...]] = {f"/{name}": () for name in folders}
        manifest = Manifest(made_by="", made_at=now(), links={f"/{k}": v for k, v in links.items()}, folders=listed)
        super().__init__(manifest, {**files, **dict.fromkeys(links, b""), **dict.fromkeys(folders, b"")})
        self._files = {f"/{name}": data for name, data in files.items()}
        self.source = "directory"

    def exists(self, path: str) -> bool:
        try:
            return super().exists(self._resolve(path))
        except Outside:
            return False

    def link(self, path: str) -> str | None:
        parent, _, name = path.rpartition("/")
        try:
            return super().link(f"{self._resolve(parent)}/{name}")
        except Outside:
            return None

    @property
    def gpus(self) -> None:
        return None

    def _list(self, path: str) -> list[str]:
        return super()._list(self._resolve(path) or "/")

    def _read(self, path: str, limit: int) -> bytes:
        return super()._read(self._resolve(path), limit)

    def _readlink(self, place: str) -> str:
        target = self.manifest.links.get(place)
        if target is None:
            raise OSError(errno.EINVAL, "no link")
        return target


# Reading a stranger's


class _Refused(Exception):
    """An error in an archive, in a clause."""


class _Bounded(io.RawIOBase):
    """The uncompressed bytes of an archive, up to a limit: also headers, which tarfile reads as long as they claim."""

    def __init__(self, inner: gzip.GzipFile, limit: int) -> None:
        self._inner = inner
        self._left = limit

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        data = self._inner.read(wanted)
        self._left -= len(data)
        if self._left < 0:
            raise _Refused(f"it is larger than {MAX_TOTAL_BYTES >> 20} MiB when uncompressed")
        return data


def open_root(path: str | os.PathLike[str] | None = None) -> Root:
    """Return the live machine without a path, a dump for a folder, a snapshot for a file.

    Raises:
        UsageError: there is nothing under this path, or it is no snapshot.
    """
    if path is None:
        return Root.live()
    place = user_path(path)
    if not place.exists():
        raise UsageError(f"there is no snapshot {place}")
    return Root.directory(place) if place.is_dir() else open_archive(place)


def open_archive(path: str | os.PathLike[str]) -> Archive:
    """Open a snapshot, whoever made it.

    Raises:
        UsageError: it cannot be read, is no snapshot, of another schema version, or refused for what it holds.
    """
    name = os.fspath(path)
    try:
        content = _content(io.BytesIO(read_file(path, MAX_PACKED_BYTES)))
        data = content.files.pop(MANIFEST, None)
        if data is None:
            return _dump(content)
        if content.links:
            raise _Refused(f"{next(iter(content.links))[:80]!r} is a link, and only plain files may be in it")
        return Archive(_manifest(data), content.files)
    except OutsideError as error:
        raise UsageError(f"snapshot {name} is refused: {error}") from None
    except _Refused as refused:
        raise UsageError(f"snapshot {name} is refused: {refused}") from None
    except OSError as error:
        raise UsageError(f"snapshot {name} cannot be read: {error.strerror or 'not a gzip file'}") from None
    except Exception as error:  # damaged in whatever way: tarfile, zlib and struct have many words for it
        raise UsageError(f"snapshot {name} is damaged, or not a gzipped tar: {type(error).__name__}") from None


@dataclass(frozen=True)
class _Content:
    """All that is in an archive, by names without ``./`` before and ``/`` behind them."""

    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)


def _content(file: BinaryIO) -> _Content:
    """Return all files, folders and symbolic links of the archive."""
    found = _Content()
    total = 0
    with (
        gzip.GzipFile(fileobj=file) as plain,
        tarfile.open(fileobj=_Bounded(plain, MAX_TOTAL_BYTES), mode="r|", errorlevel=2) as archive,
    ):
        for entry in archive:
            total += 1
            if total > MAX_ENTRIES:
                raise _Refused(f"it holds more than {MAX_ENTRIES} entries")
            shown, name = repr(entry.name[:80]), entry.name.removeprefix("./").rstrip("/")
            if entry.isdir() and name in ("", "."):
                continue
            if not is_safe(name):
                raise _Refused(f"{shown} is no path below its folder")
            if entry.isdir():
                found.folders.add(name)
                continue
            if name in found.files or name in found.links:
                raise _Refused(f"{shown} is in it twice")
            if entry.issym():
                found.links[name] = entry.linkname
                continue
            if not entry.isreg() or entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse():
                raise _Refused(f"{shown} is {_kind(entry)}, and only plain files may be in it")
            if entry.size > MAX_FILE_BYTES:
                raise _Refused(f"{shown} is larger than {MAX_FILE_BYTES >> 20} MiB")
            content = archive.extractfile(entry)
            assert content is not None, "a regular file has content"
            found.files[name] = content.read()
    return found


def _dump(content: _Content) -> PackedDump:
    """Return the dump that an archive without a manifest holds, at its top or in the one folder there."""
    tops = {name.partition("/")[0] for name in (*content.files, *content.folders, *content.links)}
    if not tops & {"proc", "sys"} and len(tops) == 1:
        below = f"{tops.pop()}/"
        content = _Content(
            {name.removeprefix(below): data for name, data in content.files.items()},
            {name.removeprefix(below) for name in content.folders if name.startswith(below)},
            {name.removeprefix(below): target for name, target in content.links.items()},
        )
        tops = {name.partition("/")[0] for name in (*content.files, *content.folders)}
    if not tops & {"proc", "sys"}:
        raise _Refused(f"it holds no {MANIFEST}, nor the folders proc and sys of a dump")
    return PackedDump(content.files, content.folders, content.links)


def is_safe(name: str) -> bool:
    """Return whether a name is a plain path below the top: relative, no ``..``, no empty part, no NUL."""
    return all(part not in ("", ".", "..") for part in name.split("/")) and "\0" not in name


def _kind(entry: tarfile.TarInfo) -> str:
    if entry.islnk():
        return "a link"
    return "a device" if entry.isdev() else "no plain file"


def _manifest(data: bytes) -> Manifest:
    try:
        values: Any = parse_json(data)
    except OutsideError as error:
        raise _Refused(f"{MANIFEST}: {error}") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise _Refused(f"it has schema version {str(version)[:20]}; this hwdiag reads version {SCHEMA_VERSION}")
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise _Refused(f"{MANIFEST}: {'.'.join(map(str, first['loc']))[:80]}: {first['msg'][:80]}") from None


# Writing ours


def write_archive(path: str | os.PathLike[str], manifest: Manifest, files: dict[str, bytes]) -> None:
    """Write a snapshot: the same bytes for the same content, no owner, no times.

    Raises:
        HwdiagError: the file cannot be written.
    """
    everything = {MANIFEST: manifest.model_dump_json(indent=1, exclude_defaults=True).encode(), **files}
    # Without this, a reader of a later schema would have to guess.
    everything[MANIFEST] = json.dumps({"schema_version": SCHEMA_VERSION, **json.loads(everything[MANIFEST])}).encode()
    try:
        with (
            open(path, "wb") as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name, data in everything.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise HwdiagError(f"cannot write {os.fspath(path)}: {error.strerror}") from None
