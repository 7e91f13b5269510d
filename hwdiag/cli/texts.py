"""Shell completion, the manual page and the page of the verbs, made from the command line's own parser."""

from __future__ import annotations

import argparse

from hwdiag import __version__
from hwdiag.cli.parser import CommandParser
from hwdiag.core.choices import SHELLS
from hwdiag.core.errors import UsageError
from hwdiag.core.params import one_of


def add_all_options(verbs: dict[str, CommandParser]) -> list[CommandParser]:
    """Add the options of every verb, and return the verbs."""
    found = list(dict.fromkeys(verbs.values()))
    for verb in found:
        options = verb.get_default("options")
        if options is not None and "--set" not in verb.options():
            options(verb)
            verb.shorten_usage()
    return found


def completion(shell: str, top: CommandParser, verbs: dict[str, CommandParser]) -> str:
    """Return the script that makes a shell complete the verbs of this parser, their options, choices and files.

    Raises:
        UsageError: no script can be made for that shell.
    """
    import shtab

    try:
        one_of(shell, SHELLS, "completion for shell")
    except ValueError as error:
        raise UsageError(str(error)) from None
    for verb in add_all_options(verbs):
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


def manual(top: CommandParser, verbs: dict[str, CommandParser]) -> str:
    """Return the manual page of this parser: every verb with its options, examples and details."""
    from argparse_manpage.manpage import Manpage

    for verb in add_all_options(verbs):
        # Manpage leaves out the epilog of a verb.
        verb.description = "\n\n".join(filter(None, (verb.description, verb.epilog, verb.get_default("details"))))
    top.man_short_description = "diagnoses how PyTorch runs on a Linux host"  # type: ignore[attr-defined]
    return str(Manpage(top, _data={"date": __version__, "manual_title": "hwdiag", "version": __version__}))


def verbs_page(verbs: dict[str, CommandParser]) -> str:
    """Return docs/verbs.md: each verb with its help and its details."""
    text = "# Verbs\n\nMade from the command line's own texts by `python tools/manual.py`.\n"
    for verb in add_all_options(verbs):
        details = verb.get_default("details")
        text += f"\n## {verb.prog}\n\n```text\n{verb.format_help().rstrip()}\n```\n"
        text += f"\n```text\n{details.strip()}\n```\n" if details else ""
    return text
