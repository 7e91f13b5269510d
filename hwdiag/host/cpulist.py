"""CPU and node lists as the Linux kernel writes them, such as ``0-5,48-53``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

MAX_CPU = 65535
"""Highest id believed. Linux's own limit is NR_CPUS, 8192 in the largest distribution kernels."""

MOST_IDS = 64 * MAX_CPU
"""Of all lists of one dump or record together: 8,192 CPUs that each name 256 siblings are half of it."""

_PART = re.compile(r"(\d+)(?:-(\d+)(?::(\d+)/(\d+))?)?")


_left: ContextVar[list[int] | None] = ContextVar("_left", default=None)
"""How many ids the lists that are parsed here may still have together; None is without end."""


@contextmanager
def bounded_lists() -> Iterator[None]:
    """Bound the lists of what is read from outside to ``MOST_IDS`` ids together: ten letters are 65,536 of them."""
    before = _left.set([MOST_IDS])
    try:
        yield
    finally:
        _left.reset(before)


def charge(count: int) -> None:
    """Count so many ids. Raises ``ValueError`` where that is more than ``MOST_IDS`` together."""
    left = _left.get()
    if left is not None:
        left[0] -= count
        if left[0] < 0:
            raise ValueError(f"the lists of CPUs have more than {MOST_IDS} entries together")


@lru_cache(maxsize=64)
def parse_cpulist(text: str) -> tuple[int, ...]:
    """Return the ids of a kernel list, sorted and unique. An empty text is the empty list.

    The grammar is the kernel's (``Documentation/admin-guide/kernel-parameters.rst``, "cpu lists"):
    ``a``, ``a-b`` and ``a-b:used/group``, joined by commas.

    Raises:
        ValueError: the text is not such a list, a range runs backwards or an id is above ``MAX_CPU``.
    """
    ids: set[int] = set()
    named = 0
    for part in text.strip().split(",") if text.strip() else ():
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"not a CPU list: {text.strip()[:80]!r}")
        first, last, used, group = (int(g) if g is not None else None for g in match.groups())
        assert first is not None
        last = first if last is None else last
        if last < first or last > MAX_CPU or (used is not None and not 0 < used <= (group or 0)):
            raise ValueError(f"not a CPU list: {text.strip()[:80]!r}")
        named += last - first + 1
        if named > 4 * MAX_CPU:  # no kernel writes the same ids again and again
            raise ValueError("not a CPU list: too long")
        run = range(first, last + 1)
        ids.update(run if used is None or group is None else (i for i in run if (i - first) % group < used))
    return tuple(sorted(ids))


def format_cpulist(ids: Iterable[int]) -> str:
    """Return the shortest kernel list for these ids: ``(0, 1, 2, 8)`` gives ``0-2,8``."""
    ranges: list[list[int]] = []
    for i in sorted(set(ids)):
        if ranges and i == ranges[-1][1] + 1:
            ranges[-1][1] = i
        else:
            ranges.append([i, i])
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in ranges)


def _validate(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    charge(0)  # nothing is made of a list after those that were too many
    ids = parse_cpulist(value)
    charge(len(ids))
    return ids


CpuList = Annotated[tuple[int, ...], BeforeValidator(_validate), PlainSerializer(format_cpulist, return_type=str)]
"""Ids in a data class: a sorted tuple in Python, a kernel list in JSON."""
