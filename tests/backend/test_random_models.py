"""Models of any types with any values mean in a store, by any expression, what plain Python means."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from relay_models import Column, Document, column
from relay_models.columns.expressions import Expression
from relay_models.documents.declaration import check_name
from relay_models.embedded import EmbeddedServer
from relay_models.errors import InvalidConfigurationError
from relay_models.query import as_expression
from relay_models.sync import RedisBackend

REAL_URL = os.environ.get("RELAY_MODELS_TEST_STORE_URL") or os.environ.get("RELAY_MODELS_TEST_REDIS_URL")
EXAMPLES = int(os.environ.get("RELAY_MODELS_TEST_EXAMPLES", "1"))
NUMBERS = count()


class Mood(Enum):
    GOOD = "good"
    ODD = "a|b {*} \\"


class Stars(IntEnum):
    ONE = 1
    FIVE = 5


START = datetime(2026, 11, 23, tzinfo=UTC)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["a", "A", "a|b", " a", "a ", "*", "nul\0", "␀0", "é", "e\u0301", "数据", "back\\", '"', "-", "@x:{y}", "$p0"]
)
TYPES: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    bool: st.booleans(),
    Mood: st.sampled_from(Mood),
    Stars: st.sampled_from(Stars),
    UUID: st.sampled_from([UUID(int=1), UUID(int=2**127 + 5)]),
    int: st.integers(-3, 3) | st.sampled_from([2**53 + 1, -(2**63), 2**64 - 1]),
    float: st.sampled_from([0.1, -2.5, 1e-9, 3.0, 1e300]),
    Decimal: st.sampled_from([Decimal("0.1"), Decimal("-2.50"), Decimal("19.99")]),
    date: st.integers(-1, 1).map(lambda days: START.date() + timedelta(days=days)),
    datetime: st.integers(-1, 1).map(lambda hours: START + timedelta(hours=hours, microseconds=1)),
    timedelta: st.integers(-2, 2).map(lambda seconds: timedelta(seconds=seconds, microseconds=1)),
    list[str]: st.lists(texts, max_size=3),
    set[Mood]: st.sets(st.sampled_from(Mood)),
}
NAMES = ["a", "b_", "C", "is_", "text", "Upper", "sum", "x9", "größe", "数量", "Имя", "ñ_words_", "ªb", "is", "has"]


def may_name_a_column(text: str) -> bool:
    """Whether a class may have a column of this name."""
    if not text.isidentifier() or text.startswith(("_", "model_")) or hasattr(Document, text):
        return False
    try:
        check_name("Model", text)
    except InvalidConfigurationError:
        return False
    return True


# What Python takes as the name of an attribute, in any script.
names = st.sampled_from(NAMES) | st.text(
    st.characters(categories=["L", "Nl", "Nd", "Mn", "Pc"]), min_size=1, max_size=4
).filter(may_name_a_column)
SIGNS = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__")


@st.composite
def cases(draw: st.DrawFn) -> tuple[type[Document], list[dict[str, Any]], list[Expression]]:
    """A model, the values of some items, and expressions about them."""
    fields = draw(st.dictionaries(names, st.sampled_from(list(TYPES)), min_size=1, max_size=4))
    optional = {name: draw(st.booleans()) for name in fields}
    namespace: dict[str, Any] = {
        "__module__": __name__,
        "__annotations__": {
            name: Column[kind | None if optional[name] else kind]
            for name, kind in fields.items()  # type: ignore[misc]
        },
        **{name: column() for name in fields},
    }
    model: type[Document] = type(Document)(f"Model{next(NUMBERS)}", (Document,), namespace)
    items = draw(
        st.lists(
            st.fixed_dictionaries(
                {name: TYPES[kind] for name, kind in fields.items() if not optional[name]},
                optional={name: TYPES[kind] for name, kind in fields.items() if optional[name]},
            ),
            max_size=5,
        )
    )
    asked = [draw(conditions(model, name, kind, items)) for name, kind in fields.items()]
    return model, items, [*asked, *(~one for one in asked), asked[0] & ~asked[-1], ~asked[0] | asked[-1]]


@st.composite
def conditions(draw: st.DrawFn, model: type[Document], name: str, kind: Any, items: list[dict[str, Any]]) -> Expression:
    """A condition on a column, often about a value that an item has."""
    asked = model.columns()[name]
    known = [item[name] for item in items if item.get(name) is not None]
    value = draw(st.sampled_from(known) if known and draw(st.booleans()) else TYPES[kind])
    if draw(st.integers(0, 7)) == 0:
        return asked.missing()
    if kind in (list[str], set[Mood]):
        one: Any = next(iter(value), "a")
        return draw(st.sampled_from([asked.has(one), asked.has_none([one]), asked.has_all(value), asked.contains("a")]))
    if asked.ordered:
        found: Expression = getattr(asked, draw(st.sampled_from(SIGNS)))(value)
        return found
    choices: list[Callable[[], Expression]] = [
        lambda: asked == value,
        lambda: asked.in_([value]),
        lambda: asked != value,
    ]
    if kind is str:
        choices += [lambda: asked.contains(value[:1]), lambda: asked.startswith(value[:2])]
    return draw(st.sampled_from(choices))()


@pytest.fixture(scope="module", params=["embedded", pytest.param("server", marks=pytest.mark.real_server)])
def open_store(request: pytest.FixtureRequest) -> Any:
    """Opens a store with a prefix of its own."""
    if request.param == "server":
        assert REAL_URL is not None
        yield lambda: RedisBackend.connect(REAL_URL, f"test-{uuid4().hex[:12]}:")
        return
    with EmbeddedServer() as server:
        yield lambda: RedisBackend.from_client(server.client(), f"test-{uuid4().hex[:12]}:")


@settings(max_examples=15 * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_a_model_means_what_python_means(
    open_store: Any, case: tuple[type[Document], list[dict[str, Any]], list[Expression]]
) -> None:
    model, values, asked = case
    with open_store() as backend:
        store = backend.collection(model)
        try:
            items = [model(**each) for each in values]
            assert store.save_many(items).created == len(items)
            assert [store.get(item.pk) for item in items] == items
            for expression in asked:
                meant = {item.pk for item in items if expression.matches(item)}
                assert {row.pk for row in store.find(expression, limit=None)} == meant, str(expression)
                assert store.count(str(expression)) == len(meant)
                assert as_expression(str(expression), model.columns()) == expression
        finally:
            backend.client.execute_command("FT.DROPINDEX", f"{backend.key_prefix}@{model.kind}", "DD")
            backend.client.execute_command("FLUSHALL") if REAL_URL is None else None
