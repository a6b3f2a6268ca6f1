"""Own models are grouped by columns of every type, and the groups are values of the column, also in tables."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest

from relay_models import Column, Document, Run, column
from relay_models.errors import UnsupportedOperatorError
from relay_models.export import to_arrow, to_pandas, to_polars, write_csv, write_jsonl
from relay_models.sync import RedisBackend


class Mood(Enum):
    GOOD = "good"
    ODD = "a|b"


class Stars(IntEnum):
    ONE = 1
    FIVE = 5


class Level(Enum):
    LOW = -1
    HIGH = 2


class Everything(Document):
    text: Column[str | None] = column()
    flag: Column[bool | None] = column()
    mood: Column[Mood | None] = column()
    stars: Column[Stars | None] = column()
    level: Column[Level | None] = column()
    uuid: Column[UUID | None] = column()
    number: Column[int | None] = column()
    ratio: Column[float | None] = column()
    price: Column[Decimal | None] = column()
    day: Column[date | None] = column()
    took: Column[timedelta | None] = column()
    literal: Column[Literal["x", "y"] | None] = column()
    moods: Column[set[Mood]] = column()
    words: Column[list[str]] = column()


VALUES: dict[str, list[Any]] = {
    "text": ["", "a|b"],
    "flag": [True, False],
    "mood": list(Mood),
    "stars": list(Stars),
    "level": list(Level),
    "uuid": [UUID(int=1), UUID(int=2**127)],
    "number": [-1, 2**60 + 1, 2**60 + 2],
    "ratio": [0.1, 123456789012.345, 123456789012.346],
    "price": [Decimal("0.10"), Decimal("1234567890123.4"), Decimal("1234567890123.5")],
    "day": [date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31)],
    "took": [timedelta(0), timedelta(days=-1, microseconds=1)],
    "literal": ["x", "y"],
    "moods": [set(Mood), {Mood.ODD}, set()],
    "words": [["a", "b"], ["b"], []],
}


@pytest.fixture(scope="module")
def items() -> list[Everything]:
    """Items with each of the values, and without one."""

    def nth(values: list[Any], place: int) -> Any:
        options = values if isinstance(values[0], list | set) else [*values, None]
        return options[place % len(options)]

    return [Everything(**{name: nth(values, place) for name, values in VALUES.items()}) for place in range(24)]


@pytest.fixture(scope="module")
def store(items: list[Everything]) -> Any:
    with RedisBackend.embedded(models=[Everything]) as backend:
        collection = backend.collection(Everything)
        collection.save_many(items)
        yield collection


@pytest.mark.parametrize("name", VALUES)
def test_groups_are_the_values_of_a_column(store: Any, items: list[Everything], name: str) -> None:
    def values(item: Everything, column: str) -> list[Any]:
        value = getattr(item, column)
        return (list(value) or [None]) if isinstance(value, list | set) else [value]

    other = "text" if name == "flag" else "flag"
    expected: Counter[Any] = Counter()
    for item in items:
        expected.update(itertools.product(values(item, name), values(item, other)))
    found = {(row[name], row[other]): row["count"] for row in store.aggregate([name, other])}
    assert found == expected
    assert {type(value) for value, _ in found} == {type(value) for value, _ in expected}


@pytest.mark.parametrize("name", VALUES)
def test_groups_of_every_type_are_tables(store: Any, tmp_path: Path, name: str) -> None:
    rows = store.aggregate(name, metrics=["count"])
    for frame in (to_pandas, to_polars, to_arrow):
        assert len(frame(rows)) == len(rows)
    for write in (write_csv, write_jsonl):
        assert write(rows, tmp_path / "rows") == len(rows)


def test_tables_have_booleans_and_dates_as_such(store: Any, items: list[Everything], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    rows = store.find(order_by="pk", limit=None)
    ordered = sorted(items, key=lambda item: item.pk)
    for table in (to_arrow(rows), to_arrow(store.aggregate(["pk", "flag", "day"], order_by="pk"))):
        assert table.column("flag").to_pylist() == [item.flag for item in ordered]
        assert table.column("day").to_pylist() == [item.day for item in ordered]
    frame = to_pandas(rows)
    assert len(frame[frame.flag.fillna(False)]) == sum(item.flag is True for item in items)
    write_csv(store.find("flag = true and day = 0001-01-01"), tmp_path / "rows.csv", columns=["flag", "day"])
    assert set((tmp_path / "rows.csv").read_text().splitlines()[1:]) == {"true,0001-01-01"}


def test_instants_are_grouped_by_intervals(store: Any) -> None:
    with pytest.raises(UnsupportedOperatorError, match="every='1d' with time='stored_at'"):
        store.aggregate("stored_at")


def test_scores_are_grouped_by_one_name() -> None:
    with RedisBackend.embedded() as backend, pytest.raises(UnsupportedOperatorError, match="one score"):
        backend.aggregate_runs(by=Run.scores)
