"""The base of every data class of hwdiag: an immutable, validated value that survives a trip through JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticSerializationError


class Value(BaseModel):
    """Base of all facts, measurements and conclusions: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        """Return it as JSON. What is no Unicode in it, as in a name that the kernel keeps as bytes, is ``?``."""
        try:
            return super().model_dump_json(indent=indent, **options)
        except PydanticSerializationError:
            text = json.dumps(self.model_dump(**options), indent=indent, ensure_ascii=False)
            return text.encode(errors="replace").decode()


class TopicStudy(Value):
    """Base of what one topic found in one run: its own facts and measurements, as a record keeps them."""

    started_at: str
    """UTC, ISO 8601."""
