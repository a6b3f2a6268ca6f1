"""`Kind`: what a column holds."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["NUMERIC", "Kind"]


class Kind(StrEnum):
    """What a column holds, and so which operators it has."""

    TAG = "text"
    """One exact text."""
    TAGS = "texts"
    """A set of exact texts, sorted; empty where there are none."""
    COUNT = "count"
    """An integer; compared as the nearest double."""
    NUMBER = "number"
    """A float, kept to 15 significant digits."""
    TIME = "time"
    """An instant: stored as epoch microseconds (UTC), read as an aware datetime."""
    DURATION = "duration"
    """Stored as microseconds, read as a timedelta."""
    WORDS = "words"
    """Words of running text, searched and never read."""
    SCORES = "scores"
    """Numbers by name; each is asked for as a column of its own."""


NUMERIC = frozenset({Kind.COUNT, Kind.NUMBER, Kind.TIME, Kind.DURATION})
"""The kinds that are stored as numbers: they can be compared, sorted and summed."""
