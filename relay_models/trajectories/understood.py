"""`understood`: a record as JSON, without the values in it that could not be understood."""

from __future__ import annotations

from typing import Any

from relay_models.records import LooseRecord
from relay_models.records.loose import unknown_shapes

__all__ = ["understood"]


def understood(record: LooseRecord) -> dict[str, Any]:
    """The record as JSON values, each field of the type that it says; what is of another type is left out."""
    value = record.model_dump(mode="json")
    for *way, name in unknown_shapes(record):
        inner: Any = value
        for step in way:
            inner = inner[int(step)] if isinstance(inner, list) else inner[step]
        inner.pop(name, None)
    return value
