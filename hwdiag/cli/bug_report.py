"""One file to attach to a report of a fault: this host's facts, the record that it is about, and versions, without
names."""

from __future__ import annotations

import getpass
import io
import platform
import tarfile
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from hwdiag.audit.audit import read_everything
from hwdiag.core.errors import HwdiagError
from hwdiag.core.home import home
from hwdiag.core.outside import read_file
from hwdiag.host.root import Root
from hwdiag.host.snapshot import make_snapshot, scrub, secrets_of
from hwdiag.record import store
from hwdiag.record.versions import versions


def write_bug_report(file: Path, record: Path | None) -> list[str]:
    """Write the archive and return what is in it.

    Args:
        file: where to write it.
        record: the record that it is about, or its folder; None takes the newest under outputs/, where there is one.

    Raises:
        UsageError: there is no such record, or it is not whole.
        HwdiagError: the file cannot be written.
    """
    chosen = newest_record() if record is None else store.record_file(record)
    parts = {"versions.txt": versions_text().encode()}
    if chosen is not None:
        store.load(chosen)
        parts["record.json"] = without_names(read_file(chosen, store.MAX_BYTES))
    with tempfile.TemporaryDirectory(prefix="hwdiag-") as folder:
        snapshot = Path(folder) / "host.tar.gz"
        make_snapshot(snapshot, also=read_everything)
        parts["host.tar.gz"] = snapshot.read_bytes()
    write_archive(file, parts)
    return sorted(parts)


def newest_record() -> Path | None:
    """Return the record that was written last under outputs/; None where there is none."""
    found = [path for path in (home() / "outputs").glob(f"*/*/{store.FILE}") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def versions_text() -> str:
    """Return the versions of hwdiag, Python, the kernel and all installed packages, one a line."""
    packages = {f"{d.metadata['Name']}=={d.version}" for d in distributions()}
    own = [f"{name} {version}" for name, version in versions().items()]
    return "\n".join([*own, f"kernel {platform.release()}", *sorted(packages)]) + "\n"


def without_names(text: bytes) -> bytes:
    """Return a record's text without the host's and the user's name, folders of users, and identifiers."""
    user = getpass.getuser()
    names = [str(Path.home()), *([f"/home/{user}", user] if user != "root" and len(user) > 3 else [])]
    secrets = [name.encode() for name in names if name not in ("/", "")]
    return scrub(text, (*secrets, *secrets_of(Root.live())))


def write_archive(file: Path, parts: Mapping[str, bytes]) -> None:
    """Write the parts as a compressed tar. Raises ``HwdiagError`` where that fails."""
    try:
        with tarfile.open(file, "w:gz") as archive:
            for name, data in parts.items():
                entry = tarfile.TarInfo(f"hwdiag-bugreport/{name}")
                entry.size, entry.mtime = len(data), int(time.time())
                archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise HwdiagError(f"cannot write {file}: {error.strerror}") from None
