"""What several verbs share."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from hwdiag.errors import HwdiagError


def add(verbs: Any, name: str, verb: Any, text: str) -> argparse.ArgumentParser:
    """One verb."""
    sub: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.set_defaults(verb=verb)
    return sub


def write(path: Path, text: str) -> None:
    """Write a file that was asked for. Raises ``HwdiagError`` where that fails."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HwdiagError(f"cannot write {path}: {error.strerror}") from None


def terminal_width() -> int | None:
    """Columns to wrap tables to; None where the output goes to a file or a program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
