"""Files of a run: to be written, and written."""

from __future__ import annotations

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

    path: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]*(/[A-Za-z0-9_][A-Za-z0-9_.@-]*)*$")
    """Relative to the record's folder."""
    what: str
