"""Every server finds the runs for which plain Python says that the expression is true."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from relay_models.columns.expressions import Everything, Expression
from relay_models.documents import Run
from relay_models.errors import QueryError
from relay_models.query.language.parser import parse_filter
from relay_models.query.paging.find import find_steps
from relay_models.query.tag_values import count_steps
from relay_models.records import CallRecord, RunRecord

from .conftest import STORED, TIMES, Store
from .strategies import HOSTILE, expressions, run_lists

unhurried = settings(
    max_examples=25 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def stored(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **Run.column_values(record),
            "text": Run.indexed_words(record).get("text", "").split(),
            "stored_at": STORED + place,
            "updated_at": STORED + place,
        }
        for place, record in enumerate(records)
    ]


def found(store: Store, expression: Expression) -> list[str]:
    page = store.drive(find_steps(Run, store.alias, expression, order_by="stored_at", limit=None, bodies=False))
    return [run.run_id for run in page]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_expressions_print_to_text_that_parses_to_them(data: st.DataObject) -> None:
    expression = data.draw(expressions(data.draw(run_lists(2))))
    assert parse_filter(str(expression), Run.columns()) == expression


@unhurried
@given(st.data())
def test_random_expressions_mean_the_same_everywhere(store: Store, data: st.DataObject) -> None:
    records = data.draw(run_lists(6), label="runs")
    store.hold(records)
    for _ in range(6):
        expression = data.draw(expressions(records), label="expression")
        meant = [row["run_id"] for row in stored(records) if expression.matches(row)]
        assert found(store, expression) == meant
        assert store.drive(count_steps(store.alias, expression)) == len(meant)


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_leaves_its_clause(store: Store, value: str) -> None:
    others = [text for text in HOSTILE if text != value]
    records = [
        RunRecord(agent_id=value, calls=[CallRecord(kind="tool", name=value)]),
        *(RunRecord(agent_id=text, calls=[CallRecord(kind="tool", name=text)]) for text in others),
    ]
    store.hold(records)
    wanted = str(records[0].id)
    assert found(store, Run.agent_id == value) == [wanted]
    assert found(store, Run.tools.has(value)) == [wanted]
    assert found(store, (Run.tools == value) & (Run.agent_id << [value, "none of them"])) == [wanted]
    assert wanted not in found(store, Run.agent_id != value)
    for how in ("startswith", "endswith", "contains"):
        fits = [str(record.id) for record in records if getattr(Run.agent_id, how)(value).matches(Run.of(record))]
        assert found(store, getattr(Run.agent_id, how)(value)) == fits
        assert wanted in fits


def test_patterns_see_more_values_than_a_server_expands(store: Store) -> None:
    store.hold([RunRecord(agent_id=f"agent-{number}") for number in range(450)])
    assert len(found(store, Run.agent_id.startswith("agent-"))) == 450
    assert len(found(store, Run.agent_id % "agent-??0")) == 35
    prefix = str(RunRecord(agent_id="x").id)[:6]
    assert len(found(store, Run.run_id.startswith(prefix))) == 450


def test_nothing_is_not_asked_for(store: Store) -> None:
    store.hold([RunRecord(agent_id="a")])
    assert found(store, Run.agent_id.in_([])) == []
    assert store.commands == []
    assert len(found(store, Run.agent_id.not_in([]))) == 1
    assert len(found(store, Everything())) == 1


def test_words_need_their_index(store: Store) -> None:
    from .conftest import Keys, make_indexes

    keys = Keys(store.keys.prefix + "wordless")
    make_indexes(store.client, keys, ("run",), text=False)
    try:
        with pytest.raises(QueryError, match="index_text=True"):
            store.drive(count_steps(keys.alias("run"), Run.text.matches("alpha")))
        with pytest.raises(QueryError, match="index_text=True"):
            store.drive(find_steps(Run, keys.alias("run"), ~Run.text.missing()))
    finally:
        store.client.execute_command("FT.DROPINDEX", keys.index("run"))
