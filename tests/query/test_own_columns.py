"""Columns of a user's class, of all types there are, mean in an index what they mean in Python."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from relay_models.columns.column import Column
from relay_models.columns.expressions import Expression
from relay_models.columns.tags import unescape_tag
from relay_models.documents import Document, column
from relay_models.documents.codec import encode_columns
from relay_models.documents.schema import index_fields
from relay_models.query.compiler import compile_filter
from relay_models.query.language.parser import parse_filter
from relay_models.query.tag_values import value_steps

from .conftest import TIMES, Store
from .strategies import texts


class Mood(Enum):
    GOOD = "good"
    ODD = "a|b {*}"


class Stars(IntEnum):
    ONE = 1
    FIVE = 5


class Thing(Document):
    """A document with a column of each type; its record is a dict of their values."""

    kind: ClassVar[str] = "thing"

    agent_id: Column[str] = column("Its id.", value=lambda thing: thing["agent_id"])
    text: Column[str | None] = column("Text.", value=lambda thing: thing.get("text"))
    flag: Column[bool | None] = column("Flag.", value=lambda thing: thing.get("flag"))
    mood: Column[Mood | None] = column("Mood.", value=lambda thing: thing.get("mood"))
    stars: Column[Stars | None] = column("Stars.", value=lambda thing: thing.get("stars"))
    uuid: Column[UUID | None] = column("UUID.", value=lambda thing: thing.get("uuid"))
    number: Column[int | None] = column("Integer.", value=lambda thing: thing.get("number"))
    price: Column[Decimal | None] = column("Decimal.", value=lambda thing: thing.get("price"))
    day: Column[date | None] = column("Day.", value=lambda thing: thing.get("day"))
    at: Column[datetime | None] = column("Instant.", value=lambda thing: thing.get("at"))
    span: Column[timedelta | None] = column("Duration.", value=lambda thing: thing.get("span"))
    labels: Column[set[str]] = column("Labels.", value=lambda thing: thing.get("labels"))


START = datetime(2026, 11, 23, tzinfo=UTC)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "flag": st.booleans(),
    "mood": st.sampled_from(Mood),
    "stars": st.sampled_from(Stars),
    "uuid": st.sampled_from([UUID(int=1), UUID(int=2**127 + 5)]),
    "number": st.integers(-3, 3) | st.sampled_from([2**53 + 1, -(2**63), 2**64 - 1]),
    "price": st.sampled_from([Decimal("0.1"), Decimal("-2.50"), Decimal("19.99")]),
    "day": st.integers(-1, 1).map(lambda days: START.date() + timedelta(days=days)),
    "at": st.integers(-1, 1).map(lambda hours: START + timedelta(hours=hours, microseconds=1)),
    "span": st.integers(-2, 2).map(lambda seconds: timedelta(seconds=seconds)),
}
things = st.fixed_dictionaries({}, optional={**VALUES, "labels": st.sets(texts, max_size=3)})
SIGNS = st.sampled_from(["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"])


@st.composite
def conditions(draw: st.DrawFn) -> Expression:
    name = draw(st.sampled_from([*VALUES, "labels"]))
    asked = Thing.columns()[name]
    if draw(st.integers(0, 5)) == 0:
        return asked.missing()
    if name == "labels":
        value = draw(texts)
        return draw(st.sampled_from([asked.has(value), asked.contains(value), asked.has_none([value])]))
    value = draw(VALUES[name])
    if asked.ordered:
        found: Expression = getattr(asked, draw(SIGNS))(value)
        return found
    if name == "text":
        return draw(st.sampled_from([asked == value, asked.contains(value), asked.startswith(value[:2])]))
    return draw(st.sampled_from([asked == value, asked != value, asked.in_([value])]))


@settings(max_examples=20 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))
@given(found=st.lists(things, max_size=5), asked=st.lists(conditions(), min_size=1, max_size=5))
def test_columns_of_every_type_mean_the_same_everywhere(
    store: Store, found: list[dict[str, Any]], asked: list[Expression]
) -> None:
    prefix, index = f"{store.keys.prefix}@thing:", f"{store.keys.prefix}@thing"
    store.client.execute_command(
        "FT.CREATE", index, "ON", "JSON", "PREFIX", 1, prefix, "STOPWORDS", 0, "SCHEMA", *index_fields(Thing)
    )
    try:
        rows = []
        for place, thing in enumerate(found):
            values = Thing.column_values({**thing, "agent_id": f"t{place}"})
            rows.append(Thing.from_stored(values))
            document = json.dumps(encode_columns(Thing, values))
            store.client.execute_command("JSON.SET", f"{prefix}{place}", "$", document)
        for expression in [*asked, *(~one for one in asked), asked[0] & ~asked[-1], asked[0] | asked[-1]]:
            meant = {row.agent_id for row in rows if expression.matches(row)}
            compiled = compile_filter(expression, store.drive(value_steps(index, expression)))
            assert answered(store, index, compiled) == meant
            assert parse_filter(str(expression), Thing.columns()) == expression
    finally:
        store.client.execute_command("FT.DROPINDEX", index, "DD")


def answered(store: Store, index: str, compiled: Any) -> set[str]:
    if compiled.nothing:
        return set()
    command = ["FT.AGGREGATE", index, compiled.query, "GROUPBY", 1, "@agent_id", *compiled.arguments(), "DIALECT", 2]
    reply = store.client.execute_command(*command)
    if isinstance(reply, dict):
        rows = [row[b"extra_attributes"] for row in reply[b"results"]]
        return {unescape_tag(row[b"agent_id"].decode()) for row in rows}
    return {unescape_tag(row[1].decode()) for row in reply[1:]}


@pytest.mark.parametrize("name", [*VALUES, "labels"])
def test_every_column_has_its_operators(name: str) -> None:
    assert Thing.columns()[name].missing().matches({})
