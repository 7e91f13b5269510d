"""The storage below the data: its file system, its disk, their settings, and how fast its files are read."""

from __future__ import annotations

from pathlib import PurePosixPath

from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import FolderContent, Reading, Storage
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import mounts

REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre", "beegfs", "afs"})
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
UNKNOWN = Storage(folder="", kind="unknown", source="unknown")
"""Of data of which nobody knows where it lies."""
READ_FILES = 4000
"""Files that are read, at most, of a large set."""


def storage_of(root: Root, host: Host, folder: str, device: str | None = None) -> Storage:
    """Return the storage below a folder, from the mount table alone: the folder itself is not touched."""
    found = [(place, kind, source) for place, kind, source, _ in mounts(root) if is_below(folder, place)]
    _, kind, source = max(found, key=lambda mount: len(mount[0]), default=("", "unknown", "unknown"))
    disk = next((d for d in host.disks if d.name == disk_name(root, device)), None)
    return Storage(
        folder=folder,
        kind=kind,
        source=source,
        disk=disk.name if disk else None,
        disk_kind=disk.kind if disk else None,
        scheduler=disk.scheduler if disk else None,
        read_ahead_kb=disk.read_ahead_kb if disk else None,
    )


def is_below(folder: str, place: str) -> bool:
    """Return whether a folder lies below a mount point, or is it."""
    return PurePosixPath(place) in (PurePosixPath(folder), *PurePosixPath(folder).parents)


def disk_name(root: Root, device: str | None) -> str | None:
    """Return the name of the disk with a device number such as ``259:2``, or with its partition."""
    link = root.link(f"/sys/dev/block/{device}") if device else None
    if link is None:
        return None
    parts = PurePosixPath(link).parts
    is_partition = root.exists(f"/sys/dev/block/{device}/partition")
    return parts[-2] if is_partition and len(parts) > 1 else parts[-1]


def is_remote(kind: str) -> bool:
    """Return whether reading goes over a network, or through another program."""
    return kind in REMOTE or kind.startswith("fuse")


def read(
    feeder: Feeder, storage: Storage, found: FolderContent, *, seconds: float, limit_s: float, seed: int
) -> Storage:
    """Return the storage with how fast it is read, or with the reason why that could not be measured."""
    step = max(1, len(found.paths) // READ_FILES)
    paths = found.paths[::step]
    outcome, said = feeder.ask("read", limit_s=limit_s, paths=paths, seconds=seconds, seed=seed)
    if not outcome.ok:
        return storage.model_copy(update={"why": outcome.detail})
    return storage.model_copy(update={"reading": Reading.model_validate(said)})
