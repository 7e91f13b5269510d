"""The command line's parser: help that fits on a screen, and errors that are one clear line."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
from collections.abc import Generator, Iterable, Sequence
from typing import Any, NoReturn

from hwdiag.core.errors import UsageError

WIDEST = 110
"""Columns of help at most: longer lines are hard to read."""
SUPPORT = "Questions and faults: open an issue where you got hwdiag, with the file that 'hwdiag bugreport' writes."


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Lay help out for this terminal, examples as they are, verbs without a heading of their own."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=min(shutil.get_terminal_size().columns - 1, WIDEST))

    def _iter_indented_subactions(self, action: argparse.Action) -> Generator[argparse.Action, None, None]:
        yield from getattr(action, "_get_subactions", tuple)()  # verbs begin where options do

    def _format_action(self, action: argparse.Action) -> str:
        text = super()._format_action(action)
        return text.partition("\n")[2] if action.nargs == argparse.PARSER else text


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are raised, in our words, with its own usage."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, **how})

    def error(self, message: str) -> NoReturn:
        """Raise ``UsageError`` for what argparse found wrong."""
        usage = " ".join(self.format_usage().split())
        raise UsageError(f"{in_our_words(message)} ({usage}; {self.prog} --help)")

    def options(self) -> list[str]:
        """Return the options that it takes."""
        return [flag for action in self._actions for flag in action.option_strings]

    def shorten_usage(self) -> None:
        """Make the usage one short line, which names what stands behind the options."""
        named = [positional(a) for a in self._actions if not a.option_strings]
        self.usage = " ".join(["%(prog)s [OPTIONS]", *named])

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Raise ``UsageError`` for words that nothing takes."""
        word = words[0]
        if word.startswith("-") and word != "--":
            self.error(f"unknown option {shown(word)}{meant(word.partition('=')[0], self.options())}")
        self.error(f"nothing takes {shown(word)}")


def positional(action: argparse.Action) -> str:
    """Return how usage shows what stands without an option."""
    name = str(action.metavar or action.dest)
    if name == "COMMAND":
        return "[-- COMMAND ...]"
    return {"*": f"[{name} ...]", "?": f"[{name}]"}.get(str(action.nargs), name)


WORDS = (
    (r"argument (?P<it>\S+?)(?:/\S+)?: expected one argument", "{it} needs a value"),
    (r"argument (?P<it>\S+?)(?:/\S+)?: ignored explicit argument .*", "{it} takes no value"),
    (r"the following arguments are required: (?P<it>.*)", "{it} is missing"),
    (
        r"argument .*/(?P<it>\S+): not allowed with argument .*/(?P<those>\S+)",
        "give {it} or {those}, not both",
    ),
    (r"ambiguous option: (?P<it>\S+) could match (?P<those>.*)", "{it} may be {those}: write it in full"),
)
"""What argparse says, and how a person is told."""


def in_our_words(message: str) -> str:
    """Return an error of argparse's as a person is told it."""
    for pattern, words in WORDS:
        found = re.fullmatch(pattern, message, re.DOTALL)
        if found:
            return words.format(**found.groupdict())
    return message


def shown(word: str) -> str:
    """Return a word that was typed, cut short where it is long."""
    return repr(word if len(word) <= 60 else f"{word[:57]}...")


def meant(word: str, known: Iterable[str]) -> str:
    """Return which name may have been meant, as a question; empty where none is near."""
    near = difflib.get_close_matches(word[:60], list(known), n=1)
    return f': did you mean "{near[0]}"?' if near else ""


def parse(top: CommandParser, verbs: dict[str, CommandParser], words: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for.

    Raises:
        UsageError: a verb or an option that does not exist, or a value that is missing, in one line.
    """
    first = words[0] if words else ""
    if first not in verbs and first not in top.options():
        if first.startswith("-"):
            raise UsageError(f"options stand behind the verb: hwdiag VERB {first[:60]} (hwdiag --help)")
        raise UsageError(f"there is no verb {shown(first)}{meant(first, verbs)} (hwdiag --help lists all)")
    args, more = top.parse_known_args(words)
    if more:
        verbs.get(first, top).refuse(more)
    return args
