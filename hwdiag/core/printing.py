"""Standard output and error: text without control characters, over streams that may be closed or full."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from typing import TextIO

from hwdiag.core.errors import HwdiagError

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""All but tab and end of line: C0, DEL and C1, with which a terminal is told to do things; what turns the direction of
text around; what is no Unicode."""


class PrintingError(HwdiagError):
    """Standard output takes no more."""


def printable(text: str) -> str:
    """Return the text with each control character as its escape, ``\\x1b``: names and words of others may hold some."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class PlainOutput(io.TextIOWrapper):
    """Standard output of which a terminal shows what was said, and does nothing else."""

    def write(self, text: str) -> int:
        """Write the text without control characters. Raises ``PrintingError`` where there is no space for it."""
        try:
            super().write(printable(text))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise PrintingError(f"cannot write to standard output: {error.strerror}") from None
        return len(text)

    def flush(self) -> None:
        """Hand on what is waiting. Raises ``PrintingError`` where there is no space for it."""
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise PrintingError(f"cannot write to standard output: {error.strerror}") from None


def open_standard_files() -> None:
    """Open /dev/null in the place of a closed input, output or error: the next file that is opened would be it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def abandon_output() -> None:
    """Let what waits to be written to standard output go nowhere: its reader has gone, or it is full."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


def plain(stream: TextIO) -> TextIO:
    """Return the stream as one that writes plain text; it takes the place of the one that was given."""
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, PlainOutput):
        return stream
    encoding, lines = stream.encoding, stream.line_buffering
    return PlainOutput(stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=lines)
