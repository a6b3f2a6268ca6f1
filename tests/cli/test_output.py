"""Tables that fit, and values as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay_models.cli.output import Column, Output, age_text, cell_text, counted, fit, json_value
from relay_models.pictures.text import cells, plain


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 12)), min_size=1, max_size=8),
    st.integers(1, 160),
    st.data(),
)
def test_a_table_fits_unless_what_must_stay_does_not(
    shape: list[tuple[bool, int, int]], width: int, data: st.DataObject
) -> None:
    columns = [Column(f"c{index}", right, priority, least) for index, (right, priority, least) in enumerate(shape)]
    texts = st.lists(st.text(max_size=30).map(plain), min_size=len(columns), max_size=len(columns))
    rows = data.draw(st.lists(texts, max_size=4))

    kept, sizes = fit(columns, rows, width)

    assert kept
    assert kept == sorted(kept)
    total = sum(sizes.values()) + 2 * (len(kept) - 1)
    least = sum(min(columns[i].least, sizes[i]) for i in kept)
    if all(columns[i].priority < 9 for i in kept) and len(kept) > 1:
        assert total <= width
    assert total <= max(width, least + sum(cells(columns[i].head) for i in kept) + 2 * len(kept))


def test_columns_of_low_priority_go_first() -> None:
    columns = [Column("a", priority=9, least=10), Column("b", priority=1, least=10), Column("c", priority=5, least=10)]
    rows = [["x" * 20] * 3]

    assert fit(columns, rows, 80)[0] == [0, 1, 2]
    assert fit(columns, rows, 25)[0] == [0, 2]
    assert fit(columns, rows, 5)[0] == [0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (12345, "12,345"),
        (0.5, "0.50"),
        (["a", "b"], "a, b"),
        (timedelta(milliseconds=10), "10.0 ms"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))), "2026-01-02 02:04:05"),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert cell_text(value) == text.replace("0.50", "0.5")


def test_json_values_are_plain() -> None:
    value = {
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "took": timedelta(seconds=1.5),
        "n": float("nan"),
        "many": ("a", {"b": None}),
    }

    assert json.loads(json.dumps(json_value(value))) == {
        "at": "2026-01-02T00:00:00Z",
        "took": 1.5,
        "n": None,
        "many": ["a", {"b": None}],
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s ago"), (61, "1 m ago"), (7200, "2 h ago"), (86400 * 3, "3 d ago"), (-5, "in the future")],
)
def test_ages(seconds: int, text: str) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)

    assert age_text(now - timedelta(seconds=seconds), now) == text
    assert age_text(None, now) == ""


@pytest.mark.parametrize("text", ["0.1", "0.12345678901234567890123456789", "1E+400", "-0.00", "12345678901234567890"])
def test_decimals_are_numbers_with_all_of_their_digits(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=True)
    out.object({"price": Decimal(text), "none": Decimal("NaN")})
    out.array([{"price": Decimal(text)}])

    shown = capsys.readouterr().out
    for document in (shown[: shown.index("[")], shown[shown.index("[") :]):
        read = json.loads(document, parse_float=Decimal, parse_int=Decimal)
        found = read if isinstance(read, dict) else read[0]
        assert found["price"] == Decimal(text)
        assert str(found["price"]) == text
        assert found.get("none") is None


def test_a_noun_goes_with_its_number() -> None:
    assert [counted(number, "run") for number in (0, 1, 2000)] == ["0 runs", "1 run", "2,000 runs"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]
