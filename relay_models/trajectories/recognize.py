"""`recognize`: which format a JSON value of a file has, by its content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from relay_models.records import RunRecord
from relay_models.records.mending import mended_value

__all__ = ["Format", "ReadResult", "decode_json", "recognize"]


class Format(StrEnum):
    """A format in which runs travel."""

    CAPTURE = "capture"
    """Keys of NeMo Relay's Redis state, one JSON object per key."""
    RUNS = "runs"
    """Run records, one per line."""
    ATOF = "atof"
    """NeMo Relay's events, one per line."""
    ATIF = "atif"
    """Trajectories: one JSON document, or one per line."""
    OTLP = "otlp"
    """OpenTelemetry spans and log records as OTLP JSON, one export request per line."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """A run that was read, or what could not be read."""

    run: RunRecord | None = None
    error: str | None = None
    """Why there is no run; None where there is one."""
    line: int | None = None
    """Number of the line, from 1; of the last line where a run is made of several."""
    source: str | None = None
    """Name of the file, where it has one."""
    format: Format | None = None
    notes: Sequence[str] = ()
    """What of the run, or of a line that tells of one, is kept in another form, or is of an unknown shape."""

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.source else f"line {self.line}"
        return f"{where}: {self.error if self.run is None else self.run.id}"


def recognize(value: Any) -> Format | None:
    """Recognize the format of a JSON value.

    Args:
        value: a decoded line, or document; of a list its first item counts.

    Returns:
        The format; None for a value of no known one.
    """
    if isinstance(value, list):
        return recognize(value[0]) if value else None
    if not isinstance(value, Mapping):
        return None
    if isinstance(value.get("resourceSpans"), list) or isinstance(value.get("resourceLogs"), list):
        return Format.OTLP
    if str(value.get("schema_version", "")).startswith("ATIF-") or ("steps" in value and "agent" in value):
        return Format.ATIF
    if value.get("kind") in ("scope", "mark") and "uuid" in value:
        return Format.ATOF
    if "agent_id" in value and "calls" in value:
        return Format.RUNS
    if isinstance(value.get("key"), str) and "type" in value and "value" in value:
        return Format.CAPTURE
    return None


def decode_json(data: bytes) -> tuple[Any, list[str]]:
    """Decode JSON, also such as Python's ``json`` writes and others refuse: NaN, half of a surrogate pair.

    Returns:
        The value, and what had to be replaced in it, by path.

    Raises:
        ValueError: it is no JSON; says why.
    """
    try:
        return msgspec.json.decode(data), []
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except msgspec.MsgspecError as error:
        reason = str(error)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8 text: {error.reason} at byte {error.start}") from None
    try:
        return mended_value(data)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8 text: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError(f"it is no JSON: {reason}") from None
