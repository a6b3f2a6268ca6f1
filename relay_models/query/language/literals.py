"""`LiteralReader`: numbers, durations and times as people write them in a filter."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from math import inf
from typing import Any

from relay_models._checks import shown
from relay_models._time import exact_number, microseconds_of, parse_duration, parse_zone
from relay_models.columns.column import Column
from relay_models.columns.expressions import Compare, Expression, all_of
from relay_models.columns.kind import Kind
from relay_models.columns.values import day_bounds, number_value
from relay_models.errors import QueryError

__all__ = ["LiteralReader", "parse_number"]

_NUMBER = re.compile(
    r"([+-]?(?:\d[\d_]*)(?:\.\d+)?(?:e[+-]?\d+)?)\s*(k|m|g|ki|mi|gi|kb|mb|gb|kib|mib|gib)?", re.IGNORECASE
)
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)\s*([Zz]|[+-]\d\d:?\d\d|[A-Za-z_]+(?:/[A-Za-z_+\-0-9]+)*)?"
)
_RELATIVE = re.compile(r"(?:now|today|yesterday)?\s*([+-].*)?", re.IGNORECASE | re.DOTALL)


class LiteralReader:
    """Reads the values of numeric columns; relative times count from `now`, and `zone` is for times without one."""

    def __init__(self, now: datetime, zone: tzinfo) -> None:
        self.now = now
        self.zone = zone

    def compare(self, column: Column[Any], operator: str, text: str) -> Expression:
        """Read ``column operator text``.

        Raises:
            ValueError: the text is not such a value; the message says how one is written.
        """
        text = text.strip()
        end = None
        value: int | float
        if column.kind is Kind.DURATION:
            value = parse_duration(text)
        elif column.kind is Kind.TIME:
            value, end = self.instants(text)
        else:
            value = parse_number(text)
        if end is None:
            return Compare(column, operator, number_value(column, operator, value))
        # A date is its whole day.
        return all_of([Compare(column, *bound) for bound in day_bounds(operator, int(value), end)])

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
            return start + (parse_duration(match[1].replace(" ", "")) if match[1] else 0), None
        raise ValueError(
            f"{shown(text)} is not a time: write 2026-11-23, 2026-11-23T10:00:00Z, "
            '"2026-11-23 10:00 Europe/Berlin", now, today or -24h'
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
            raise ValueError(f"{shown(text)} is not a valid time") from None
        if zone is None:
            return value.replace(tzinfo=self.zone)
        if zone in ("Z", "z"):
            return value.replace(tzinfo=UTC)
        if zone[0] in "+-":
            return datetime.fromisoformat(f"{value.isoformat()}{zone}")
        try:
            return value.replace(tzinfo=parse_zone(zone))
        except QueryError as error:
            raise ValueError(f"{error}, Z or +02:00") from None


def parse_number(text: str) -> int | float:
    """A number such as ``12``, ``1_000``, ``0.5``, ``10k``, ``2M``; ValueError where it is not one."""
    if text.lower() in ("inf", "+inf", "-inf"):
        return float(text)
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is not a number: write 12, 0.5, 10k or 2M")
    digits = match[1].replace("_", "")
    factor = _SIZES[(match[2] or "").lower().rstrip("b")]
    if factor == 1 and not re.fullmatch(r"[+-]?\d{1,40}", digits):
        return float(digits)
    found = exact_number(digits) * factor
    return int(found) if found not in (inf, -inf) and found == int(found) else float(found)
