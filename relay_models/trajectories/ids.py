"""`derived_id`: the same identifier for the same run, however often a source is read."""

from __future__ import annotations

import json
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

__all__ = ["as_uuid", "derived_id"]

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:relay-models:runs")


def derived_id(*parts: Any) -> UUID:
    """Derive a UUIDv5 from JSON values; equal values give the same one."""
    return uuid5(_NAMESPACE, json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str))


def as_uuid(text: Any) -> UUID | None:
    """The UUID that a text is, in the usual form with hyphens; None for anything else."""
    if not isinstance(text, str) or len(text) != 36:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
