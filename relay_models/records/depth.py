"""How deep JSON may be nested: no deeper than pydantic reads it, so that what is written can be read again."""

from __future__ import annotations

from typing import Final

from pydantic_core import from_json

__all__ = ["MAX_DEPTH", "is_too_deep"]

MAX_DEPTH: Final = 199
"""Pydantic reads 200 levels, of which a list of records takes one."""
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if chr(byte) not in "[]{}")


def is_too_deep(data: bytes) -> bool:
    """Whether pydantic would refuse to read a JSON text, or a list of such texts, for its depth."""
    if len(data.translate(None, _NO_BRACKETS)) < 2 * MAX_DEPTH:  # each level has two; also counts those in texts
        return False
    try:
        from_json(b"[%b]" % data, cache_strings=False)
    except ValueError as error:
        return "recursion limit" in str(error)
    return False
