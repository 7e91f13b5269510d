"""Files of a run: to be written, and written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import Field

from hwdiag.core.value import Value


class File(Value):
    """A file to write below a run's folder."""

    path: str
    text: str
    what: str
    """In a line."""
    executable: bool = False


class EmittedFile(Value):
    """A file beside the record."""

    path: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]*(/[A-Za-z0-9_][A-Za-z0-9_.@+-]*)*$")
    """Relative to the record's folder, and below it."""
    what: str


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all: a full disk or a crash leaves the one that was there, or none.

    A pipe or a device is written to as it is; of a link, what it leads to.

    Raises:
        OSError: it could not be written.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8", errors="replace")
        return
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=".hwdiag-", delete=False, encoding="utf-8",
                                         errors="replace") as file:  # fmt: skip
            temporary = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(target)
    except OSError:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise
