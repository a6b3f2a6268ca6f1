"""`understood`: a request or response as JSON, without the values in it that could not be understood."""

from __future__ import annotations

from typing import Any

from relay_models.records import AnnotatedLlmRequest, AnnotatedLlmResponse

__all__ = ["understood"]


def understood(record: AnnotatedLlmRequest | AnnotatedLlmResponse) -> dict[str, Any]:
    """The record as JSON values, each field of the type that it says; what is of another type is left out."""
    value = record.model_dump(mode="json")
    for path in record.not_understood:
        *way, name = path.split(".")
        inner: Any = value
        for step in way:
            inner = inner[int(step)] if isinstance(inner, list) else inner[step]
        inner.pop(name, None)
    return value
