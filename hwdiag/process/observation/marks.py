"""Marks: what a command says of itself while it is watched, by a line into a pipe that it finds in a variable."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwdiag.core.value import Value

MARKS = "HWDIAG_MARKS"
"""The variable that names a pipe to the command: each line that is written into it becomes a mark."""
LENGTH, MOST = 120, 1000
"""Characters of a mark, and how many of them are kept."""


class Mark(Value):
    """Something that happened, on the time axis of what watches."""

    seconds: float
    text: str


class Marks:
    """The marks of one watching, as they come."""

    def __init__(self) -> None:
        self.found: list[Mark] = []

    def add(self, text: str, seconds: float) -> None:
        """Note that this happened."""
        if len(self.found) < MOST:
            self.found.append(Mark(seconds=round(max(0.0, seconds), 3), text=text[:LENGTH]))

    def read(self, pipe: int, seconds: float) -> None:
        """Take what was written into the pipe."""
        for line in read_lines(pipe):
            self.add(line, seconds)

    def sorted(self) -> tuple[Mark, ...]:
        """Return them in the order of time."""
        return tuple(sorted(self.found, key=lambda mark: mark.seconds))


def read_lines(pipe: int) -> Iterator[str]:
    """Yield the lines that were written into the pipe of marks, without characters that could disturb a terminal or a
    page."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        data = os.read(pipe, 1 << 16)
    for line in data.decode(errors="replace").splitlines():
        text = "".join(c if c.isprintable() else " " for c in line).strip()
        if text:
            yield text


@contextmanager
def mark_pipe() -> Iterator[tuple[int, Path]]:
    """Yield a named pipe. A writer never waits for a reader."""
    with tempfile.TemporaryDirectory(prefix="hwdiag-") as folder:
        path = Path(folder, "marks")
        os.mkfifo(path, 0o600)
        pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield pipe, path
        finally:
            os.close(pipe)
