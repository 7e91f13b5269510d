"""Parameters of the notebooks beside diagnose.ipynb: how they are given, checked and shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from hwdiag.errors import UsageError
from hwdiag.model import Value
from hwdiag.params import refuse_unknown
from hwdiag.show.table import Table

P = TypeVar("P", bound="NotebookParams")


class NotebookParams(Value):
    """All parameters of one notebook. A field's text is its help everywhere."""

    @classmethod
    def load(cls: type[P], given: Mapping[str, Any]) -> P:
        """Parameters given, then variables ``HWDIAG_<NAME>``, then the defaults; ``None`` stands for not given.

        Raises:
            UsageError: an unknown name or a wrong value.
        """
        refuse_unknown(given, cls.model_fields)
        named = {name: os.environ.get(f"HWDIAG_{name.upper()}") for name in cls.model_fields}
        values = {**{k: v for k, v in named.items() if v}, **{k: v for k, v in given.items() if v is not None}}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            message = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"parameter {first['loc'][0]}: {message}") from None

    def table(self) -> Table:
        """The parameters as a table."""
        return Table("Parameters", ("parameter", "value"), [(name, text_of(value)) for name, value in self])

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def __repr__(self) -> str:
        return repr(self.table())


def text_of(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    elif isinstance(value, float):
        value = f"{value:g}"
    return "as described above" if value in (None, "") else str(value)


def as_names(value: Any) -> Any:
    """``a``, ``a,b`` and ``[a, b]``, as papermill's -p and variables give names, as a list of them.

    Raises ``ValueError`` where it is neither.
    """
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [name.strip() for name in value.split(",")]
    try:
        return [str(name).strip() for name in yaml.safe_load(value)]
    except yaml.YAMLError:
        raise ValueError("neither a name nor a list of names") from None
