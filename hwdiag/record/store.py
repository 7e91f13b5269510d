"""Records on disk: outputs/<host>/<time>/record.json, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from hwdiag.emit.settings import File
from hwdiag.errors import HwdiagError, UsageError
from hwdiag.model import Value
from hwdiag.record.model import SCHEMA_VERSION, EmittedFile, Record

V = TypeVar("V", bound=Value)

FILE = "record.json"
MAX_BYTES = 64 * 2**20
"""A larger file is not a record of ours: thorough runs on large hosts stay below 5 MiB."""


def folder_name(host: str, hostname: str) -> str:
    """The host's folder under outputs/: the profile's name, or this machine's, made safe, where that is ``auto``."""
    if host != "auto":
        return host
    return re.sub(r"[^A-Za-z0-9_-]+", "-", hostname).strip("-_")[:63] or "unnamed"


def read_value(path: Path, kind: type[V], what: str) -> V:
    """What a file beside the records holds: ``what`` names it, as in ``a compatibility check``.

    Raises:
        UsageError: there is none, or it is not one.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES // 2**20} MiB: not {what}")
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"no {what.partition(' ')[2]} at {path}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} is not {what}") from None


def require_writable(folder: Path) -> None:
    """Stop before anything is measured if nothing could be recorded. Raises ``HwdiagError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise HwdiagError(f"cannot write to {folder}: {error.strerror}") from None


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
            except FileExistsError:  # two runs in one second
                continue
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
    text = record.model_dump_json(indent=1, exclude_defaults=False)
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".record-", delete=False, encoding="utf-8") as file:
            temporary = Path(file.name)
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
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
        target.write_text(file.text, encoding="utf-8")
        if file.executable:
            target.chmod(0o755)
    except OSError as error:
        raise HwdiagError(f"cannot write {target}: {error.strerror}") from None
    return emitted


def load(path: Path) -> Record:
    """Read a record, or the one in a folder.

    Raises:
        UsageError: there is none, it is no record, of another schema version, or was not written to its end.
    """
    path = path / FILE if path.is_dir() else path
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES // 2**20} MiB: not a record")
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"no record at {path}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} is not a record: not JSON") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise UsageError(f"{path} has schema version {version}; this hwdiag reads version {SCHEMA_VERSION}")
    try:
        record = Record.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path} is not a record: {where}: {first['msg']}") from None
    if not record.complete:
        raise UsageError(f"{path} was not written to its end: the run that made it was cut off")
    return record
