"""Every row comes once, and in order, however few rows a server orders for one query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay_models.columns.expressions import Everything
from relay_models.columns.tags import escape_tag
from relay_models.documents import Plan, Run, encode_artifact
from relay_models.errors import StorageError
from relay_models.query.agents import agents_steps
from relay_models.query.limits import ResultLimit
from relay_models.query.paging.find import find_steps
from relay_models.records import ExecutionPlan, MetadataEnvelope, RunRecord
from tests.query.conftest import Store


def limited(rows: int) -> ResultLimit:
    limit = ResultLimit()
    assert limit.refused(StorageError(f"SEARCH_LIMIT LIMIT exceeds maximum of {rows}"))
    return limit


@pytest.mark.parametrize("limit", [2, 3, 7])
@pytest.mark.parametrize("order", ["started_at", "-calls", "agent_id", "-status", "cost"])
def test_all_rows_page_by_page_below_the_limit(store: Store, limit: int, order: str) -> None:
    records = [
        RunRecord(agent_id=f"a{number % 3}", started_at=f"2026-01-01T00:00:0{number % 4}Z") for number in range(20)
    ]
    store.hold(records)
    whole = store.drive(find_steps(Run, store.alias, Everything(), order_by=order, limit=None))
    found = store.drive(
        find_steps(Run, store.alias, Everything(), order_by=order, limit=None, result_limit=limited(limit))
    )
    assert [run.run_id for run in found] == [run.run_id for run in whole]
    assert len(found) == 20
    orders = [command[command.index("LIMIT") + 2] for command in store.commands if "LIMIT" in command]
    assert max(orders) <= limit


@pytest.mark.parametrize("order", ["updated_at", "-updated_at", "groups"])
def test_more_rows_with_the_same_value_than_the_limit(store: Store, order: str) -> None:
    agents = [f"agent {number}|*" for number in range(25)]
    keys = []
    for number, agent in enumerate(agents):
        plan = ExecutionPlan(agent_id=agent, parallel_groups=[], metadata_template=MetadataEnvelope(agent_id=agent))
        keys.append(store.keys.document("plan", agent))
        # One before, one after, and 23 of one instant.
        stored_at = 1_000 + (number == 24) - (number == 0)
        store.client.execute_command("JSON.SET", keys[-1], "$", encode_artifact("plan", agent, plan, stored_at))
    alias = store.keys.alias("plan")
    middle = sorted(agents[1:24] if order != "groups" else agents, key=escape_tag)
    expected = {
        "updated_at": [agents[0], *middle, agents[24]],
        "-updated_at": [agents[24], *middle, agents[0]],
        "groups": middle,
    }[order]
    try:
        whole = store.drive(
            find_steps(Plan, alias, Everything(), order_by=order, limit=None, result_limit=limited(4), page_size=4)
        )
        assert [plan.agent_id for plan in whole] == expected
        paged: list[str] = []
        after: str | None = None
        while after is not None or not paged:
            page = store.drive(
                find_steps(Plan, alias, Everything(), order_by=order, limit=3, after=after, result_limit=limited(4))
            )
            paged += [plan.agent_id for plan in page]
            after = page.next
        assert paged == expected
    finally:
        store.client.delete(*keys)


def test_agents_are_asked_for_without_a_limit(store: Store) -> None:
    store.hold([RunRecord(agent_id=f"agent {number}") for number in range(30)])
    assert len(store.drive(agents_steps(store.alias, 0))) == 30
    assert "LIMIT" not in store.commands[0]


@pytest.mark.parametrize(
    ("learn", "rows"),
    [
        (lambda limit: limit.refused(StorageError("LIMIT exceeds maximum of 10000")), 10_000),
        (lambda limit: limit.read([[b"MAXAGGREGATERESULTS", b"500"]]), 500),
        (lambda limit: limit.read({b"MAXAGGREGATERESULTS": b"500"}), 500),
        (lambda limit: limit.read({"search-max-aggregate-results": "700"}), 700),
        (lambda limit: limit.halve(), 100_000),
    ],
)
def test_how_a_limit_is_learned(learn: Callable[[ResultLimit], Any], rows: int) -> None:
    limit = ResultLimit()
    assert limit.clamp(1_000_000) == 1_000_000
    assert learn(limit)
    assert limit.clamp(1_000_000) == rows
    assert limit.clamp(3) == 3
    # The same again changes nothing, so that nothing is asked for ever.
    assert limit.refused(StorageError(f"LIMIT exceeds maximum of {rows}")) is False


def test_what_says_no_limit() -> None:
    limit = ResultLimit()
    assert limit.refused(StorageError("something else")) is False
    assert limit.refused(StorageError("LIMIT exceeds maximum")) is None
    assert not limit.read([[b"MAXAGGREGATERESULTS", b"unlimited"]])
    assert limit.clamp(10**6) == 10**6
