"""Text that every package writes: counts with their noun, and moments."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from datetime import datetime, timezone
from math import prod

MOST_REPEATS = 10_000
"""By all ``{n}`` of a regular expression, one within the other."""


def plural(number: float, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun: ``1 core``, ``2 cores``."""
    text = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{text} {noun if number == 1 else nouns or noun + 's'}"


def capitalised(words: str) -> str:
    """Return words that begin as a sentence does; the rest stays, where ``str.capitalize`` makes it small."""
    return words[:1].upper() + words[1:]


def listed(words: Iterable[str]) -> str:
    """Return texts as a list in a sentence: ``a, b and c``."""
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def now() -> str:
    """Return the present time, UTC, ISO 8601 to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def gib(count: float) -> str:
    """Return a number of bytes in GiB, as error messages write it: ``0.06 GiB``, ``12.5 GiB``."""
    return f"{count / 2**30:.3g} GiB"


def one_group(expression: str) -> str:
    """Return the regular expression. Raises ``ValueError`` if it is none, or has not exactly one group."""
    import regex  # only here: importing it takes 30 ms

    repeats = prod(int(count[:9]) or 1 for count in regex.findall(r"\{(?:\d*,)?(\d+)", expression))
    if repeats > MOST_REPEATS:  # each is compiled by itself
        raise ValueError(f"must repeat a part at most {MOST_REPEATS} times, and asks for {repeats}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            groups = regex.compile(expression).groups
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"must be a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"must have one group in parentheses, round the number, and has {groups}")
    return expression
