"""The base of every data class of hwdiag: an immutable, validated value that survives a trip through JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """Base of all facts, measurements and conclusions: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TopicStudy(Value):
    """Base of what one topic found in one run: its own facts and measurements, as a record keeps them."""

    started_at: str
    """UTC, ISO 8601."""
