"""Attributes of OpenTelemetry in OTLP JSON: from and to Python values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from relay_models.records.mending import mended_value

__all__ = [
    "OWN_SERVICE",
    "decode_attributes",
    "decode_value",
    "encode_attributes",
    "encode_value",
    "first_of",
    "indexed",
    "parsed",
    "unflatten",
]

# Maximum depth of lists and objects in a value; protobuf's own limit for messages inside messages.
_MAX_DEPTH = 100
# The service of spans that were written here: it says nothing of where runs come from.
OWN_SERVICE = "relay-models"


def decode_value(value: Any, depth: int = 0) -> Any:
    """The value in an AnyValue of OTLP JSON, `depth` others around it; None where there is none.

    Raises:
        ValueError: it is not of the type that it says, or has too much inside each other.
    """
    if not isinstance(value, Mapping):
        return None
    if depth > _MAX_DEPTH:
        raise ValueError(f"a value has more than {_MAX_DEPTH} others around it")
    try:
        return _decoded(value, depth)
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a value is not of the type that it says: {error}") from None


def _decoded(value: Mapping[str, Any], depth: int) -> Any:
    for name, item in value.items():
        match name:
            case "stringValue" | "boolValue" | "bytesValue":
                return item
            case "intValue":
                return int(item)
            case "doubleValue":
                number = float(item)
                return number if math.isfinite(number) else None  # JSON has no other
            case "arrayValue":
                return [decode_value(each, depth + 1) for each in item.get("values") or ()]
            case "kvlistValue":
                return decode_attributes(item.get("values"), depth + 1)
    return None


def decode_attributes(attributes: Any, depth: int = 0) -> dict[str, Any]:
    """Attributes by key; of a key that is there twice the last counts.

    Raises:
        ValueError: they are no list of keys and values.
    """
    if attributes is None:
        return {}
    if not isinstance(attributes, list):
        raise ValueError("attributes are no list")
    try:
        return {str(item["key"]): decode_value(item.get("value"), depth) for item in attributes}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"attributes are no list of keys and values: {error!r}") from None


def encode_value(value: Any) -> dict[str, Any]:
    """A Python value as an AnyValue of OTLP JSON; objects and what is no JSON value become text."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, (list, tuple)) and all(isinstance(item, (str, int, float)) for item in value):
        return {"arrayValue": {"values": [encode_value(item) for item in value]}}
    return {"stringValue": json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)}


def encode_attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP JSON has them, without those that are None."""
    return [{"key": key, "value": encode_value(value)} for key, value in attributes.items() if value is not None]


def parsed(value: Any) -> Any:
    """The object or list in a JSON text; anything else as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return mended_value(value)[0]
        except (ValueError, RecursionError):
            return value
    return value


def unflatten(attributes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The attributes below a prefix as an object, their JSON texts parsed; {} where there are none."""
    found = {key[len(prefix) :]: value for key, value in attributes.items() if key.startswith(prefix)}
    return {key: parsed(value) for key, value in found.items()}


def indexed(attributes: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """The attributes ``{prefix}N.rest`` as one mapping of rests for each N, in order."""
    groups: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if key.startswith(prefix):
            number, _, rest = key[len(prefix) :].partition(".")
            if number.isascii() and number.isdigit() and len(number) < 8:
                groups.setdefault(int(number), {})[rest] = value
    return [groups[number] for number in sorted(groups)]


def first_of(attributes: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """The value of the first of these keys that has one."""
    return next((attributes[key] for key in keys if attributes.get(key) is not None), None)
