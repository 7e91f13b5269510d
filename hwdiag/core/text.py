"""Words that every room writes: counts with their noun, and moments."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from datetime import datetime, timezone


def plural(number: float, noun: str, nouns: str | None = None) -> str:
    """``1 core``, ``2 cores``."""
    text = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{text} {noun if number == 1 else nouns or noun + 's'}"


def listed(words: Iterable[str]) -> str:
    """``a, b and c``."""
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def now() -> str:
    """The present time, UTC, ISO 8601 to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def gib(count: float) -> str:
    """Bytes in GiB, as an error message has them: ``0.06 GiB``, ``12.5 GiB``."""
    return f"{count / 2**30:.3g} GiB"


def one_group(expression: str) -> str:
    """The regular expression itself. Raises ``ValueError`` if it is none, or has not one group."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            groups = re.compile(expression).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"must be a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"must have one group in parentheses, round the number, and has {groups}")
    return expression
