"""Queries of a backend: filters, order, pages, counts, the latest run, artefacts by agent, deleting by filter."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay_models.backend._async.backend import RedisBackend
from relay_models.documents import Run
from relay_models.errors import (
    CorruptDocumentsError,
    IndexMissingError,
    InvalidConfigurationError,
    QueryError,
    UnknownColumnError,
)
from relay_models.query import every_run
from relay_models.records import AccumulatorState, ExecutionPlan
from tests.backend.stores import as_value, make_run

from .conftest import Place


@pytest.fixture
async def runs(backend: RedisBackend) -> list[Any]:
    """Forty runs of two agents, the last five of them running."""
    made = [make_run(f"agent|{number % 2}", number, running=number >= 35) for number in range(40)]
    await backend.store_runs(made)
    return made


async def test_a_filter_finds_full_records_newest_first(backend: RedisBackend, runs: list[Any]) -> None:
    long = timedelta(seconds=4)
    page = await backend.find_runs((Run.agent_id == "agent|1") & (Run.duration > long), limit=100)
    wanted = [run for run in reversed(runs) if run.agent_id == "agent|1" and run.duration and run.duration > long]
    assert as_value(page.records) == as_value(wanted)
    assert page.complete
    assert page.next is None
    assert await backend.count_runs((Run.agent_id == "agent|1") & (Run.duration > long)) == len(wanted)


async def test_the_filter_language_and_queries_are_taken_too(backend: RedisBackend, runs: list[Any]) -> None:
    assert await backend.count_runs("agent = 'agent|0' and status = running") == 2
    assert len(await backend.find_runs(Run.find(Run.status == "running"))) == 5
    assert len(await backend.find_runs(Run.find(Run.status == "running").limit(3))) == 3
    assert await backend.count_runs() == 40
    with pytest.raises(QueryError):
        await backend.find_runs("  ")
    with pytest.raises(UnknownColumnError):
        await backend.find_runs("colour = red")


async def test_columns_alone_fetch_no_record(backend: RedisBackend, runs: list[Any]) -> None:
    page = await backend.find_runs(None, columns=True, limit=1)
    assert page[0].run_id == str(runs[-1].id)
    assert page[0].started_at == datetime(2026, 11, 23, 10, 0, 39, 123456, tzinfo=UTC)
    assert page[0].models == ["model-0"]
    assert page[0].record is None


@pytest.mark.parametrize("order", ["started_at", "-started_at", "duration", "-duration", "stored_at", "agent_id"])
async def test_pages_give_every_run_once(backend: RedisBackend, runs: list[Any], order: str) -> None:
    whole = [row.run_id for row in await backend.find_runs(order_by=order, limit=None, columns=True)]
    assert sorted(whole) == sorted(str(run.id) for run in runs)
    paged: list[str] = []
    after = None
    while True:
        page = await backend.find_runs(order_by=order, limit=7, after=after, columns=True)
        paged += [row.run_id for row in page]
        after = page.next
        if after is None:
            break
        await backend.store_run(runs[0])
    assert paged == whole
    assert [row.run_id async for row in backend.stream_runs(order_by=order, page_size=6)] == whole


async def test_the_latest_run(backend: RedisBackend, runs: list[Any]) -> None:
    assert as_value(await backend.latest_run("agent|0")) == as_value(runs[38])
    assert await backend.latest_run("agent") is None


async def test_agents_with_their_activity(backend: RedisBackend, runs: list[Any]) -> None:
    first, second = await backend.agents()
    assert (first.agent_id, first.runs, first.running) == ("agent|0", 20, 2)
    assert (second.agent_id, second.runs, second.running) == ("agent|1", 20, 3)
    assert second.last_started_at == datetime(2026, 11, 23, 10, 0, 39, 123456, tzinfo=UTC)
    assert abs(datetime.now(UTC) - second.last_stored_at) < timedelta(minutes=5)


async def test_artifacts_are_found_by_agent(backend: RedisBackend) -> None:
    for agent_id in ("b", "a", "a:b"):
        await backend.store_accumulators(agent_id, AccumulatorState.model_validate({"nodes": {}}))
    rows = await backend.accumulators.find()
    assert [row.agent_id for row in rows] == ["a", "a:b", "b"]
    assert all(abs(datetime.now(UTC) - row.updated_at) < timedelta(minutes=5) for row in rows)
    assert len(await backend.accumulators.find("agent_id = 'a:b'")) == 1
    assert [row.agent_id async for row in backend.accumulators.stream(order_by="-agent_id")] == ["b", "a:b", "a"]
    assert await backend.accumulators.count("agent_id ~ 'a*'") == 2
    (counts,) = await backend.accumulators.aggregate(metrics=["count", "sum(nodes)"])
    assert counts.to_dict() == {"count": 3, "sum(nodes)": 0}
    found = await backend.accumulators.get("a:b")
    assert found is not None
    assert found.record == AccumulatorState.model_validate({"nodes": {}})
    assert await backend.accumulators.get("c") is None
    assert len(await backend.plans.find()) == 0
    assert await backend.accumulators.delete("agent_id = b") == 1
    assert await backend.accumulators.count() == 2


async def test_getting_one_run(backend: RedisBackend, runs: list[Any]) -> None:
    found = await backend.runs.get("agent|1", runs[1].id)
    assert found is not None
    assert as_value(found.record) == as_value(runs[1])
    assert await backend.runs.get("agent|0", runs[1].id) is None
    with pytest.raises(QueryError, match="run_id"):
        await backend.runs.get("agent|1")
    with pytest.raises(QueryError, match="agent_id"):
        await backend.plans.get("agent|1", runs[1].id)


async def test_deleting_what_a_filter_finds(backend: RedisBackend, runs: list[Any]) -> None:
    assert await backend.delete_runs(Run.status == "running") == 5
    assert await backend.count_runs() == 35
    assert await backend.delete_runs("agent = 'agent|0'") == 18
    assert [agent.agent_id for agent in await backend.agents()] == ["agent|1"]
    for everything in (None, [], Run.find(), Run.find(Run.calls > 0).limit(1)):
        with pytest.raises(QueryError, match=r"would mean everything|a query with a limit"):
            await backend.delete_runs(everything)
    assert await backend.count_runs() == 17
    assert await backend.delete_runs("all") == 17
    await backend.store_runs(runs)
    assert await backend.delete_runs(every_run()) == 40


async def test_deleting_an_agent(backend: RedisBackend, runs: list[Any]) -> None:
    for agent_id in ("agent|0", "agent|1"):
        await backend.store_accumulators(agent_id, AccumulatorState.model_validate({"nodes": {}}))
    assert await backend.delete_agent("agent|0", what="runs") == 20
    assert await backend.load_accumulators("agent|0") is not None
    assert await backend.delete_agent("agent|1", what="everything") == 21
    assert await backend.load_accumulators("agent|1") is None
    assert await backend.load_accumulators("agent|0") is not None
    assert await backend.delete_agent("agent|0", what="everything") == 1
    assert await backend.agents() == []
    with pytest.raises(QueryError, match="everything"):
        await backend.delete_agent("agent|0", what="all")  # type: ignore[arg-type]


async def test_find_reports_corrupt_documents_by_key(backend: RedisBackend, runs: list[Any], place: Place) -> None:
    key = f"{backend.key_prefix}@run:agent|0:{runs[4].id}"
    await place.raw.execute_command("JSON.DEL", key, "$.record")
    with pytest.raises(CorruptDocumentsError) as caught:
        await backend.find_runs(Run.agent_id == "agent|0", limit=100)
    assert [error.key for error in caught.value.errors] == [key]
    assert len(caught.value.good) == 19
    page = await backend.find_runs(Run.agent_id == "agent|0", limit=100, on_corrupt="skip")
    assert len(page) == 19
    assert [error.key for error in page.corrupt] == [key]


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("order", ["-started_at", "duration", "-prompt_tokens"])
async def test_a_page_that_is_asked_for_again_while_runs_come_and_go(
    backend: RedisBackend, runs: list[Any], order: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for where it was the last time; whatever has changed, it is the page that all runs give."""
    monkeypatch.setattr("relay_models.query.paging.page_bounds._SLOW_MS", 0.0 if slow else float("inf"))
    monkeypatch.setattr("relay_models.query.paging.page_bounds._SAMPLE", 8)
    name, descending = order.lstrip("-"), order.startswith("-")
    rng = random.Random(order)
    for step in range(25):
        if step % 5 == 1:
            await backend.store_runs([make_run("agent|0", rng.randrange(60)) for _ in range(3)])
        if step % 5 == 3:
            for row in (await backend.find_runs(order_by=order, limit=12, columns=True)).rows[rng.randrange(8) :: 2]:
                await backend.delete_run(row.agent_id, row.run_id)
        every = sorted((await backend.find_runs(limit=None, columns=True)).rows, key=lambda row: row.run_id)
        for filter, fits in ((None, lambda row: True), ("agent = 'agent|0'", lambda row: row.agent_id == "agent|0")):
            there = [row for row in every if fits(row) and getattr(row, name) is not None]
            there.sort(key=lambda row: getattr(row, name), reverse=descending)
            wanted = [row.run_id for row in (*there, *(row for row in every if fits(row) and row not in there))]
            for limit in (3, 10, 1000):
                page = await backend.find_runs(filter, order_by=order, limit=limit, columns=True)
                assert [row.run_id for row in page] == wanted[:limit]
                assert (page.next is not None) == (limit < len(wanted))


