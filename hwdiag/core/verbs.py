"""Steps that several verbs share."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from hwdiag.core.errors import HwdiagError
from hwdiag.core.files import write_whole
from hwdiag.core.text import capitalised

Options = Callable[[argparse.ArgumentParser], None]
"""Adds a verb's options."""


def add(
    verbs: Any,
    name: str,
    verb: Any,
    text: str,
    options: Options | None = None,
    aliases: Sequence[str] = (),
    examples: str = "",
    details: str = "",
) -> argparse.ArgumentParser:
    """Add one verb.

    Args:
        verbs: where it is added.
        name: the verb.
        verb: what runs it.
        text: what it does, in at most 62 characters, so that the list of verbs is short.
        options: adds the options that are made from its parameters, once this verb is the one that runs.
        aliases: its other names.
        examples: commands to copy, which end its help.
        details: what the manual and ``hwdiag help VERB`` say beyond that.
    """
    sub: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=capitalised(text) + ("" if text.endswith("?") else "."),
        epilog=f"examples:\n{examples}" if examples else None,
    )
    verbs.choices.update(dict.fromkeys(aliases, sub))  # not listed beside the verb
    much = sub.add_mutually_exclusive_group()
    much.add_argument("-q", "--quiet", action="store_true", help="print results and errors only, no progress")
    much.add_argument(
        "-v", "--verbose", action="store_true", help="print details too: each step, and where errors arose"
    )
    sub.set_defaults(verb=verb, options=options, details=details)
    return sub


def add_wait(sub: argparse.ArgumentParser) -> None:
    """Add the option of verbs that measure by which a run waits for another one on the same host."""
    sub.add_argument(
        "--wait",
        type=minutes,
        default=0.0,
        metavar="M",
        help="wait for another run of hwdiag on this host to end, M minutes at most (default: both measure at once)",
    )


def minutes(text: str) -> float:
    """Return a number of minutes. Raises ``argparse.ArgumentTypeError`` for anything but 0 to 10,080, a week."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 7 * 24 * 60:
        raise argparse.ArgumentTypeError(f"must be 0 to 10080 minutes, got {text!r}")
    return number


def add_options(verbs: Any, name: str) -> None:
    """Add the options of the verb that runs, where it has some of its own."""
    sub = verbs.choices.get(name)
    options: Options | None = None if sub is None else sub.get_default("options")
    if options is not None:
        options(sub)


def write(path: Path, text: str) -> None:
    """Write a file that was asked for. Raises ``HwdiagError`` where that fails."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise HwdiagError(f"cannot write {path}: {error.strerror}") from None


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return the columns to wrap to; None where the stream, by default the output, goes to a file or a program."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def status(of_command: int | None, ran: bool, cut: bool) -> int:
    """Return hwdiag's exit status: the command's as a shell would tell it, or 124 if its time was up, as timeout(1)
    does."""
    if not ran:
        return int(cut)
    if of_command is None:
        return 124
    return 128 - of_command if of_command < 0 else of_command or int(cut)
