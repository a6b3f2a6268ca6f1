"""JSON Schemas of what NeMo Relay writes, one per kind of state."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from relay_models.documents.kinds import DocumentKind

__all__ = ["DIALECT", "json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(kind: DocumentKind) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a kind's record, with the meaning of every field.

    Fields that it does not name are allowed at every level, as later versions of NeMo Relay add some.
    """
    schema = TypeAdapter(kind.shape).json_schema(by_alias=True, mode="validation")
    head = {
        "$schema": DIALECT,
        "$id": f"urn:relay-models:schema:{kind.name}",
        "title": kind.title,
        "description": kind.summary,
    }
    return head | {name: value for name, value in schema.items() if name not in head}
