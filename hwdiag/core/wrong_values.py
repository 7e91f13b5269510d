"""Error messages for wrong parameters: one line that says what is allowed and what was given."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from hwdiag.core.kinds import ParamKind

KINDS = {
    "float_parsing": "a number",
    "float_type": "a number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "'name: value' lines",
}
"""What must stand there, by pydantic's name for the error."""
BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlevel = 2


def shown(value: Any) -> str:
    """Return a value as it was given, cut short where it is long."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    return _short.repr(value)


def what_is_wrong(error: Mapping[str, Any], kind: ParamKind | None) -> str:
    """Return one error of pydantic's in our words: ``minutes must be a number, got 'abc'``.

    Args:
        error: an entry of ``ValidationError.errors()``.
        kind: of the value that it is about; None where it is about several.
    """
    fault, value, name = error["type"], error["input"], named(error["loc"])
    if fault == "value_error":
        message = error["msg"].removeprefix("Value error, ")
        if not name:
            return str(message)
        return f"{name} {message}, got {shown(value)}" if message.startswith("must ") else f"{name}: {message}"
    if fault == "extra_forbidden":
        return f"unknown parameter {shown(name)}"
    if fault == "literal_error" and kind is not None:
        return f"{name} must be {listing(kind.choices)}, got {shown(value)}{meant(value, kind.choices)}"
    if fault in BOUNDS and kind is not None:
        return f"{name} must be {' and '.join(filter(None, (kind.least, kind.most)))}, got {shown(value)}"
    if fault in ("too_short", "too_long"):
        count = error["ctx"].get("min_length") if fault == "too_short" else error["ctx"].get("max_length")
        much = "at least" if fault == "too_short" else "at most"
        return f"{name} must have {much} {count} {'entry' if count == 1 else 'entries'}, got {shown(value)}"
    if fault == "string_too_short":
        return f"{name} must not be empty"
    return f"{name} must be {KINDS[fault]}, got {shown(value)}" if fault in KINDS else f"{name}: {error['msg']}"


def named(path: tuple[str | int, ...]) -> str:
    """Return the parameter's name, and which of its entries or fields: ``every entry of threads``, ``expect.arch``."""
    names = ".".join(part for part in path if isinstance(part, str))
    return f"every entry of {names}" if any(isinstance(part, int) for part in path) else names


def listing(choices: Sequence[str]) -> str:
    """Return ``a, b or c``."""
    return f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else choices[0]


def meant(value: Any, choices: Sequence[str]) -> str:
    """Return the choice that may have been meant, as a question; empty where none is near."""
    near = difflib.get_close_matches(value[:100], choices, n=1) if isinstance(value, str) else []
    return f': did you mean "{near[0]}"?' if near else ""
