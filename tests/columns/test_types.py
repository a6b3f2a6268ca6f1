"""What an annotation means to the index: its kind, how values are stored, and that they are read as they were."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from relay_models.columns.kind import Kind
from relay_models.columns.types import column_type
from relay_models.errors import InvalidConfigurationError


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Stars(IntEnum):
    ONE = 1
    FIVE = 5


class Mixed(Enum):
    ONE = 1
    TWO = "two"


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, Kind.TAG), (bool, Kind.TAG), (UUID, Kind.TAG), (Mood, Kind.TAG), (Literal["a", "b"], Kind.TAG),
        (int, Kind.COUNT), (Stars, Kind.COUNT), (float, Kind.NUMBER), (Decimal, Kind.NUMBER), (datetime, Kind.TIME),
        (date, Kind.TIME), (timedelta, Kind.DURATION), (list[str], Kind.TAGS), (set[str], Kind.TAGS),
        (frozenset[Mood], Kind.TAGS), (tuple[UUID, ...], Kind.TAGS),
    ],
)  # fmt: skip
def test_the_kind_follows_from_the_annotation(annotation: Any, kind: Kind) -> None:
    assert column_type(annotation).kind is kind
    assert column_type(annotation).nullable is (kind is Kind.TAGS)
    optional = column_type(annotation | None)
    assert (optional.kind, optional.nullable) == (kind, True)


def test_choices_follow_from_the_annotation() -> None:
    assert column_type(Mood).choices == ("good", "bad")
    assert column_type(Literal["x", "y"] | None).choices == ("x", "y")
    assert column_type(bool).choices == ("false", "true")


def test_words_are_asked_for() -> None:
    assert column_type(str, text=True).kind is Kind.WORDS


@pytest.mark.parametrize(
    "annotation",
    [object, dict[str, str], bytes, list[int], list[dict[str, Any]], int | str, Mixed, tuple[str, str], Any],
)
def test_what_cannot_be_indexed(annotation: Any) -> None:
    with pytest.raises(InvalidConfigurationError, match="texts"):
        column_type(annotation)


VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (bool, st.booleans()),
    (UUID, st.uuids()),
    (Mood, st.sampled_from(Mood)),
    (Stars, st.sampled_from(Stars)),
    (int, st.integers(-(2**63), 2**64 - 1)),
    (Decimal, st.decimals(-(10**9), 10**9, places=4)),
    (datetime, st.datetimes(timezones=st.just(UTC))),
    (date, st.dates()),
    (timedelta, st.timedeltas()),
    (list[str], st.lists(st.text(), unique=True).map(sorted)),
    (set[str], st.sets(st.text())),
    (frozenset[UUID], st.frozensets(st.uuids())),
]


@given(st.data())
def test_a_value_is_read_as_it_was_stored(data: st.DataObject) -> None:
    annotation, values = data.draw(st.sampled_from(VALUES))
    column = column_type(annotation)
    value = data.draw(values)
    stored = column.store(value)
    assert (stored if column.load is None else column.load(stored)) == value
    assert isinstance(stored, str | int | float | list)


def test_what_cannot_be_kept_exactly_is_refused() -> None:
    with pytest.raises(ValueError, match="digits"):
        column_type(Decimal).store(Decimal("0.1234567890123456789"))
    with pytest.raises(ValueError, match="beyond"):
        column_type(int).store(2**64)
    with pytest.raises(ValueError, match="number"):
        column_type(Decimal).store(Decimal("NaN"))
    with pytest.raises(ValueError, match="time zone"):
        column_type(datetime).store(datetime(2026, 1, 1))  # noqa: DTZ001


def test_an_instant_is_the_same_in_every_zone() -> None:
    there = timezone(timedelta(hours=5))
    store = column_type(datetime).store
    assert store(datetime(2026, 1, 1, 5, tzinfo=there)) == store(datetime(2026, 1, 1, tzinfo=UTC))
