"""Values of users (datetimes, timedeltas, UUIDs, enums, …) as what the columns store."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from relay_models._time import microseconds_of
from relay_models.columns import expressions as ast
from relay_models.errors import UnsupportedOperatorError

if TYPE_CHECKING:
    from relay_models.columns.column import Column
    from relay_models.columns.expressions import Expression

__all__ = ["plain_value", "rounded", "tag_value"]

_DAY = 86_400_000_000


def rounded(value: float) -> float:
    """What a column of floats keeps of one: 15 significant digits, none past the 22nd decimal.

    RedisJSON reads more digits than these inexactly, so that an index would not find a value that has them. It also
    takes away what sums leave behind: 0.1 + 0.2 is 0.3.
    """
    if abs(value) < 1e-7:
        return round(value, 22)
    return float(f"{value:.15g}")


def tag_value(column: Column[Any], value: Any, operator: str) -> str:
    """A text as a TAG column stores it, before escaping."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise UnsupportedOperatorError(
            f"{column!r} ({column.kind}): {operator} takes a text, not {value!r} ({type(value).__name__})"
        )
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnsupportedOperatorError(
            f"{column!r}: {text!r} is no text that can be stored (a lone surrogate)"
        ) from None
    if column.name == "run_id" and operator in ("==", "contains"):
        try:
            return str(UUID(text))
        except ValueError:
            return text
    return text


def plain_value(column: Column[Any], operator: str, value: Any) -> Expression:
    """The comparison of a numeric column with a value; a date stands for its whole day in UTC."""
    if isinstance(value, date) and not isinstance(value, datetime) and column.kind == "time":
        start = microseconds_of(datetime.combine(value, time(), UTC))
        if operator == "==":
            return ast.Compare(column, ">=", start) & ast.Compare(column, "<", start + _DAY)
        if operator in ("<=", ">"):
            return ast.Compare(column, "<" if operator == "<=" else ">=", start + _DAY)
        return ast.Compare(column, operator, start)
    return ast.Compare(column, operator, _number(column, operator, value))


def _number(column: Column[Any], operator: str, value: Any) -> int | float:
    if isinstance(value, Enum):
        value = value.value
    if column.kind == "time":
        if isinstance(value, datetime):
            if value.utcoffset() is None:
                raise UnsupportedOperatorError(
                    f"{column!r}: {value!r} has no time zone and is no instant; give one, such as tzinfo=timezone.utc"
                )
            return microseconds_of(value)
        microseconds = getattr(value, "microseconds", None)
        if isinstance(microseconds, int) and not isinstance(value, timedelta):
            return microseconds
    elif column.kind == "duration" and isinstance(value, timedelta):
        return microseconds_of(value)
    if isinstance(value, Decimal):
        value = float(value) if value % 1 else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        wanted = {"time": "an aware datetime, a date, or epoch microseconds", "duration": "a timedelta or microseconds"}
        raise UnsupportedOperatorError(
            f"{column!r} ({column.kind}): {operator} takes {wanted.get(column.kind, 'a number')}, "
            f"not {value!r} ({type(value).__name__})"
        )
    return rounded(value) if column.kind == "number" and isinstance(value, float) else value
