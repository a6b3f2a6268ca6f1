"""Values of users (datetimes, timedeltas, UUIDs, enums, …) as what the columns store."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from relay_models._checks import shown
from relay_models._time import microseconds_of
from relay_models.columns.info import ColumnInfo
from relay_models.columns.kind import Kind
from relay_models.columns.types import rounded
from relay_models.errors import UnsupportedOperatorError

__all__ = ["bounds_of", "number_value", "tag_value"]

_DAY = 86_400_000_000
_TAKES = {
    Kind.TIME: "an aware datetime, a date, or epoch microseconds",
    Kind.DURATION: "a timedelta or microseconds",
}


def tag_value(column: ColumnInfo, value: Any, operator: str) -> str:
    """A text as a TAG column stores it, before escaping.

    Raises:
        UnsupportedOperatorError: it is not a text, or one that cannot be stored.
    """
    if isinstance(value, Enum):
        value = value.value
    type_ = column.type.item or column.type
    if isinstance(type_.python, type) and type_.python is not str and isinstance(value, type_.python):
        return str(type_.store(value))
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise UnsupportedOperatorError(
            f"{column!r} ({column.kind}): {operator} takes a text, not {shown(value)} ({type(value).__name__})"
        )
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnsupportedOperatorError(
            f"{column!r}: {shown(text)} cannot be stored as text (a lone surrogate)"
        ) from None
    if column.is_uuid and operator == "==":
        try:
            return str(UUID(text))
        except ValueError:
            return text
    return text


def bounds_of(column: ColumnInfo, operator: str, value: Any) -> list[tuple[str, int | float]]:
    """The comparisons with stored numbers that ``column operator value`` means; a date is its whole day in UTC.

    Raises:
        UnsupportedOperatorError: the column does not take such a value.
    """
    if isinstance(value, date) and not isinstance(value, datetime) and column.kind is Kind.TIME:
        start = microseconds_of(datetime.combine(value, time(), UTC))
        return day_bounds(operator, start, start + _DAY)
    return [(operator, number_value(column, operator, value))]


def day_bounds(operator: str, start: int, end: int) -> list[tuple[str, int | float]]:
    """The comparisons that an operator means with the instants from `start` to before `end`."""
    match operator:
        case "==":
            return [(">=", start), ("<", end)]
        case "<=":
            return [("<", end)]
        case ">":
            return [(">=", end)]
    return [(operator, start)]


def number_value(column: ColumnInfo, operator: str, value: Any) -> int | float:
    """A value as a numeric column stores it.

    Raises:
        UnsupportedOperatorError: the column does not take such a value.
    """
    if isinstance(value, Enum):
        value = value.value
    if column.kind is Kind.TIME:
        if isinstance(value, datetime):
            if value.utcoffset() is None:
                raise UnsupportedOperatorError(
                    f"{column!r}: {shown(value)} has no time zone, so it is not an instant; give one, such as "
                    "tzinfo=timezone.utc"
                )
            return microseconds_of(value)
        microseconds = getattr(value, "microseconds", None)
        if isinstance(microseconds, int) and not isinstance(value, timedelta):
            return microseconds
    elif column.kind is Kind.DURATION and isinstance(value, timedelta):
        return microseconds_of(value)
    if isinstance(value, Decimal) and value.is_finite():
        value = float(value) if value % 1 else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise UnsupportedOperatorError(
            f"{column!r} ({column.kind}): {operator} takes {_TAKES.get(column.kind, 'a number')}, "
            f"not {shown(value)} ({type(value).__name__})"
        )
    if column.kind is Kind.NUMBER and (isinstance(value, float) or abs(value) >= 10**15):
        try:
            return rounded(float(value))
        except OverflowError:
            return value
    return value
