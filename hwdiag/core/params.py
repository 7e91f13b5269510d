"""Parameters: those of one topic are one model. From it are made the command line, the variables ``HWDIAG_<NAME>``,
what a profile may hold, the notebook's parameters cell and the tables of the documentation.

A field has a type, a default, bounds and a description. ``Option`` says how it looks on the command line, where that
does not follow from its name and type.
"""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from hwdiag.core.bounded_yaml import LONGEST_TEXT, TooMuchError, load_yaml
from hwdiag.core.errors import UsageError
from hwdiag.core.kinds import ParamKind, kind_at, kind_of
from hwdiag.core.value import Value
from hwdiag.core.wrong_values import shown, what_is_wrong

M = TypeVar("M", bound=Value)

LONGEST_WORD = 128 * 1024
"""Characters of one word of a command, as Linux allows."""
MOST_ENTRIES = 100_000
"""Entries of one list."""


@dataclass(frozen=True)
class Option:
    """The text form of a parameter. A list may be given several times on the command line."""

    flag: str | None = None
    """In place of ``--`` and the parameter's name."""
    metavar: str | None = None
    positional: bool = False
    """Without a flag: as many as there are, behind the options."""
    command: bool = False
    """A text is the words of a command, as a shell would split it."""
    whole: bool = False
    """An entry of a list on the command line may hold commas."""


def option_of(field: FieldInfo) -> Option:
    """Return how this parameter is given as text."""
    return next((m for m in reversed(field.metadata) if isinstance(m, Option)), Option())


def load(
    model: type[M],
    given: Mapping[str, Any],
    *,
    names: Iterable[str],
    profile: Callable[[str], tuple[str, Mapping[str, Any]]] | None = None,
) -> M:
    """Return a topic's parameters: what was given wins over ``HWDIAG_<NAME>``, that over the profile and its default.

    Args:
        model: the topic's parameters.
        given: values by name; ``None`` stands for not given.
        names: the parameters that may be given.
        profile: gives, for the parameter ``host``, where the profile is and what it holds; None: there is none.

    Raises:
        UsageError: an unknown name or a wrong value, in one line.
    """
    names = list(names)
    refuse_unknown(given, names)
    variables = {name: os.environ.get(variable(name)) for name in names}
    origin = {name: f"{variable(name)}: " for name, value in variables.items() if value}
    values: dict[str, Any] = {name: value for name, value in variables.items() if value}
    for name, value in given.items():
        if value is not None:
            values[name], origin[name] = value, ""
    if profile is not None:
        host = values.get("host", "auto")
        where, held = profile(host if isinstance(host, str) else shown(host))
        for name in held:
            if name in model.model_fields and name not in values:
                values[name], origin[name] = held[name], f"{where}: "
    return validated(model, values, origin)


def variable(name: str) -> str:
    """Return the variable of the environment that gives this parameter."""
    return f"HWDIAG_{name.upper()}"


def validated(model: type[M], values: Mapping[str, Any], origin: Mapping[str, str]) -> M:
    """Return the model of these values; text becomes what it stands for.

    Raises:
        UsageError: one is wrong; the line begins with where it came from.
    """
    ready = {}
    for name, value in values.items():
        field = model.model_fields[name]
        try:
            ready[name] = from_text(value, kind_of(field), option_of(field))
        except ValueError as error:
            raise UsageError(f"{origin.get(name, '')}{name} {error}") from None
    try:
        return model.model_validate(ready)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = origin.get(str(first["loc"][0]), "") if first["loc"] else ""
        raise UsageError(f"{where}{what_is_wrong(first, kind_at(model, first['loc']))}") from None


def from_text(value: Any, kind: ParamKind, option: Option) -> Any:
    """Return the value that was given, as YAML, JSON or text, as what pydantic then looks at closely.

    Raises:
        ValueError: it is of another kind, or too long; the text goes on from the parameter's name.
    """
    longest = LONGEST_WORD if option.command else LONGEST_TEXT
    refuse_text(value, longest)
    if kind.is_list:
        entries = entries_of(value, option)
        if len(entries) > MOST_ENTRIES:
            raise ValueError(f"must have at most {MOST_ENTRIES} entries, got {len(entries)}")
        for entry in entries:
            refuse_text(entry, longest)
        return [one(entry, kind) for entry in entries]
    return one(value, kind)


def one(value: Any, kind: ParamKind) -> Any:
    """Return one value or entry. Raises ``ValueError`` for a truth value in place of a number."""
    if kind.type in (int, float) and isinstance(value, bool):
        raise ValueError(f"must be a {'whole ' if kind.type is int else ''}number, got {value}")
    if kind.type is str and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
        return str(value)  # papermill makes a number of a text such as 10
    return value


def entries_of(value: Any, option: Option) -> list[Any]:
    """Return the entries of ``a``, ``a,b``, ``[a, b]``, the words of a command, or of what is a list already.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        return listed(value)
    if isinstance(value, str):
        return split_command(value) if option.command else [part.strip() for part in value.split(",")]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list, got {shown(value)}")
    return list(value)


def listed(text: str) -> list[Any]:
    """Return the entries of a list in brackets, all as text. Raises ``ValueError`` where it is none."""
    try:
        found = load_yaml(text, only_text=True)
    except TooMuchError as error:
        raise ValueError(str(error)) from None
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise ValueError(f"must be a list such as a,b or [a, b], got {shown(text)}")
    return found


def split_command(command: str) -> list[str]:
    """Return a command's words as a shell would split them. Raises ``ValueError`` for an open quotation."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ValueError(f"must be the words of a command, got {shown(command)}: {str(error).lower()}") from None


def refuse_text(value: Any, longest: int) -> None:
    """Raise ``ValueError`` for a text that is too long, or that no file or program can be named by."""
    if not isinstance(value, str):
        return
    if len(value) > longest:
        raise ValueError(f"must be at most {longest} characters, got {len(value)}")
    if "\0" in value:
        raise ValueError(f"must not hold a NUL character, got {shown(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"must be text in UTF-8, got {shown(value)}")


def refuse_unknown(names: Iterable[Any], known: Iterable[str], where: str = "") -> None:
    """Raise ``UsageError`` for the first name that is not known, and say which one may have been meant."""
    allowed = list(known)
    for name in names:
        if name not in allowed:
            raise UsageError(f"{where}unknown parameter {shown(str(name))}{suggestion(str(name), allowed)}")


def one_of(value: str, known: Iterable[str], what: str) -> str:
    """Return a name that is known. Raises ``ValueError`` for any other: ``there is no net 'vgg': did you mean ...``."""
    allowed = list(known)
    if value not in allowed:
        raise ValueError(f"there is no {what} {shown(value)}{suggestion(value, allowed)}")
    return value


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``: did you mean "threads"? (known: ...)``."""
    allowed = list(known)
    near = difflib.get_close_matches(name[:100], allowed, n=1)
    return (f': did you mean "{near[0]}"?' if near else "") + f" (known: {', '.join(allowed)})"
