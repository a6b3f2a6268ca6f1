"""Time buckets: hours, days, weeks, months of a time zone, whatever its clock does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from math import gcd

from relay_models._time import datetime_of, parse_duration, parse_zone
from relay_models.errors import QueryError

__all__ = ["Buckets"]

# A number of one unit, or the unit alone.
_SPAN = re.compile(r"(\d{0,9})\s*([a-zµμ]+)", re.IGNORECASE)
_SECOND, _DAY = 1_000_000, 86_400_000_000
_MONTHS = {"mo": 1, "month": 1, "q": 3, "quarter": 3, "y": 12, "year": 12}
# All zones of our days differ from UTC by quarters of an hour.
_QUARTER = 900 * _SECOND
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # wall-clock time
_MICROSECOND = timedelta(microseconds=1)
# What a wall clock can show as a datetime, in microseconds since it showed 1970.
_FIRST = (date(1, 1, 1) - date(1970, 1, 1)).days * _DAY
_LAST = ((date(9999, 12, 31) - date(1970, 1, 1)).days + 1) * _DAY - 1
# The longest bucket: all the time that there is as datetimes.
_LONGEST = _LAST - _FIRST
# A Monday, on which weeks begin.
_MONDAY = -3 * _DAY


class Buckets:
    """Spans of equal length on the wall clock of a zone, such as ``15m``, ``1h30m``, ``6h``, ``1d``, ``1w``, ``1mo``.

    They begin where the wall clock shows a multiple of the length: days at midnight, weeks on Monday. Where a clock is
    set forward or back, a day has 23 or 25 hours; an hour that comes twice is two buckets.

    Raises:
        QueryError: it is no span.
    """

    def __init__(self, every: str | timedelta, zone: str | tzinfo | None = None) -> None:
        self.zone = parse_zone(zone)
        self.width, self.months = (every // _MICROSECOND, 0) if isinstance(every, timedelta) else _span(every)
        if not (0 < self.width <= _LONGEST or 0 < self.months <= _LONGEST // (28 * _DAY)):
            shown = every if not isinstance(every, str) or len(every) < 50 else f"{every[:50]}…"
            raise QueryError(f"every is a span such as 15m, 1h, 1h30m, 1d, 1w, 1mo or 1y, not {shown!r}")
        self.text = every if isinstance(every, str) else str(every)
        self._known: dict[int, int | None] = {}

    @property
    def unit(self) -> int:
        """Microseconds of a span of UTC time that lies within one bucket (which `whole` is to check)."""
        if self.months:
            return _DAY if self.zone is UTC else _QUARTER
        if self.zone is UTC:
            return gcd(self.width, _DAY) if self.width % _DAY == 0 else self.width
        return gcd(self.width, _QUARTER)

    def start(self, microseconds: int) -> int:
        """Where the bucket begins that an instant is in, in epoch microseconds."""
        quarter = microseconds // _QUARTER
        known = self._known.get(quarter, -1)
        if known == -1:
            first = self._start(quarter * _QUARTER)
            known = self._known[quarter] = first if first == self._start((quarter + 1) * _QUARTER - 1) else None
        return self._start(microseconds) if known is None else known

    def whole(self, begin: int, length: int) -> bool:
        """Whether a span lies within one bucket."""
        return self.start(begin) == self.start(begin + length - 1)

    def after(self, start: int) -> int:
        """Where the bucket after the one that begins at `start` begins."""
        floor = self._floor(self._wall(start))
        found = {
            instant
            for again in (floor, self._next(floor), self._next(self._next(floor)))
            for instant in self._instants(again)
        }
        return min(
            (instant for instant in found if instant > start and self._start(instant) == instant), default=start + _DAY
        )

    def between(self, first: int, last: int) -> Iterator[int]:
        """All buckets from the one that begins at `first` to the one that begins at `last`."""
        while first <= last:
            yield first
            first = self.after(first)

    def count(self, first: int, last: int) -> int:
        """About how many buckets `between` gives."""
        return (last - first) // (self.months * 30 * _DAY or self.width) + 1

    def label(self, start: int) -> datetime:
        """A beginning as an aware datetime of the zone; the first or last datetime there is, if it is beyond."""
        wall = self._wall(start)
        wall = min(max(wall, _FIRST), _LAST)
        first, second = self._instants(wall)
        made = (_NAIVE_EPOCH + timedelta(microseconds=wall)).replace(tzinfo=self.zone)
        return made.replace(fold=1) if first != second == start else made

    def _start(self, microseconds: int) -> int:
        if self.zone is UTC and not self.months:
            offset = _MONDAY if self.width % (7 * _DAY) == 0 else 0
            return (microseconds - offset) // self.width * self.width + offset
        instants = self._instants(self._floor(self._wall(microseconds)))
        return max((instant for instant in instants if instant <= microseconds), default=min(instants))

    def _wall(self, microseconds: int) -> int:
        """What the zone's clock shows at an instant, in microseconds since it showed 1970."""
        at = datetime_of(min(max(microseconds, _FIRST + 2 * _DAY), _LAST - 2 * _DAY)).astimezone(self.zone)
        return microseconds + (at.utcoffset() or timedelta()) // _MICROSECOND

    def _instants(self, wall: int) -> tuple[int, int]:
        """When the clock shows a time: twice when it is set back, and next to the gap when it is set forward."""
        shown = _NAIVE_EPOCH + timedelta(microseconds=min(max(wall, _FIRST + 2 * _DAY), _LAST - 2 * _DAY))
        first, second = (
            wall - (shown.replace(tzinfo=self.zone, fold=fold).utcoffset() or timedelta()) // _MICROSECOND
            for fold in (0, 1)
        )
        return first, second

    def _floor(self, wall: int) -> int:
        if self.months:
            year, month = _year_and_month(wall // _DAY)
            return _first_day((year * 12 + month - 1) // self.months * self.months) * _DAY
        offset = _MONDAY if self.width % (7 * _DAY) == 0 else 0
        return (wall - offset) // self.width * self.width + offset

    def _next(self, floor: int) -> int:
        if self.months:
            year, month = _year_and_month(floor // _DAY)
            return _first_day(year * 12 + month - 1 + self.months) * _DAY
        return floor + self.width


def _span(every: str) -> tuple[int, int]:
    """The microseconds and the months of a span, of which one is 0; both of what is none."""
    text = every.strip() if isinstance(every, str) else ""
    match = _SPAN.fullmatch(text)
    count, unit = (int(match[1] or 1), match[2].lower()) if match else (0, "")
    if months := _MONTHS.get(unit) or _MONTHS.get(unit.removesuffix("s")):
        return 0, count * months
    try:
        width = parse_duration(f"1{text}" if match and not match[1] else text)
    except ValueError:
        return 0, 0
    return (width, 0) if isinstance(width, int) else (0, 0)


# The Gregorian calendar repeats after 400 years: days of any year are those of a year that `date` has.
_ERA_YEARS, _ERA_DAYS = 400, 146_097
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def _year_and_month(day: int) -> tuple[int, int]:
    """The year and the month of a day, counted from 1970 on; years from 0 and beyond 9999, too."""
    eras, ordinal = divmod(day + _EPOCH_ORDINAL - 1, _ERA_DAYS)
    found = date.fromordinal(ordinal + 1)
    return found.year + eras * _ERA_YEARS, found.month


def _first_day(month: int) -> int:
    """The first day of a month (the months counted from year 0 on), counted from 1970 on."""
    year, index = divmod(month, 12)
    eras, inside = divmod(year - 1, _ERA_YEARS)
    return date(inside + 1, index + 1, 1).toordinal() + eras * _ERA_DAYS - _EPOCH_ORDINAL
