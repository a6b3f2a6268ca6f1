"""`mend_json`: JSON text that other readers refuse, with what cannot be kept replaced and named."""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic_core import to_json as write_json

from relay_models.errors import InvalidRecordError
from relay_models.records.record import from_json
from relay_models.records.run import RunRecord

__all__ = ["LenientDecoder", "mend_json", "mended", "mended_value", "notes_of", "read_run"]

# What stands for half of a surrogate pair, as in most JSON readers.
_REPLACEMENT = "\ufffd"


class _NoNumber(str):
    """A number that JSON or a double cannot hold, as its text."""


class LenientDecoder(json.JSONDecoder):
    """Decodes such numbers to a mark of their own."""

    def __init__(self) -> None:
        super().__init__(parse_constant=_NoNumber, parse_float=_finite)


def mended_value(data: str | bytes) -> tuple[Any, list[str]]:
    """Decode JSON that may hold what Python's ``json`` writes and most readers refuse.

    NaN, infinite numbers and numbers that are out of range become their text. Half of a surrogate pair, which no
    UTF-8 can hold, becomes U+FFFD.

    Args:
        data: The JSON text.

    Returns:
        The value, and what was replaced, by path.

    Raises:
        ValueError: It is no JSON at all.
        RecursionError: It is nested too deeply.
    """
    return mended(json.loads(data, cls=LenientDecoder))


def mended(value: Any) -> tuple[Any, list[str]]:
    """The same for a value that a `LenientDecoder` has decoded."""
    notes: list[str] = []
    return _mended(value, (), notes), notes


def mend_json(data: str | bytes) -> tuple[bytes, list[str]]:
    """Rewrite such JSON as text that every reader takes.

    Returns:
        The text, and what was replaced, by path; nothing where the text was as good.

    Raises:
        ValueError: It is no JSON at all.
        RecursionError: It is nested too deeply.
    """
    value, notes = mended_value(data)
    return write_json(value), notes


def read_run(data: str | bytes) -> tuple[RunRecord, bytes, list[str]]:
    """Read a run as `from_json` does, also from JSON text that other readers refuse.

    Returns:
        The run, the JSON text that it was read from, and notes: what was replaced in it, and what was not understood.

    Raises:
        InvalidRecordError: It is no run.
    """
    replaced: list[str] = []
    try:
        run = from_json(RunRecord, data)
    except InvalidRecordError as error:
        try:
            data, replaced = mend_json(data)
        except (ValueError, RecursionError):
            raise error from None
        if not replaced:
            raise
        run = from_json(RunRecord, data)
    return run, data.encode() if isinstance(data, str) else data, [*replaced, *notes_of(run)]


def notes_of(run: RunRecord) -> list[str]:
    """What of a run is kept although it is not what its field says, one line each."""
    return [f"{path} is of a shape that is not known, and kept as it came" for path in run.not_understood]


def _finite(text: str) -> float | _NoNumber:
    number = float(text)
    return number if math.isfinite(number) else _NoNumber(text)


def _mended(value: Any, path: tuple[str, ...], notes: list[str]) -> Any:
    if isinstance(value, _NoNumber):
        notes.append(f"{'.'.join(path) or 'the value'} is {value}, which JSON cannot hold, and kept as text")
        return str(value)
    if isinstance(value, str):
        return _whole_text(value, path, notes)
    if isinstance(value, list):
        return [_mended(item, (*path, str(index)), notes) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            _whole_text(key, path, notes): _mended(item, (*path, _shown(key)), notes) for key, item in value.items()
        }
    return value


def _whole_text(text: str, path: tuple[str, ...], notes: list[str]) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        notes.append(f"{'.'.join(path) or 'the value'} has half of a surrogate pair, which is now U+FFFD")
        return _shown(text)
    return text


def _shown(text: str) -> str:
    return "".join(_REPLACEMENT if "\ud800" <= character <= "\udfff" else character for character in text)
