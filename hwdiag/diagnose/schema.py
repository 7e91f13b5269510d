"""JSON Schemas of records, with all topics' studies, and of verifications: public formats, for other programs."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from textwrap import dedent
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from hwdiag.core.value import TopicStudy, Value
from hwdiag.diagnose.model import Triage
from hwdiag.diagnose.topics import TOPICS
from hwdiag.record.model import SCHEMA_VERSION, Record, Topic
from hwdiag.record.tuning import Tuning
from hwdiag.record.verification import Verification
from hwdiag.verify.model import Reference

Json = dict[str, Any]

STUDIES: dict[Topic, type[TopicStudy]] = {
    "diagnose": Triage,
    "tune": Tuning,
    "verify": Reference,
    **{topic: entry.kind for topic, entry in TOPICS.items()},
}


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out titles that only say a field's name again."""

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False


def record_schema() -> Json:
    """Return the JSON Schema (draft 2020-12) of a record as this hwdiag writes it."""
    wanted = [(kind, "serialization") for kind in (Record, *STUDIES.values())]
    _, found = models_json_schema(wanted, schema_generator=_WithoutTitles)  # type: ignore[arg-type]
    definitions = described(found["$defs"])
    record = definitions.pop("Record")
    del definitions["TopicStudy"]
    record["properties"]["studies"] = {
        "type": "object",
        "description": "The study of each topic.",
        "properties": {topic: {"$ref": f"#/$defs/{kind.__name__}"} for topic, kind in STUDIES.items()},
        "additionalProperties": False,
        "default": {},
    }
    record["required"] = ["schema_version", *record["required"]]  # a record without it is of another age
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:hwdiag:record:{SCHEMA_VERSION}",
        "title": "hwdiag record",
        **record,
        "$defs": definitions,
    }


def verification_schema() -> Json:
    """Return the JSON Schema of a verification."""
    _, found = models_json_schema([(Verification, "serialization")], schema_generator=_WithoutTitles)
    definitions = described(found["$defs"])
    whole = definitions.pop("Verification")
    whole["required"] = ["kind", "schema_version", *whole["required"]]
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": "urn:hwdiag:verification:1",
        "title": "hwdiag verification",
        **whole,
        "$defs": definitions,
    }


SCHEMAS: dict[str, Callable[[], Json]] = {"record": record_schema, "verification": verification_schema}
"""Of the files that other programs read."""


def described(definitions: Json) -> Json:
    """Return definitions of models with what their source says of each field."""
    for kind in models(Value):
        if kind.__name__ in definitions:
            describe(definitions[kind.__name__], kind)
    return definitions


def models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield every model that is made from this one."""
    for kind in base.__subclasses__():
        yield kind
        yield from models(kind)


def describe(schema: Json, kind: type[BaseModel]) -> None:
    """Add what the model's source says below each of its fields."""
    schema.pop("title", None)
    for owner in reversed(kind.__mro__):
        if issubclass(owner, Value) and owner is not Value:
            for name, text in said_of_fields(owner).items():
                if name in schema["properties"]:
                    schema["properties"][name].setdefault("description", text)


def said_of_fields(kind: type[BaseModel]) -> dict[str, str]:
    """Return the text that stands below each field in a model's source, on one line."""
    body = ast.parse(dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            text = after.value.value if isinstance(after.value, ast.Constant) else None
            if isinstance(text, str):
                found[field.target.id] = " ".join(text.split())
    return found
