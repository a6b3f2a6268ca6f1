"""Epoch microseconds, durations and zones: how instants and spans of time are kept and read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["datetime_of", "microseconds_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Epoch microseconds below this (year 2106) are exact as doubles of seconds.
_NEAR = 2**32 * 1_000_000


def microseconds_of(value: datetime | timedelta) -> int:
    """Microseconds since 1970 of an aware datetime, or of a timedelta, exactly."""
    difference = value if isinstance(value, timedelta) else value - _EPOCH
    return difference // _MICROSECOND


def datetime_of(microseconds: int) -> datetime:
    """The aware datetime (UTC) so many microseconds after 1970; the first or last there is, if it is beyond."""
    if 0 <= microseconds < _NEAR:
        # A double is near enough here to be rounded to the same microsecond, in two thirds of the time.
        return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    try:
        return _EPOCH + timedelta(0, 0, microseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if microseconds > 0 else datetime.min.replace(tzinfo=UTC)
