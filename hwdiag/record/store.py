"""Records on disk: outputs/<host>/<time>/record.json, whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.files import EmittedFile, File, write_whole
from hwdiag.core.outside import parse_json, read_file
from hwdiag.host.cpulist import bounded_lists
from hwdiag.record.convert import OLD_FILES, NotARecordError, upgraded
from hwdiag.record.model import Record, UnreadStudy
from hwdiag.record.refusal import refused_as_no

FILE = "record.json"
MAX_BYTES = 32 * 2**20
"""A larger file is not a record of ours: thorough runs on large hosts stay below 5 MiB."""


RESERVED_BYTES = 8 * 2**20
"""Space that a run looks for before it measures: a report with its figures, scripts and record has up to 5 MiB."""


def folder_name(host: str, hostname: str) -> str:
    """Return the host's folder under outputs/: the profile's name, or for ``auto`` this machine's, made safe."""
    if host != "auto":
        return host
    return re.sub(r"[^A-Za-z0-9_-]+", "-", hostname).strip("-_")[:63] or "unnamed"


def require_writable(folder: Path) -> None:
    """Stop before anything is measured if nothing could be recorded, as on a full disk. Raises ``HwdiagError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, RESERVED_BYTES)
    except OSError as error:
        raise HwdiagError(f"cannot write to {folder}: {error.strerror}") from None


def writable(folder: Path | None) -> Path | None:
    """Return the folder that was asked for, made if need be. Raises ``HwdiagError`` where it cannot be."""
    if folder is not None:
        require_writable(folder)
    return folder


def create_folder(outputs: Path, name: str, started_at: str) -> Path:
    """Make the run's own folder, outputs/<name>/<time>.

    Raises:
        HwdiagError: it cannot be written to.
    """
    stamp = started_at.replace("-", "").replace(":", "")
    try:
        for suffix in ("", *(f"-{n}" for n in range(2, 100))):
            path = outputs / name / (stamp + suffix)
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                broken = next((p for p in (path, *path.parents) if p.is_symlink() and not p.exists()), None)
                if broken is not None:
                    raise HwdiagError(f"cannot write to {path.parent}: {broken} is a link that leads nowhere") from None
                if not path.is_dir():
                    raise
                continue  # two runs in one second
            return path
    except OSError as error:
        raise HwdiagError(f"cannot write to {outputs / name}: {error.strerror}") from None
    raise HwdiagError(f"cannot write to {outputs / name}: too many runs at {stamp}")


def save(record: Record, folder: Path) -> Path:
    """Write the record atomically: a full disk or a crash leaves the old file or none, never half of one.

    Raises:
        HwdiagError: it could not be written.
    """
    path = folder / FILE
    try:
        write_whole(path, record.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise HwdiagError(f"the record could not be written to {path}: {error.strerror}") from None
    return path


def write_file(folder: Path, file: File) -> EmittedFile:
    """Write one file below a run's folder.

    Raises:
        HwdiagError: it could not be written.
    """
    emitted = EmittedFile(path=file.path, what=file.what)  # which refuses a path that leaves the folder
    target = folder / file.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, file.text, 0o755 if file.executable else 0o644)
    except OSError as error:
        raise HwdiagError(f"cannot write {target}: {error.strerror}") from None
    return emitted


def record_file(path: Path) -> Path:
    """Return the record's file: the path itself, or of a folder the record in it, or one of an older format."""
    if not path.is_dir():
        return path
    return next((path / name for name in (FILE, *OLD_FILES) if (path / name).is_file()), path / FILE)


def load(path: Path) -> Record:
    """Read a record of any schema so far, or the one in a folder.

    Raises:
        UsageError: there is none, it is no record, of a newer schema version, or was not written to its end.
    """
    path = record_file(path)
    try:
        with refused_as_no("record", path), bounded_lists():
            values = upgraded(parse_json(read_file(path, MAX_BYTES)), path.absolute().parent.parts)
            record = Record.model_validate(values)
    except NotARecordError as error:
        raise UsageError(f"{path}: {error}") from None
    if not record.complete:
        raise UsageError(f"{path} was not written to its end: the run that made it was cut off")
    for study in record.studies.values():
        if isinstance(study, UnreadStudy):
            study.came_from(path)
    return record
