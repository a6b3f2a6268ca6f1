"""`value_text`: values as the text of cells, by what their column is declared to hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any

from relay_models.columns.column import Column
from relay_models.columns.kind import Kind
from relay_models.pictures.text import duration_text, member_text, number_text, plain

__all__ = ["clip_text", "column_text", "heading_text", "is_right", "money_text", "short_id", "span_text", "value_text"]


def span_text(value: timedelta) -> str:
    """Format a duration with about three digits."""
    return duration_text(round(value / timedelta(microseconds=1)) * 1000)


def _time_text(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def money_text(value: float | None) -> str:
    """Format an amount of money; an empty text for None."""
    if value is None:
        return ""
    if 0 < value < 0.00005:
        return "<0.0001"
    return f"{value:,.4f}" if abs(value) < 1 else f"{value:,.2f}"


# By the type of the value; the first that fits.
_BY_TYPE: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (bool, lambda value: "yes" if value else "no"),
    (int, lambda value: f"{value:,}"),
    (float, number_text),
    (datetime, _time_text),
    (date, str),
    (timedelta, span_text),
)
_BY_UNIT: Mapping[str, Callable[[Any], str]] = {"currency": money_text}


def value_text(value: Any) -> str:
    """Format a value as one line of text; an empty one for None."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(str(name))} {value_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    if isinstance(value, set | frozenset):
        return ", ".join(sorted(map(value_text, value)))
    if isinstance(value, Enum):
        return plain(member_text(value))
    for kind, write in _BY_TYPE:
        if isinstance(value, kind):
            return write(value)
    return plain(str(getattr(value, "value", value)))


def column_text(column: Column[Any] | None, value: Any) -> str:
    """Format a value of a column, by the column's unit where it has a format of its own."""
    if column is not None and value is not None and (write := _BY_UNIT.get(column.unit)) is not None:
        return write(value)
    return value_text(value)


def heading_text(column: Column[Any]) -> str:
    """The title of a column in a table."""
    return column.heading.replace("_", " ")


def is_right(column: Column[Any]) -> bool:
    """Whether the values of a column are aligned to the right."""
    return column.ordered and column.kind is not Kind.TIME and not column.type.members


def short_id(value: Any) -> str:
    """The end of a run's id: its beginning is a time, which near runs share."""
    return "…" + str(value)[-12:]


def clip_text(text: str, most: int) -> tuple[str, int]:
    """The first `most` characters of a text, and how many were left out."""
    return (text, 0) if len(text) <= most else (text[:most], len(text) - most)
