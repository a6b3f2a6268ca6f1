"""Message content and loose JSON values, between ATIF's form and that of run records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from relay_models.records import Timestamp
from relay_models.records.mending import mended_value

__all__ = [
    "ATIF_KEY",
    "OWN_KEY",
    "as_arguments",
    "atif_content",
    "is_representable",
    "known",
    "mapping",
    "objects",
    "record_content",
    "text_or_none",
    "timestamp",
    "without",
]

# Under this key of an `extra` object is what ATIF has no field for.
OWN_KEY = "relay_models"
# Under this key of a call's or run's metadata is what run records have no field for.
ATIF_KEY = "atif"

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


def record_content(content: Any) -> Any:
    """ATIF's content as a record has it: parts other than text become native parts of the provider "atif"."""
    if not isinstance(content, list):
        return "" if content is None else str(content)
    parts: list[dict[str, Any]] = []
    for part in content:
        if not isinstance(part, Mapping):
            parts.append({"type": "text", "text": str(part)})
        elif part.get("type") == "text" and isinstance(part.get("text"), str):
            parts.append({"type": "text", "text": part["text"]})
        else:
            kind = str(part.get("type", "unknown"))
            parts.append({"type": "provider_native", "provider": "atif", "kind": kind, "value": dict(part)})
    return parts


def atif_content(content: Any) -> Any:
    """A record's content (text or parts, as JSON) as ATIF v1.7 has it: what it cannot hold is named in a text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(
        isinstance(part, Mapping) and isinstance(part.get("type"), str) for part in content
    ):
        return ""  # nothing, or what could not be understood
    return [_part(part) for part in content]


def is_representable(content: Any) -> bool:
    """Whether ATIF v1.7 holds all of a record's content."""
    return content is None or isinstance(content, str) or record_content(atif_content(content)) == content


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "text": str(part.get("text") or "")}
    value = part.get("value")
    source = value.get("source") if isinstance(value, Mapping) else None
    if (
        part.get("provider") == "atif"
        and part.get("kind") == "image"
        and isinstance(source, Mapping)
        and source.get("media_type") in _IMAGES
        and isinstance(source.get("path"), str)
    ):
        return {"type": "image", "source": {"media_type": source["media_type"], "path": source["path"]}}
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if isinstance(url, str) and url.startswith("data:") and url[5:].split(";")[0] in _IMAGES:
        return {"type": "image", "source": {"media_type": url[5:].split(";")[0], "path": url}}
    return {"type": "text", "text": f"[{part.get('kind') or part.get('type')}]"}


def as_arguments(value: Any) -> dict[str, Any]:
    """Arguments of a tool as an object; what is none is ``{"raw": value}``."""
    if isinstance(value, str):
        try:
            parsed = mended_value(value)[0]
        except (ValueError, RecursionError):
            return {"raw": value}
        return parsed if isinstance(parsed, dict) else {"raw": value}
    if isinstance(value, Mapping):
        return dict(value)
    return {} if value is None else {"raw": value}


def timestamp(value: Any) -> Timestamp | None:
    """A time of ISO 8601, without an offset UTC, or of seconds since 1970; None for anything else."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Timestamp.from_nanoseconds(round(value * 1_000_000) * 1000)
        if not isinstance(value, str):
            return None
        try:
            found = Timestamp(value)
        except ValueError:
            moment = datetime.fromisoformat(value)
            return Timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        text = found.text
        return Timestamp(f"{text[:-6]}Z") if text.endswith("+00:00") else found
    except (ValueError, OverflowError):
        return None


def text_or_none(value: Any) -> str | None:
    """A text that is not empty, or None."""
    return value if isinstance(value, str) and value else None


def known(value: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are not None."""
    return {name: item for name, item in value.items() if item is not None}


def without(value: Any, *names: str) -> dict[str, Any]:
    """An object without some members; {} for what is no object."""
    return {name: item for name, item in value.items() if name not in names} if isinstance(value, Mapping) else {}


def mapping(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> Sequence[Mapping[str, Any]]:
    """The objects in a list; none for anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
