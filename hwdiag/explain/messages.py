"""Messages that programs end with: which of ``messages.yaml`` are in what a program wrote, or are its signal's.

A pattern is fragments of one line in a given order, so that looking for it takes time in proportion to the text,
whatever the program wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import yaml

from hwdiag.core.value import Value
from hwdiag.explain.ended import LONGEST_LINE, ended_by, failed
from hwdiag.process.observation.model import Ending, Program
from hwdiag.report.format import clean, shorten

FILE = Path(__file__).with_name("messages.yaml")
LAST_LINES = 400
LONGEST_VALUE = 120
GAP = re.compile(r"\{(\w+)\}")
ONE_WORD = frozenset({"library", "variable", "symbol", "version", "pid", "operator", "layer", "module"})
"""Gaps that are one word: the one next to the fragment before, or at a line's beginning next to the one after."""

Limit = Literal[
    "", "tasks", "shared-memory", "open-files", "disk", "file-size", "memory", "worker", "killed", "cpu-time"
]


class Message(Value):
    """One cause, and the lines, or the signal, that tell it."""

    id: str
    says: tuple[str, ...]
    """Each is fragments of one line in this order, with ``{name}`` for what lies between."""
    signal: str = ""
    always: bool = False
    """A warning: counts where the program ended well, too."""
    fallback: bool = False
    """Told only where no other message but warnings is found."""
    limit: Limit = ""
    """The limit that was hit; which, and its value, is asked of what was observed."""
    cause: str = ""
    remedy: str = ""
    source: str

    @cached_property
    def patterns(self) -> tuple[tuple[str, ...], ...]:
        """Return each pattern cut: fragment, name, fragment, name ..."""
        return tuple(tuple(GAP.split(text)) for text in self.says)


class Said(Value):
    """A message that was found."""

    message: Message
    line: str
    """Where, as it was written; empty of a signal."""
    values: dict[str, str] = {}


@cache
def messages() -> tuple[Message, ...]:
    """Return all of ``messages.yaml``, in its order."""
    return tuple(Message.model_validate(entry) for entry in yaml.safe_load(FILE.read_text(encoding="utf-8")))


def lines(ending: Ending) -> list[str]:
    """Return the last lines that it wrote, those of its standard error after those of its output."""
    found = [line for text in (ending.stdout, ending.stderr) for line in text.splitlines()[-LAST_LINES:]]
    return [line[:LONGEST_LINE] for line in found]


def said(ending: Ending) -> tuple[Said, ...]:
    """Return the messages that are in its last lines, each once, and a line's first in the order of ``messages.yaml``.

    Where no line tells anything, the message of its signal.
    """
    written, bad = lines(ending), failed(ending)
    found: list[Said] = []
    taken: set[str] = set()
    for message in messages():
        if bad or message.always:
            lines_of_it = [one for line in written if line not in taken and (one := match_line(message, line))]
            found += lines_of_it[-1:]
            taken |= {one.line for one in lines_of_it}
    if any(not s.message.fallback and not s.message.always for s in found):
        found = [s for s in found if not s.message.fallback]
    if bad and not any(not s.message.always for s in found):
        found += [Said(message=m, line="") for m in messages() if m.signal and m.signal == ended_by(ending)]
    return tuple(found)


def match_line(message: Message, line: str) -> Said | None:
    """Return the message as this line has it; None where it has it not."""
    found = (match(pattern, line) for pattern in message.patterns)
    values = next((values for values in found if values is not None), None)
    return None if values is None else Said(message=message, line=line, values=values)


def match(pattern: tuple[str, ...], line: str) -> dict[str, str] | None:
    """Return what stands in the gaps of a pattern; None where the line has not all fragments in their order."""
    at = line.find(pattern[0])
    if at < 0:
        return None
    at += len(pattern[0])
    values = {}
    for name, fragment in zip(pattern[1::2], pattern[2::2], strict=True):
        end = line.find(fragment, at) if fragment else len(line)
        if end < 0:
            return None
        values[name] = value(line[at:end], name, first=not pattern[0] and name == pattern[1])
        at = end + len(fragment)
    return values


def value(text: str, name: str, first: bool) -> str:
    """Return what stands in a gap, short and harmless."""
    words = text.split()
    if name in ONE_WORD and words:
        text = words[-1 if first else 0]
    return shorten(clean(text.strip().strip("'\"<>:,;()")), LONGEST_VALUE)


def filled(text: str, values: dict[str, str]) -> str:
    """Return the text with its ``{name}``s: in one pass, so that a value is never taken for a name."""
    return GAP.sub(lambda gap: values.get(gap[1]) or "(unknown)", text)


def known(program: Program) -> dict[str, str]:
    """Return what a cause may name beside what stands in the line: versions and the interpreter."""
    python = next((p.executable for p in program.processes if "python" in p.executable), "")
    inside = next((i.torch for i in program.inside if i.torch), "")
    return {**({"torch": inside} if inside else {}), **program.packages, **({"python": python} if python else {})}


def told(program: Program) -> Iterator[tuple[Said, str, str]]:
    """Yield each message that was found, with its cause and its remedy."""
    for one in said(program.ending):
        values = {**known(program), **one.values}
        yield one, filled(one.message.cause, values), filled(one.message.remedy, values)
