"""Numbers, sizes and times as a person reads them, and foreign text made harmless to print."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timezone

from hwdiag.core.interval import Interval
from hwdiag.core.text import plural as plural

UNKNOWN = "unknown"

_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: object) -> str:
    """Return outside text made safe for a terminal and for XML: spaces for line breaks, U+FFFD for control characters.

    Escape sequences would steer a terminal, lone surrogates (undecodable file names) cannot be written as UTF-8,
    and direction overrides make a name read as another one.
    """
    return "".join(_harmless(c) for c in re.sub(r"\s+", " ", str(text))).strip()


def _harmless(char: str) -> str:
    if char in _BIDI or unicodedata.category(char) in ("Cc", "Cs") or char in "\ufffe\uffff":
        return "\ufffd"
    return char


def significant(value: float, digits: int = 3) -> str:
    """Return a value rounded to so many significant digits, never in exponent form: ``0.0123``, ``52.1``, ``1230``."""
    if value == 0:
        return "0"
    rounded = round(value, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{rounded:.{_decimals(rounded, digits)}f}"


def _decimals(value: float, digits: int = 3) -> int:
    """Return the number of decimal places that show ``digits`` significant digits of ``value``."""
    return 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _exact(value: float) -> str:
    """Return three significant digits without trailing zeros, since sizes are counted, not measured."""
    text = significant(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(value: float, base: float, units: Iterable[str]) -> str:
    """Return a value with the largest of the units, each ``base`` times the one before, that leaves at least 1."""
    units = list(units)
    step = 0
    while abs(value) >= base and step < len(units) - 1:
        value, step = value / base, step + 1
    return f"{_exact(value)} {units[step]}"


def size(count: float | None) -> str:
    """Return a number of bytes in binary units: ``30 MiB``, ``126 GiB``."""
    return UNKNOWN if count is None else _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def cache_size(count: int) -> str:
    """Return a cache's size as text, or that it is unknown where it is 0."""
    return size(count) if count else "of unknown size"


def disk_size(count: float | None) -> str:
    """Return a number of bytes in decimal units, as disks are sold: ``1.92 TB``."""
    return UNKNOWN if count is None else _scaled(count, 1000, ("B", "kB", "MB", "GB", "TB", "PB"))


def count(value: float) -> str:
    """Return a large count with its SI prefix and a space for the unit: ``17.2 G``, ``3.63 G``, ``0``."""
    return _scaled(value, 1000, ("", "k", "M", "G", "T", "P"))


def seconds(value: float) -> str:
    """Return a time with its unit: ``3.21 µs``, ``12.0 ms``, ``1.50 s``."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= scale:
            return f"{significant(value / scale)} {unit}"
    return f"{significant(value / 1e-9)} ns"


def duration(start: str, end: str) -> str:
    """Time between two ISO 8601 stamps: ``84 s``, ``4 min 31 s``."""
    try:
        total = round((datetime.fromisoformat(_iso(end)) - datetime.fromisoformat(_iso(start))).total_seconds())
    except (ValueError, TypeError):
        return UNKNOWN
    return f"{total} s" if total < 120 else f"{total // 60} min {total % 60} s"


def utc(stamp: str) -> str:
    """Return an ISO 8601 stamp in a readable form, ``2026-03-01 10:02 UTC``, or the text itself where it is none."""
    try:
        moment = datetime.fromisoformat(_iso(stamp))
    except ValueError:
        return stamp
    moment = moment.astimezone(timezone.utc) if moment.tzinfo else moment
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _iso(stamp: str) -> str:
    """Return an ISO 8601 stamp as a time. Python 3.10's parser does not know ``Z``."""
    return stamp.replace("Z", "+00:00")


def ratio(value: float) -> str:
    """Return a factor with at least two decimals below 10, so that gains of a few percent show: ``1.03x``,
    ``12.4x``."""
    return f"{value:.2f}x" if 0.1 <= abs(value) < 10 else f"{significant(value)}x"


def speedup(interval: Interval) -> str:
    """Return a speed-up with its interval, ``1.31x (1.27 to 1.36)``. One pair of processes has no interval."""
    if interval.processes < 2:
        return f"{ratio(interval.median)} (one pair)"
    return f"{ratio(interval.median)} ({ratio(interval.low)[:-1]} to {ratio(interval.high)[:-1]})"


def measured(value: float, low: float, high: float, unit: str) -> str:
    """Return a value with its interval to the same decimal place: ``182 GFLOP/s (180 to 185)``."""
    if value == 0:
        return f"0 {unit}"
    places = 2 - math.floor(math.log10(abs(float(significant(value)))))
    ends = (f"{round(end, places):.{max(0, places)}f}" for end in (low, high))
    return f"{significant(value)} {unit} ({' to '.join(ends)})"


def percent(share: float) -> str:
    """Return a share of 1: ``83 %``, ``2.1 %``."""
    return f"{_exact(share * 100)} %" if abs(share) < 0.1 else f"{share * 100:.0f} %"


def said(value: float, unit: str) -> str:
    """Return a value as a person reads it; NaN is unknown."""
    if math.isnan(value):
        return UNKNOWN
    if unit == "B":
        return size(value)
    if unit == "B/s":
        return f"{disk_size(value)}/s"
    if unit == "1/s":
        return f"{count(value)}/s".replace(" /", "/")
    if unit == "%":
        return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.1f} %"
    return f"{significant(value)} {unit}".strip()


def shorten(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of a text, with an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: max(1, limit - 1)].rstrip() + "…"


def outcome_text(kind: str, detail: str) -> str:
    """Return an outcome as text: ``ok``, or ``failed (signal): killed by SIGILL``."""
    return "ok" if kind == "ok" else f"failed ({kind})" + (f": {detail}" if detail else "")
