"""Shell completion and the manual page, made from the command line's own parser.

``python -m hwdiag.cli.texts`` writes docs/hwdiag.1 anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hwdiag import __version__
from hwdiag.cli import make_parser
from hwdiag.cli.parser import CommandParser
from hwdiag.core.choices import SHELLS
from hwdiag.core.errors import UsageError
from hwdiag.core.home import PACKAGE
from hwdiag.core.params import one_of

MANUAL = PACKAGE.parent / "docs" / "hwdiag.1"


def whole_parser() -> tuple[CommandParser, dict[str, CommandParser]]:
    """Return the parser with the options of every verb, and the verbs by name."""
    top, verbs = make_parser()
    for verb in dict.fromkeys(verbs.values()):
        options = verb.get_default("options")
        if options is not None:
            options(verb)
            verb.shorten_usage()
    return top, verbs


def completion(shell: str) -> str:
    """Return the script that makes a shell complete verbs, options, choices and files.

    Raises:
        UsageError: no script can be made for that shell.
    """
    import shtab

    try:
        one_of(shell, SHELLS, "completion for shell")
    except ValueError as error:
        raise UsageError(str(error)) from None
    top, verbs = whole_parser()
    for verb in dict.fromkeys(verbs.values()):
        for action in verb._actions:
            offer(action)
    return shtab.complete(top, shell=shell)


def offer(action: argparse.Action) -> None:
    """Say what completes an option's value: its choices, or the files and folders that are there."""
    import shtab

    name = str(action.metavar or "")
    if "|" in name:
        action.choices = name.split("|")
    elif name in ("FILE", "PATH", "COMMAND"):
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif name in ("FOLDER", "DIR"):
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def manual() -> str:
    """Return the manual page: every verb with its options, examples and details."""
    from argparse_manpage.manpage import Manpage

    top, verbs = whole_parser()
    for verb in dict.fromkeys(verbs.values()):
        # Manpage leaves out the epilog of a verb.
        verb.description = "\n\n".join(filter(None, (verb.description, verb.epilog, verb.get_default("details"))))
    top.man_short_description = "diagnoses how PyTorch runs on a Linux host"  # type: ignore[attr-defined]
    return str(Manpage(top, _data={"date": __version__, "manual_title": "hwdiag", "version": __version__}))


if __name__ == "__main__":
    Path(MANUAL).write_text(manual(), encoding="utf-8")
