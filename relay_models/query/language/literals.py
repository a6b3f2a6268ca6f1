"""Numbers, durations and times as people write them in a filter, and as filters are printed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay_models._time import microseconds_of
from relay_models.columns.column import Column, Kind
from relay_models.columns.expressions import Compare, Expression

__all__ = ["LiteralReader", "parse_span", "print_number", "print_span", "print_time"]

_UNITS = {
    "us": 1, "µs": 1, "μs": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "min": 60_000_000,
    "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000,
}  # fmt: skip
_LONG = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "mins": "m", "minute": "m", "minutes": "m", "hr": "h",
    "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w",
    "millisecond": "ms", "milliseconds": "ms", "microsecond": "us", "microseconds": "us",
}  # fmt: skip
_SPAN = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([a-zµμ]+)\s*", re.IGNORECASE)
_NUMBER = re.compile(
    r"([+-]?(?:\d[\d_]*)(?:\.\d+)?(?:e[+-]?\d+)?)\s*(k|m|g|ki|mi|gi|kb|mb|gb|kib|mib|gib)?", re.IGNORECASE
)
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)\s*([Zz]|[+-]\d\d:?\d\d|[A-Za-z_]+(?:/[A-Za-z_+\-0-9]+)*)?"
)
_RELATIVE = re.compile(r"(?:now|today|yesterday)?\s*([+-].*)?", re.IGNORECASE | re.DOTALL)


def parse_span(text: str) -> int | float:
    """Microseconds of a duration such as ``2s``, ``1h30m``, ``250ms``, ``-1.5d``; ValueError where it is none."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if rest in ("0", "inf"):
        return 0 if rest == "0" else sign * float("inf")
    total: int | float = 0
    position = 0
    for match in _SPAN.finditer(rest):
        unit = match[2].lower()
        unit = _LONG.get(unit, unit)
        if match.start() != position or unit not in _UNITS:
            break
        number = match[1]
        total += int(number) * _UNITS[unit] if number.isdigit() else float(number) * _UNITS[unit]
        position = match.end()
    if not position or position != len(rest):
        hint = f"; did you mean {text}s?" if re.fullmatch(r"[+-]?[\d.]+", text) else ""
        raise ValueError(f"{text!r} is no duration: write 250ms, 2s, 5m, 1.5h, 2d or 1h30m{hint}")
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    return sign * total


def print_span(microseconds: int | float) -> str:
    """A duration that `parse_span` reads as the same number."""
    if isinstance(microseconds, float) and not microseconds.is_integer():
        return f"{microseconds!r}us" if microseconds not in (float("inf"), float("-inf")) else str(microseconds)
    whole = int(microseconds)
    if whole == 0:
        return "0s"
    for unit in ("d", "h", "m", "s", "ms"):
        if whole % _UNITS[unit] == 0:
            return f"{whole // _UNITS[unit]}{unit}"
    return f"{whole}us"


def print_time(microseconds: int | float) -> str:
    """An instant that `LiteralReader` reads as the same number of microseconds."""
    if isinstance(microseconds, float):
        if not microseconds.is_integer():
            return repr(microseconds)
        microseconds = int(microseconds)
    try:
        return (datetime(1970, 1, 1) + timedelta(microseconds=microseconds)).isoformat() + "Z"  # noqa: DTZ001
    except OverflowError:
        return str(microseconds)


def print_number(value: int | float) -> str:
    """A number that reads as the same."""
    return repr(value)


class LiteralReader:
    """Reads the values of numeric columns; relative times count from `now`, and `zone` is for times without one."""

    def __init__(self, now: datetime, zone: tzinfo) -> None:
        self.now = now
        self.zone = zone

    def compare(self, column: Column[Any], operator: str, text: str) -> Expression:
        """``column operator text``; ValueError says what the text should be."""
        text = text.strip()
        if column.kind is Kind.DURATION:
            return Compare(column, operator, parse_span(text))
        if column.kind is not Kind.TIME:
            return Compare(column, operator, parse_number(text))
        start, end = self.instants(text)
        if end is None:
            return Compare(column, operator, start)
        # A date is its whole day.
        match operator:
            case "==":
                return Compare(column, ">=", start) & Compare(column, "<", end)
            case "<=":
                return Compare(column, "<", end)
            case ">":
                return Compare(column, ">=", end)
        return Compare(column, operator, start)

    def instants(self, text: str) -> tuple[int | float, int | None]:
        """Microseconds of an instant, or of the first instants of a day and of the next."""
        if _DATE.fullmatch(text):
            try:
                return self._day(datetime.fromisoformat(text))
            except (ValueError, OverflowError):
                raise ValueError(f"there is no day {text}") from None
        match = _TIME.fullmatch(text)
        if match:
            return microseconds_of(self._zoned(match[1], match[2])), None
        if re.fullmatch(r"[+-]?(\d+(\.\d+)?(e[+-]?\d+)?|inf)", text, re.IGNORECASE):
            return parse_number(text), None
        lowered = text.lower()
        if lowered in ("today", "yesterday"):
            return self._day(self.now.replace(tzinfo=None) - timedelta(days=lowered == "yesterday"))
        match = _RELATIVE.fullmatch(text)
        if match and text:
            start = microseconds_of(self.now)
            if lowered.startswith(("today", "yesterday")):
                start = self._day(self.now.replace(tzinfo=None) - timedelta(days=lowered.startswith("y")))[0]
            return start + (parse_span(match[1].replace(" ", "")) if match[1] else 0), None
        raise ValueError(
            f'{text!r} is no time: write 2026-11-23, 2026-11-23T10:00:00Z, "2026-11-23 10:00 Europe/Berlin", now, '
            "today or -24h"
        )

    def _day(self, day: datetime) -> tuple[int, int]:
        first = datetime.combine(day.date(), time(), self.zone)
        return microseconds_of(first), microseconds_of(
            datetime.combine(day.date() + timedelta(days=1), time(), self.zone)
        )

    def _zoned(self, text: str, zone: str | None) -> datetime:
        try:
            # Python reads six digits of a second.
            value = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.upper()))
        except ValueError:
            raise ValueError(f"{text!r} is no time that there is") from None
        if zone is None:
            return value.replace(tzinfo=self.zone)
        if zone in ("Z", "z"):
            return value.replace(tzinfo=UTC)
        if zone[0] in "+-":
            return datetime.fromisoformat(f"{value.isoformat()}{zone}")
        try:
            return value.replace(tzinfo=ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {zone!r}; write one such as Europe/Berlin, Z or +02:00") from None


def parse_number(text: str) -> int | float:
    """A number such as ``12``, ``1_000``, ``0.5``, ``10k``, ``2M``; ValueError where it is none."""
    if text.lower() in ("inf", "+inf", "-inf"):
        return float(text)
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no number: write 12, 0.5, 10k or 2M")
    digits = match[1].replace("_", "")
    factor = _SIZES[(match[2] or "").lower().rstrip("b")]
    number = int(digits) if re.fullmatch(r"[+-]?\d+", digits) else float(digits)
    found = number * factor
    return int(found) if factor != 1 and isinstance(found, float) and found.is_integer() else found
