"""The kinds of values that a model's fields take: what their annotations say, read once for all who need it."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class ParamKind(NamedTuple):
    """The type of a parameter, or of its entries where it is a list."""

    type: Any
    """``bool``, ``int``, ``float``, ``str``, or a model."""
    choices: tuple[str, ...] = ()
    is_list: bool = False
    least: str = ""
    """``above 0`` or ``at least 1``; empty without a bound."""
    most: str = ""


LEAST, MOST = {"gt": "above", "ge": "at least"}, {"lt": "below", "le": "at most"}


def kind_of(field: FieldInfo) -> ParamKind:
    """Return the kind of value that a field takes; whether it may be ``None`` is left out."""
    kind = _kind(field.annotation)
    return kind if kind.is_list else _bounded(kind, field.metadata)


def kind_at(model: type[BaseModel], path: tuple[str | int, ...]) -> ParamKind | None:
    """Return the kind of the field at the end of a path of names, as in pydantic's errors; None where there is none."""
    names = [part for part in path if isinstance(part, str)]
    kind = None
    for name in names:
        field = model.model_fields.get(name)
        if field is None:
            return None
        kind = kind_of(field)
        model = kind.type if isinstance(kind.type, type) and issubclass(kind.type, BaseModel) else BaseModel
    return kind


def _kind(annotation: Any) -> ParamKind:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(_kind(args[0]), args[1:])
    if origin in (Union, UnionType):
        return _kind(next(a for a in args if a is not NoneType))
    if origin is tuple:
        return _kind(args[0])._replace(is_list=True)
    if origin is Literal:
        return ParamKind(str, choices=args)
    return ParamKind(annotation)


def _bounded(kind: ParamKind, metadata: Any) -> ParamKind:
    bounds = [m for part in metadata for m in (part, *getattr(part, "metadata", ()))]
    return kind._replace(least=_limit(bounds, LEAST) or kind.least, most=_limit(bounds, MOST) or kind.most)


def _limit(bounds: list[Any], words: dict[str, str]) -> str:
    """Return the last bound of these names in words; empty where there is none."""
    limits = [(word, getattr(b, name)) for b in bounds for name, word in words.items() if hasattr(b, name)]
    return f"{limits[-1][0]} {number(limits[-1][1])}" if limits else ""


def number(value: float) -> str:
    """Return a number as a person writes it."""
    return str(int(value)) if value == int(value) else f"{value:g}"
