"""The command line's options of a topic's parameters, made from its model."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hwdiag.core.errors import UsageError
from hwdiag.core.kinds import ParamKind, kind_of, number
from hwdiag.core.params import option_of

UNSET, TAKES = "; None ", "takes "
"""A description that ends in ``; None takes X`` says what holds without the parameter."""


def add_options(parser: argparse.ArgumentParser, model: type[BaseModel], *, but: Collection[str] = ()) -> None:
    """Add an option for each parameter, but for those that ``--set`` alone gives here, and ``--set`` itself.

    Values stay as they were given: what is wrong with one is said where all are looked at.
    """
    add_group(parser, model, but=but)
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="any parameter, by its name")


def add_group(parser: argparse._ActionsContainer, model: type[BaseModel], *, but: Collection[str] = ()) -> None:
    """Add an option for each parameter, but for these."""
    for name, field in model.model_fields.items():
        if name not in but:
            parser.add_argument(*flags_of(name, field), **_how(name, field))


def flags_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    """Return what a parameter is called on the command line."""
    option = option_of(field)
    return (name,) if option.positional else (option.flag or f"--{name.replace('_', '-')}",)


def _how(name: str, field: FieldInfo) -> dict[str, Any]:
    option, kind = option_of(field), kind_of(field)
    how: dict[str, Any] = {"help": help_of(field).replace("%", "%%")}
    if option.positional:
        return {**how, "nargs": "*", "metavar": option.metavar or name.upper()}
    how["dest"] = name
    if kind.type is bool:
        return {**how, "action": argparse.BooleanOptionalAction}
    how["metavar"] = option.metavar or metavar_of(kind)
    return {**how, "action": "append"} if kind.is_list else how


def metavar_of(kind: ParamKind) -> str:
    """Return the short word for a value of this kind."""
    if kind.choices:
        return "|".join(kind.choices)
    word = "N" if kind.type in (int, float) else "TEXT"
    return f"{word},{word}" if kind.is_list and kind.type is int else word


def help_of(field: FieldInfo) -> str:
    """Return the description, with what holds where the parameter is not given."""
    text, _, unset = (field.description or "").partition(UNSET)
    if unset and not unset.startswith(TAKES):
        return f"{text} (without it: {unset})"
    default = unset.removeprefix(TAKES) or default_of(field)
    return f"{text} (default: {default})" if default else text


def default_of(field: FieldInfo) -> str:
    """Return the default as a person writes it; empty for none."""
    return text_of(field.default)


def text_of(value: Any) -> str:
    """Return a parameter's value as a person writes it; empty for none."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return number(value) if isinstance(value, int | float) else str(value)


def choice_of(field: FieldInfo, value: Any) -> str:
    """Return a parameter's value, or what holds where it was not given."""
    unset = (field.description or "").partition(UNSET)[2].removeprefix(TAKES)
    return text_of(value) or (f"not given: {unset}" if unset else "not given")


def given(args: argparse.Namespace, model: type[BaseModel]) -> dict[str, Any]:
    """Return the parameters that were given on the command line.

    Raises:
        UsageError: a ``--set`` without a value.
    """
    values = {}
    for name, field in model.model_fields.items():
        value = getattr(args, name, None)
        if value not in (None, []):
            values[name] = entries(value, field) if isinstance(value, list) else value
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set takes NAME=VALUE, not {pair[:100]!r}")
        values[name] = value
    return values


def entries(given: list[str], field: FieldInfo) -> Any:
    """Return the entries of a list; of an option that was given once, its text, which is read as anywhere else."""
    option = option_of(field)
    if option.positional or option.whole:
        return given
    return given[0] if len(given) == 1 else [part for text in given for part in text.split(",")]