@pytest.mark.parametrize("sample", [1, 8, 2_000])
@pytest.mark.parametrize("column", ["started_at", "stored_at", "duration", "prompt_tokens", "cost", "agent_id"])
async def test_the_pages_of_an_order_are_those_of_all_runs(
    backend: RedisBackend, runs: list[Any], column: str, sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is guessed about where they end."""
    monkeypatch.setattr("relay_models.query.paging.page_bounds._SAMPLE", sample)
    for order in (column, f"-{column}"):
        for filter in (None, "agent = 'agent|0'", "calls > 100"):
            wanted = [run.run_id for run in await backend.find_runs(filter, order_by=order, limit=None, columns=True)]
            # Each number of rows is an order of its own.
            for limit in (2, 7, 30):
                page = await backend.find_runs(filter, order_by=order, limit=limit, columns=True)
                found = [run.run_id for run in page]
                assert found == wanted[:limit]
                while page.next is not None and limit > 2:
                    page = await backend.find_runs(filter, order_by=order, limit=limit, after=page.next, columns=True)
                    found += [run.run_id for run in page]
                assert found == wanted[: len(found)]
                assert (page.next is None) == (len(found) == len(wanted))


async def test_a_page_that_is_asked_for_again_is_looked_for_where_it_was(
    backend: RedisBackend, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    works, asked = backend.transport.execute, []

    async def noted(*command: Any) -> Any:
        # The first query of an order asks what may be its bound.
        if "GROUPBY" not in command:
            asked.append(command)
        return await works(*command)

    monkeypatch.setattr(backend.transport, "execute", noted)
    first = await backend.latest_run("agent|1")
    assert first is not None
    again = await backend.latest_run("agent|1")
    assert again is not None
    assert again.id == first.id
    assert [command[2].count("@started_at") for command in asked] == [0, 1]
    await backend.delete_run("agent|1", first.id)
    last = await backend.latest_run("agent|1")
    assert last is not None
    assert last.id == runs[37].id
    # One of the two that were in reach is gone, so the third question is asked in full.
    questions = [command[2] for command in asked if command[0] == "FT.AGGREGATE"]
    assert [question.count("@started_at") for question in questions] == [0, 1, 1, 0]


async def test_a_dropped_index_is_never_an_empty_answer(backend: RedisBackend, runs: list[Any], place: Place) -> None:
    questions: list[tuple[Callable[[RedisBackend], Any], int]] = [
        (lambda store: store.find_runs(limit=None), 40),
        (lambda store: store.agents(), 2),
        (lambda store: store.list_runs("agent|0"), sum(run.agent_id == "agent|0" for run in runs)),
        (lambda store: store.list_runs("nobody"), 0),
        (lambda store: store.find_runs(limit=5, columns=True), 5),
    ]
    reader = await place.open(create_index=False)
    for question, count in questions:
        await place.raw.execute_command("FT.DROPINDEX", place.run_index(backend))
        with pytest.raises(IndexMissingError, match="create_index"):
            await question(reader)
        # Who may make it does, and waits until it is filled.
        assert len(await question(backend)) == count
        assert len(await question(reader)) == count
    await place.raw.execute_command("FT.DROPINDEX", place.run_index(backend))
    assert await backend.count_runs() == 40


async def test_an_older_index_is_replaced_without_a_gap(place: Place) -> None:
    backend = await place.open()
    await backend.store_runs([make_run("agent", number) for number in range(50)])
    prefix = backend.key_prefix
    old, new, alias = f"{prefix}@run:idx:v0", place.run_index(backend), f"{prefix}@run"
    columns = ("$.agent_id", "AS", "agent_id", "TAG")
    await place.raw.execute_command("FT.CREATE", old, "ON", "JSON", "PREFIX", 1, f"{prefix}@run:", "SCHEMA", *columns)
    await place.raw.execute_command("FT.ALIASUPDATE", alias, old)
    await place.raw.execute_command("FT.DROPINDEX", new)
    moved = await place.open()
    assert await moved.count_runs() == 50
    assert len(await moved.list_runs("agent")) == 50
    names = [name.decode() for name in await place.raw.execute_command("FT._LIST")]
    assert new in names
    assert old not in names


async def test_text_is_kept_when_asked_for(place: Place) -> None:
    backend = await place.open(index_text=True)
    message = {"messages": [{"role": "user", "content": "Where is the Lighthouse?"}]}
    run = make_run("agent", 1)
    value = as_value(run)
    value["calls"][0]["annotated_request"] = message
    await backend.store_run(type(run).model_validate(value))
    await backend.store_run(make_run("agent", 2))
    assert await backend.count_runs("text ~ lighthouse") == 1
    assert backend.index_text
    # A backend that leaves it open does what the store does, and says so.
    other = await place.open()
    assert other.index_text
    value["id"] = str(make_run("agent").id)
    await other.store_run(type(run).model_validate(value))
    assert await other.count_runs("text ~ lighthouse") == 2
    with pytest.raises(InvalidConfigurationError, match="index_text=None"):
        await place.open(index_text=False)


async def test_text_is_not_kept_unless_asked_for(place: Place) -> None:
    assert not (await place.open()).index_text
    assert not (await place.open(index_text=False)).index_text
    backend = await place.open(index_text=True)
    assert backend.index_text
    await place.raw.execute_command("FT.DROPINDEX", place.run_index(backend, text=True))
    without = await place.open(index_text=False)
    assert not without.index_text
    assert await without.count_runs() == 0


async def test_words_are_added_to_runs_that_were_stored_without(place: Place) -> None:
    backend = await place.open()
    run = make_run("agent", 1)
    value = as_value(run)
    value["calls"][0]["annotated_request"] = {"messages": [{"role": "user", "content": "Where is the Lighthouse?"}]}
    await backend.store_run(type(run).model_validate(value))
    await backend.store_runs([make_run("agent", number) for number in range(2, 300)])
    key = f"{backend.key_prefix}@run:agent:{run.id}"
    await place.raw.execute_command("JSON.SET", key, "$.calls", "77")
    before = await backend.list_runs("agent")
    wordy = await place.open(index_text=True)
    assert await wordy.count_runs("text ~ lighthouse") == 1
    assert await wordy.count_runs("calls = 1") == 299
    assert as_value(await wordy.list_runs("agent")) == as_value(before)


async def test_artifact_rows_with_their_records(backend: RedisBackend, capture: list[dict[str, Any]]) -> None:
    plan = next(line["value"] for line in capture if line["key"].startswith("nemo_relay:plan:"))
    await backend.store_plan(ExecutionPlan.model_validate_json(plan))
    (row,) = await backend.plans.find()
    assert as_value(row.record) == as_value(ExecutionPlan.model_validate_json(plan))


async def test_lists_of_few_texts_are_grouped_by_the_index(backend: RedisBackend) -> None:
    # Each of three models has more than 50 runs: the index is asked for each of them.
    runs = [make_run(f"agent-{number % 2}", number) for number in range(240)]
    await backend.store_runs(runs)
    metrics = ["count", "sum(prompt_tokens)", "distinct(agent_id)"]
    rows = await backend.aggregate_runs(by="models", metrics=metrics, filter="prompt_tokens >= 60")
    wanted = [[f"model-{model}", 60, sum(range(60 + model, 240, 3)), 2] for model in range(3)]
    assert [list(row.values()) for row in rows] == wanted
    rows = await backend.aggregate_runs(by="agent_id", metrics=["distinct(models)", "count(models)", "p50(calls)"])
    assert [list(row.values()) for row in rows] == [["agent-0", 3, 120, 1], ["agent-1", 3, 120, 1]]


async def test_counting_up(backend: RedisBackend, runs: list[Any]) -> None:
    rows = await backend.aggregate_runs(by=["agent_id"], metrics=["count", "sum(prompt_tokens)", "max(duration)"])
    assert [row.to_dict() for row in rows] == [
        {
            "agent_id": agent_id,
            "count": 20,
            "sum(prompt_tokens)": sum(run.prompt_tokens for run in runs if run.agent_id == agent_id),
            "max(duration)": max(run.duration for run in runs if run.agent_id == agent_id and run.duration),
        }
        for agent_id in ("agent|0", "agent|1")
    ]
    minutes = await backend.aggregate_runs(every="10s", metrics="count", filter=Run.agent_id == "agent|1")
    assert [row["count"] for row in minutes] == [5, 5, 5, 5]
