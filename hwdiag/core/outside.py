"""The one door for files and JSON from outside: regular files of bounded size, values of bounded depth and length."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from pydantic_core import from_json

PIECE = 1 << 18
MOST_DIGITS = 30
"""Of a whole number: any that counts something has fewer, and a float of a longer one may not exist."""
_DIGITS = bytes(48 if 48 <= i <= 57 else 32 for i in range(256))
"""Makes every digit a zero and all else a space: runs of digits are found ten times as fast as by an expression."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class OutsideError(ValueError):
    """Something from outside that is refused, with the reason in a clause: ``not a regular file``."""


def user_path(text: str | os.PathLike[str]) -> Path:
    """Return the path that a person named, with ``~`` as the home folder where there is such a person."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises for a person who is not there


def read_file(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """Return the content of a regular file: a pipe is not waited for, nor a device read.

    Raises:
        OSError: it cannot be read.
        OutsideError: it is no regular file, or larger than ``most_bytes``.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:
        raise OutsideError("no name of a file") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OutsideError("not a regular file")
    with open(handle, "rb", buffering=0) as file:
        pieces, left = [], most_bytes + 1
        while left > 0 and (piece := file.read(min(left, PIECE))):  # as much memory as there is, not as there may be
            pieces.append(piece)
            left -= len(piece)
    if left <= 0:
        raise OutsideError(f"larger than {size(most_bytes)}")
    return b"".join(pieces)


def size(count: int) -> str:
    """Return a bound in bytes as text: ``32 MiB``, ``256 KiB``."""
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def parse_json(text: str | bytes, *, infinite: bool = False) -> Any:
    """Return what this JSON says. It is nested at most 200 deep, has whole numbers of at most ``MOST_DIGITS`` digits,
    and what is no Unicode in it (half a surrogate pair) is ``?``.

    Args:
        infinite: NaN and Infinity may be in it, as Python's own json writes them.

    Raises:
        OutsideError: it is no such JSON.
    """
    data = text.encode(errors="replace") if isinstance(text, str) else text
    try:
        if (b"\\ud" in data or b"\\uD" in data) and _SURROGATE.search(data):
            data = json.dumps(json.loads(data), ensure_ascii=False).encode(errors="replace")
        value = from_json(data, allow_inf_nan=infinite)
        if b"0" * (MOST_DIGITS + 1) in data.translate(_DIGITS):
            _refuse_long(value)
    except OutsideError:
        raise
    except (ValueError, RecursionError):
        raise OutsideError("damaged or not JSON") from None
    return value


def _refuse_long(value: Any) -> None:
    """Raise ``OutsideError`` for a whole number of too many digits, wherever it stands."""
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        raise OutsideError(f"a number of more than {MOST_DIGITS} digits in it")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        _refuse_long(each)
