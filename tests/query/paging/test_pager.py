"""Rows come in a total order, page by page, whatever is written meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from relay_models.columns.expressions import Everything
from relay_models.columns.tags import escape_tag
from relay_models.documents import ARTIFACT_KINDS, DOCUMENTS, Run, encode_artifact
from relay_models.errors import (
    CorruptDocumentsError,
    IncompleteAnswerError,
    QueryError,
    UnknownColumnError,
)
from relay_models.query.order import Order
from relay_models.query.paging.find import find_steps
from relay_models.query.paging.page import Page
from relay_models.query.steps import Answer
from relay_models.query.tag_values import count_steps
from relay_models.records import ExecutionPlan, MetadataEnvelope, RunRecord
from tests.query.conftest import TIMES, Store
from tests.query.strategies import expressions, run_lists, texts
from tests.query.test_meaning import stored

unhurried = settings(
    max_examples=15 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SORTABLE = [column.name for column in Run.columns().values() if column.ordered or column.kind == "text"]


def in_order(rows: list[dict[str, Any]], name: str, descending: bool) -> list[str]:
    """Run ids as find_steps has them: by the value, ties by id, those without a value last."""

    def key(row: dict[str, Any]) -> Any:
        return escape_tag(row[name]) if isinstance(row[name], str) else float(row[name])

    rows = sorted(rows, key=lambda row: (row["run_id"], escape_tag(row["agent_id"])))
    known = sorted((row for row in rows if name in row), key=key, reverse=descending)
    return [row["run_id"] for row in known + [row for row in rows if name not in row]]


@unhurried
@given(st.data())
def test_pages_join_to_the_whole(store: Store, data: st.DataObject) -> None:
    records = data.draw(run_lists(7), label="runs")
    store.hold(records)
    by_id = {str(record.id): record for record in records}
    for _ in range(3):
        expression = data.draw(st.one_of(st.just(Everything()), expressions(records)), label="expression")
        name = data.draw(st.sampled_from(SORTABLE))
        descending = data.draw(st.booleans())
        limit = data.draw(st.integers(1, 4))
        order = f"-{name}" if descending else name
        expected = in_order([row for row in stored(records) if expression.matches(row)], name, descending)
        got: list[str] = []
        after = None
        while True:
            page = store.drive(find_steps(Run, store.alias, expression, order_by=order, limit=limit, after=after))
            got += [run.run_id for run in page]
            assert len(got) <= len(expected), "pages repeat"
            assert [run.record for run in page] == [by_id[run.run_id] for run in page]
            after = page.next
            if after is None:
                break
            assert len(page) == limit
        assert got == expected
        whole = store.drive(find_steps(Run, store.alias, expression, order_by=order, limit=None, page_size=2))
        assert [run.run_id for run in whole] == expected


def test_a_cursor_stays_right_while_runs_are_written(store: Store) -> None:
    records = [RunRecord(agent_id="a", started_at=f"2026-01-01T00:00:{second:02}Z") for second in range(20)]
    store.hold(records)
    page = store.drive(find_steps(Run, store.alias, Everything(), limit=5))
    newer = [RunRecord(agent_id="a", started_at=f"2026-01-02T00:00:{second:02}Z") for second in range(20)]
    store.hold([*records, *newer])
    seen = [run.run_id for run in page]
    while page.next:
        page = store.drive(find_steps(Run, store.alias, Everything(), limit=5, after=page.next))
        seen += [run.run_id for run in page]
    assert seen == [str(record.id) for record in reversed(records)]


def test_many_runs_of_one_instant(store: Store) -> None:
    records = [RunRecord(agent_id=f"a{number % 3}", started_at="2026-01-01T00:00:00Z") for number in range(60)]
    store.hold(records)
    for order in ("started_at", "-calls", "agent_id", "status", "cost"):
        seen: list[str] = []
        page = Page([], next=None)
        while True:
            page = store.drive(find_steps(Run, store.alias, Everything(), order_by=order, limit=7, after=page.next))
            seen += [run.run_id for run in page]
            if page.next is None:
                break
        assert len(seen) == len(set(seen)) == 60


def test_corrupt_documents_do_not_hide_others(store: Store) -> None:
    records = [RunRecord(agent_id="a") for _ in range(5)]
    store.hold(records)
    broken = {
        "nothing": {"agent_id": "a"},
        "no-row": {"agent_id": "a", "run_id": "x", "started_at": 5},
        "odd": {"agent_id": "a", "row": "7"},
    }
    keys = [store.keys.root("run") + name.encode() for name in broken]
    for key, value in zip(keys, broken.values(), strict=True):
        store.client.execute_command("JSON.SET", key, "$", json.dumps(value))
    store.held += keys
    for limit in (2, 50, None):
        seen: list[str] = []
        after = None
        while True:
            page = store.drive(find_steps(Run, store.alias, Everything(), limit=limit, after=after, on_corrupt="skip"))
            seen += [run.run_id for run in page]
            after = page.next
            if after is None:
                break
        assert sorted(seen) == sorted(str(record.id) for record in records)
    with pytest.raises(CorruptDocumentsError) as caught:
        store.drive(find_steps(Run, store.alias, Everything(), limit=None))
    assert {error.key.rpartition(":")[2] for error in caught.value.errors} == set(broken)
    assert len(caught.value.good) == 5


@unhurried
@given(st.data())
def test_artifacts_by_agent(store: Store, data: st.DataObject) -> None:
    agents = data.draw(st.lists(texts, max_size=6, unique=True))
    keys = []
    for place, agent in enumerate(agents):
        plan = ExecutionPlan(agent_id=agent, parallel_groups=[], metadata_template=MetadataEnvelope(agent_id=agent))
        keys.append(store.keys.document("plan", agent))
        store.client.execute_command(
            "JSON.SET", keys[-1], "$", encode_artifact("plan", agent, plan, 1_000 + place // 2)
        )
    try:
        plans = DOCUMENTS["plan"]
        for order in ("agent_id", "-updated_at", "groups"):
            seen: list[str] = []
            after = None
            while True:
                steps = find_steps(plans, store.keys.alias("plan"), Everything(), order_by=order, limit=2, after=after)
                page = store.drive(steps)
                seen += [row.agent_id for row in page]
                assert all(row.record.agent_id == row.agent_id for row in page)
                after = page.next
                if after is None:
                    break
            assert sorted(seen) == sorted(agents)
            if order == "agent_id":
                assert seen == sorted(agents, key=escape_tag)
    finally:
        if keys:
            store.client.delete(*keys)


def test_every_kind_has_its_index(store: Store) -> None:
    for kind in ARTIFACT_KINDS:
        assert (
            list(store.drive(find_steps(DOCUMENTS[kind], store.keys.alias(kind), Everything(), order_by="agent_id")))
            == []
        )


@pytest.mark.parametrize("after", ["", "x", "!!", "e30", "W10", "WzEsInN0YXJ0ZWRfYXQiLGZhbHNlLG51bGwsW11d"])
def test_what_is_no_cursor(after: str) -> None:
    with pytest.raises(QueryError, match="cursor"):
        next(find_steps(Run, "alias", Everything(), after=after))


def test_a_cursor_of_another_order(store: Store) -> None:
    store.hold([RunRecord(agent_id="a"), RunRecord(agent_id="b")])
    page = store.drive(find_steps(Run, store.alias, Everything(), limit=1))
    with pytest.raises(QueryError, match="ordered by"):
        next(find_steps(Run, store.alias, Everything(), order_by="duration", after=page.next))


@pytest.mark.parametrize(
    "text", ["-started_at", "-started", "started_at desc", "Started DESC", " - started_at", -Run.started_at]
)
def test_ways_to_write_an_order(text: str) -> None:
    assert str(Order.parse(text, Run.columns())) == "-started_at"
    assert str(Order.parse(Run.started_at, Run.columns())) == "started_at"
    assert str(Order.parse("calls asc", Run.columns())) == "calls"


def test_what_cannot_be_sorted_by() -> None:
    with pytest.raises(UnknownColumnError, match="started_at"):
        next(find_steps(Run, "alias", Everything(), order_by="startet_at"))
    with pytest.raises(QueryError, match="no order"):
        next(find_steps(Run, "alias", Everything(), order_by="tools"))
    with pytest.raises(QueryError, match="limit"):
        next(find_steps(Run, "alias", Everything(), limit=-1))


CUT = {b"results": [], b"total_results": 0, b"warning": [b"Timeout limit was reached"]}


@pytest.mark.parametrize(
    ("reply", "elapsed", "whole"),
    [
        (CUT, 1.0, False),
        ({**CUT, b"warning": []}, 9_999.0, True),
        ([0], 1.0, True),
        ([0], 500.0, False),
    ],
)
def test_an_answer_cut_short_is_noticed(reply: Any, elapsed: float, whole: bool) -> None:
    for make in (
        lambda mode: find_steps(Run, "alias", Everything(), limit_ms=500, on_incomplete=mode),
        lambda mode: count_steps("alias", Everything(), limit_ms=500, partial=mode == "partial"),
    ):
        steps = make("raise")
        next(steps)
        if whole:
            with pytest.raises(StopIteration):
                steps.send(Answer(reply, elapsed))
        else:
            with pytest.raises(IncompleteAnswerError):
                steps.send(Answer(reply, elapsed))
        steps = make("partial")
        next(steps)
        with pytest.raises(StopIteration) as stop:
            steps.send(Answer(reply, elapsed))
        if isinstance(stop.value.value, Page):
            assert stop.value.value.complete is whole
            assert bool(stop.value.value.warnings) is not whole
