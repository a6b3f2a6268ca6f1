"""Epoch microseconds, durations and time zones: how instants and durations are stored, parsed and printed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from math import inf
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay_models.errors import QueryError

__all__ = [
    "DURATION_UNITS",
    "datetime_of",
    "exact_number",
    "microseconds_of",
    "parse_duration",
    "parse_zone",
    "print_duration",
    "print_instant",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Epoch microseconds below this (year 2106) are exact as doubles of seconds.
_NEAR = 2**32 * 1_000_000

DURATION_UNITS = {
    "us": 1, "µs": 1, "μs": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "min": 60_000_000,
    "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000,
}  # fmt: skip
"""Microseconds of each unit of a duration."""

_LONG_UNITS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "mins": "m", "minute": "m", "minutes": "m", "hr": "h",
    "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w",
    "millisecond": "ms", "milliseconds": "ms", "microsecond": "us", "microseconds": "us",
}  # fmt: skip
_LONGEST_NUMBER = 40
_FAR = re.compile(r"e[+-]?\d{3}", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([a-zµμ]+)\s*", re.IGNORECASE)


def microseconds_of(value: datetime | timedelta) -> int:
    """Microseconds since 1970 of an aware datetime, or of a timedelta, exactly."""
    difference = value if isinstance(value, timedelta) else value - _EPOCH
    return difference // _MICROSECOND


def datetime_of(microseconds: int) -> datetime:
    """The aware datetime (UTC) of epoch microseconds; the first or last datetime there is, where it is beyond."""
    if 0 <= microseconds < _NEAR:
        # A double is near enough here to be rounded to the same microsecond, in two thirds of the time.
        return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    try:
        return _EPOCH + timedelta(0, 0, microseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if microseconds > 0 else datetime.min.replace(tzinfo=UTC)


def parse_duration(text: str) -> int | float:
    """Read a duration such as ``2s``, ``1h30m``, ``250ms`` or ``-1.5d``.

    Returns:
        Microseconds; a float only where they are not whole.

    Raises:
        ValueError: it is not a duration; the message says how one is written.
    """
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if rest in ("0", "inf"):
        return 0 if rest == "0" else sign * inf
    total: int | float | Fraction = 0
    position = 0
    while match := _PART.match(rest, position):
        unit = match[2].lower()
        unit = _LONG_UNITS.get(unit, unit)
        if unit not in DURATION_UNITS:
            break
        total += exact_number(match[1]) * DURATION_UNITS[unit]
        position = match.end()
    if not position or position != len(rest):
        hint = f"; did you mean {text}s?" if re.fullmatch(r"[+-]?[\d.]+", text) else ""
        raise ValueError(f"{text[:60]!r} is not a duration: write 250ms, 2s, 5m, 1.5h, 2d or 1h30m{hint}")
    if isinstance(total, Fraction):
        total = int(total) if total.denominator == 1 else float(total)
    elif isinstance(total, float) and total.is_integer():
        total = int(total)
    return sign * total


def exact_number(number: str) -> int | float | Fraction:
    """A number as written: 1.001 s are 1,001,000 µs. One that is beyond all times is a float, however long it is."""
    if len(number) > _LONGEST_NUMBER or _FAR.search(number):
        return float(number)
    return int(number) if number.lstrip("+-").isdecimal() else Fraction(number)


def print_duration(microseconds: int | float) -> str:
    """Write a duration as `parse_duration` reads it."""
    if isinstance(microseconds, float) and not microseconds.is_integer():
        return f"{microseconds!r}us" if microseconds not in (inf, -inf) else str(microseconds)
    whole = int(microseconds)
    if whole == 0:
        return "0s"
    for unit in ("d", "h", "m", "s", "ms"):
        if whole % DURATION_UNITS[unit] == 0:
            return f"{whole // DURATION_UNITS[unit]}{unit}"
    return f"{whole}us"


def print_instant(microseconds: int | float) -> str:
    """Write epoch microseconds as ISO 8601 in UTC; as a number where there is no such datetime."""
    if isinstance(microseconds, float):
        if not microseconds.is_integer():
            return repr(microseconds)
        microseconds = int(microseconds)
    try:
        return (datetime(1970, 1, 1) + timedelta(microseconds=microseconds)).isoformat() + "Z"  # noqa: DTZ001
    except OverflowError:
        return str(microseconds)


def parse_zone(zone: str | tzinfo | None) -> tzinfo:
    """A time zone by its name, such as ``Europe/Berlin``; UTC for None.

    Raises:
        QueryError: there is no such zone.
    """
    if zone is None:
        return UTC
    if isinstance(zone, str):
        if zone.upper() in ("UTC", "Z"):
            return UTC
        try:
            return ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise QueryError(f"there is no time zone {zone!r}; write one such as Europe/Berlin") from None
    if not isinstance(zone, tzinfo):
        raise QueryError(f"a time zone is a name or a tzinfo, not {zone!r}")
    return zone
