"""Events of a trace of torch.profiler, and stretches of time: sorted, and apart from each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Span = tuple[float, float]
"""Beginning and end, in microseconds."""
FARTHEST_US = 1e17
"""Moments and lengths beyond three thousand years are none."""
IDS = ("External id", "correlation", "device")
"""Arguments by which events are found again."""


def sound_events(events: list[Any]) -> list[dict[str, Any]]:
    """Return the events of which moment and length are numbers, and name, kind and ids text or whole numbers."""
    return [event for event in events if isinstance(event, dict) and _is_sound(event)]


def _is_sound(event: dict[str, Any]) -> bool:
    for moment, least in ((event.get("ts", 0), -FARTHEST_US), (event.get("dur", 0), 0)):
        if type(moment) not in (int, float) or not least <= moment <= FARTHEST_US:
            return False
    if not isinstance(event.get("name", ""), str) or not isinstance(event.get("cat", ""), str):
        return False
    if "cat" in event and "name" not in event:
        return False
    args = event.get("args")
    ids = [event.get("pid"), event.get("tid"), *((args.get(name) for name in IDS) if isinstance(args, dict) else ())]
    return all(value is None or type(value) in (int, str, float) for value in ids)


def thread(event: dict[str, Any]) -> tuple[Any, Any]:
    return event.get("pid"), event.get("tid")


def argument(event: dict[str, Any], name: str) -> Any:
    """Return one of an event's arguments."""
    args = event.get("args")
    return args.get(name) if isinstance(args, dict) else None


def span(event: dict[str, Any]) -> Span:
    return event["ts"], event["ts"] + event["dur"]


def union(spans: Iterable[Span]) -> list[Span]:
    """Return these stretches without overlap."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif end > begin:
            found.append((begin, end))
    return found


def overlap(a: Sequence[Span], b: Sequence[Span]) -> list[Span]:
    """Return the stretches that are in both."""
    found: list[Span] = []
    i = j = 0
    while i < len(a) and j < len(b):
        begin, end = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if end > begin:
            found.append((begin, end))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return found


def without(a: Sequence[Span], b: Sequence[Span]) -> list[Span]:
    """Return the stretches that are in ``a`` and not in ``b``, which lies within it."""
    found: list[Span] = []
    j = 0
    for begin, end in a:
        while j < len(b) and b[j][1] <= begin:
            j += 1
        k = j
        while k < len(b) and b[k][0] < end:
            if b[k][0] > begin:
                found.append((begin, b[k][0]))
            begin = max(begin, b[k][1])
            k += 1
        if end > begin:
            found.append((begin, end))
    return found


def total(spans: Iterable[Span]) -> float:
    return sum(end - begin for begin, end in spans)
