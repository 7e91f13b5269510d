"""YAML from outside, bounded in size, depth and number of values."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, MappingStartEvent, ScalarEvent

LARGEST = 256 * 1024
"""Characters of a document: a third of a second of reading at most."""
MOST_KEYS = 1000
"""Of one mapping."""
MOST_VALUES = 10_000
DEEPEST = 8
LONGEST_TEXT = 4096
"""Characters of one text, as Linux allows for a path."""


class TooMuchError(ValueError):
    """A document is larger or deeper than anything here needs."""


def load_yaml(text: str, *, only_text: bool = False) -> Any:
    """Return what a YAML document holds.

    Args:
        only_text: numbers, dates and truth values stay text.

    Raises:
        TooMuchError: it is beyond the bounds, in words that go on from the document's name.
        ValueError: it is no YAML, or a number or a date in it is none.
    """
    if len(text) > LARGEST:
        raise TooMuchError(f"must be at most {LARGEST} characters")
    try:
        measure(text)
        return yaml.load(text, Loader=yaml.BaseLoader if only_text else yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:200]) from None


def measure(text: str) -> None:
    """Raise ``TooMuchError`` at the first event that is beyond the bounds: nothing is composed until all is known."""
    values = 0
    counts: list[list[int]] = []  # of each open collection: values in it, and how many are allowed
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, AliasEvent):
            raise TooMuchError("must not refer to other values by *name")
        if isinstance(event, CollectionEndEvent):
            counts.pop()
            continue
        if not isinstance(event, ScalarEvent | CollectionStartEvent):
            continue
        if event.tag is not None:
            raise TooMuchError(f"must not hold tags, such as {event.tag[:40]!r}")
        values += 1
        if values > MOST_VALUES:
            raise TooMuchError(f"must hold at most {MOST_VALUES} values")
        if counts:
            counts[-1][0] += 1
            if counts[-1][0] > counts[-1][1]:
                raise TooMuchError(f"must hold at most {MOST_KEYS} names")
        if isinstance(event, CollectionStartEvent):
            if len(counts) == DEEPEST:
                raise TooMuchError(f"must be nested at most {DEEPEST} deep")
            counts.append([0, 2 * MOST_KEYS if isinstance(event, MappingStartEvent) else MOST_VALUES])
        elif len(event.value) > LONGEST_TEXT:
            raise TooMuchError(f"must hold texts of at most {LONGEST_TEXT} characters")
        elif "\0" in event.value:
            raise TooMuchError("must not hold a NUL character")
