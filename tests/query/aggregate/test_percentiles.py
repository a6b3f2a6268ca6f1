"""Percentiles and distinct values that the server finds: exact while runs are stored, and estimated where asked."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay_models._time import datetime_of
from relay_models.columns.expressions import Everything
from relay_models.documents import Run, encode_run
from relay_models.documents.labels import LabelChange, Labels
from relay_models.query.aggregate.groups import AggregateRows
from relay_models.query.aggregate.pipeline import aggregate_steps
from relay_models.query.aggregate.request import Aggregation
from relay_models.query.steps import Answer
from relay_models.records import AnnotatedLlmResponse, CallRecord, RunExtensions, RunRecord
from tests.query.conftest import Store

COLUMNS = Run.columns()
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


def a_run(agent: str, microseconds: int, minute: int = 0) -> RunRecord:
    began = BEGIN + timedelta(minutes=minute)
    calls = [CallRecord(kind="llm", name="x", started_at=began, model_name=f"m{microseconds % 3}")]
    ended = began + timedelta(microseconds=microseconds)
    return RunRecord(agent_id=agent, started_at=began, ended_at=ended, calls=calls)


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    rng = random.Random(5)
    return [a_run(f"a{number % 3}", int(rng.lognormvariate(12, 1)), minute=number) for number in range(300)]


@pytest.fixture
def filled(store: Store, records: list[RunRecord]) -> Store:
    store.hold(records)
    return store


def drive(
    store: Store,
    ask: Aggregation,
    between: Callable[[int], object],
    few_rows: int = 0,
    receive: Callable[[Any], Any] = lambda reply: reply,
) -> AggregateRows:
    """Have the conversation; `between` is called with the number of commands sent so far, after each answer.

    `receive` may change the replies to FT.INFO.
    """
    steps = aggregate_steps(Run, store.alias, Everything(), ask, few_rows=few_rows)
    store.commands = []
    try:
        command = next(steps)
        while True:
            store.commands.append(command)
            assert len(store.commands) < 200, "the conversation does not end"
            began = time.perf_counter()
            reply = store.client.execute_command(*command)
            if command[0] == "FT.INFO":
                reply = receive(reply)
            between(len(store.commands))
            command = steps.send(Answer(reply, (time.perf_counter() - began) * 1000))
    except StopIteration as stop:
        rows: AggregateRows = stop.value
        return rows


def percentile(durations: list[int], percent: float) -> timedelta:
    durations = sorted(durations)
    place = (len(durations) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(durations) - 1)
    return timedelta(microseconds=durations[below] + (durations[above] - durations[below]) * (place - below))


def durations_of(records: list[RunRecord], agent: str) -> list[int]:
    found = [record.duration // timedelta(microseconds=1) for record in records if record.agent_id == agent]
    assert all(value is not None for value in found)
    return found


def ask_for(metrics: list[str], **options: Any) -> Aggregation:
    return Aggregation.parse(COLUMNS, metrics=metrics, **options)


def test_only_values_around_a_percentile_are_read(filled: Store, records: list[RunRecord]) -> None:
    rows = drive(
        filled, ask_for(["p50(duration)", "p95(duration)", "p100(duration)"], by="agent_id"), lambda sent: None
    )
    for row in rows:
        durations = durations_of(records, str(row["agent_id"]))
        for percent in (50, 95, 100):
            assert row[f"p{percent}(duration)"] == percentile(durations, percent)
    assert not any("record" in str(word) for command in filled.commands for word in command)
    (row,) = drive(filled, ask_for(["p50(duration)"]), lambda sent: None)
    everything = [duration for agent in ("a0", "a1", "a2") for duration in durations_of(records, agent)]
    assert row["p50(duration)"] == percentile(everything, 50)
    _, _, read = [command for command in filled.commands if command[0] == "FT.AGGREGATE"]
    reply = filled.client.execute_command(*read)[0]
    assert len(reply[b"results"] if isinstance(reply, dict) else reply[1:]) < 20


def test_percentiles_by_the_hour(filled: Store, records: list[RunRecord]) -> None:
    rows = drive(filled, ask_for(["p90(duration)"], every="1h", tz="Asia/Kathmandu"), lambda sent: None)
    by_hour: dict[datetime, list[int]] = {}
    for record in records:
        moment = datetime_of(Run.column_values(record)["started_at"]) - timedelta(minutes=15)  # 5:45 h behind the zone
        start = moment.replace(minute=0, second=0, microsecond=0) + timedelta(minutes=15)
        by_hour.setdefault(start, []).append(record.duration // timedelta(microseconds=1))
    assert {row["bucket"]: row["p90(duration)"] for row in rows} == {
        start: percentile(durations, 90) for start, durations in by_hour.items()
    }


def test_runs_that_are_stored_meanwhile_do_no_harm(filled: Store, records: list[RunRecord]) -> None:
    added: list[RunRecord] = []

    def store_more(sent: int) -> None:
        for number in range(20):
            record = a_run("a1", 50_000 + 7_000 * number + sent)
            filled.client.execute_command(
                "JSON.SET", filled.keys.run(record.agent_id, record.id), "$", encode_run(record, 1)
            )
            filled.held.append(filled.keys.run(record.agent_id, record.id))
            added.append(record)

    (row,) = [
        row
        for row in drive(filled, ask_for(["p50(duration)", "p99(duration)"], by="agent_id"), store_more)
        if row["agent_id"] == "a1"
    ]
    # Some of the new runs count: the answer lies between those before and after.
    before, after = durations_of(records, "a1"), durations_of(records + added, "a1")
    for percent in (50, 99):
        bounds = sorted([percentile(before, percent), percentile(after, percent)])
        assert bounds[0] <= row[f"p{percent}(duration)"] <= bounds[1]


def test_a_cluster_that_is_written_to_is_not_asked_for_its_rows(filled: Store, records: list[RunRecord]) -> None:
    """There, a number that grows with new runs, too, tells that runs may have been replaced."""
    stored = 0

    def store_more(sent: int) -> None:
        nonlocal stored
        for number in range(60):
            record, stored = a_run("a1", 100_000 + 2_500 * number + sent), stored + 1
            key = filled.keys.run(record.agent_id, record.id)
            filled.client.execute_command("JSON.SET", key, "$", encode_run(record, 2 * 10**15 + stored))
            filled.held.append(key)

    def as_of_a_cluster(reply: Any) -> Any:
        fields = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
        fields[b"max_doc_id"] = int(fields[b"num_docs"]) + stored
        return fields if isinstance(reply, dict) else [part for pair in fields.items() for part in pair]

    rows = drive(filled, ask_for(["count", "p50(duration)"], by="agent_id"), store_more, receive=as_of_a_cluster)
    assert [row["count"] for row in rows if row["agent_id"] != "a1"] == [100, 100]
    assert rows[0]["p50(duration)"] == percentile(durations_of(records, str(rows[0]["agent_id"])), 50)
    assert not any("$.row" in command for command in filled.commands)


def test_runs_that_are_replaced_meanwhile_count_once(filled: Store, records: list[RunRecord]) -> None:
    """A run that moves from one interval to another could be found in both: the server is asked again, then read."""
    key = filled.held[0]
    first = durations_of(records, "a0")[0]

    def replace(sent: int) -> None:
        record = records[0].model_copy(update={"ended_at": a_run("a0", first + sent).ended_at})
        filled.client.execute_command("JSON.SET", key, "$", encode_run(record, 1))

    for _ in range(3):
        rows = drive(filled, ask_for(["count", "p50(duration)", "p95(duration)"], by="agent_id"), replace)
        assert [row["count"] for row in rows] == [100, 100, 100]


def test_estimates_are_named_and_only_where_they_are_allowed(filled: Store, records: list[RunRecord]) -> None:
    metrics = ["count", "p95(duration)", "distinct(status)", "stddev(duration)", "sum(total_tokens)"]
    exact = drive(filled, ask_for(metrics, by="agent_id"), lambda sent: None)
    assert exact.estimated == ()
    estimated = drive(filled, ask_for(metrics, by="agent_id", approximate=True), lambda sent: None)
    assert estimated.estimated == ("p95(duration)", "distinct(status)", "stddev(duration)")
    for row, other in zip(exact, estimated, strict=True):
        durations = durations_of(records, str(row["agent_id"]))
        assert percentile(durations, 93) <= other["p95(duration)"] <= percentile(durations, 97)
        assert other["distinct(status)"] == 1
        assert abs(other["stddev(duration)"] - row["stddev(duration)"]) < timedelta(milliseconds=1)
        assert other["count"] == row["count"]
    by_models = drive(filled, ask_for(["p95(duration)"], by="models", approximate=True), lambda sent: None)
    assert by_models.estimated == ("p95(duration)",)
    # Where the server's groups are several of ours estimates cannot be combined, and few runs are read exactly.
    by_two = ask_for(["p95(duration)"], by=["models", "tools"], approximate=True)
    assert drive(filled, by_two, lambda sent: None).estimated == ()
    few = drive(filled, ask_for(["p95(duration)"], approximate=True), lambda sent: None, few_rows=5_000)
    assert few.estimated == ()
    # Nor has a server a score as a number.
    scored = drive(filled, ask_for(["p95(score.tone)", "avg(score.tone)"], approximate=True), lambda sent: None)
    assert (scored.estimated, list(scored[0].values())) == ((), [None, None])


def test_runs_without_a_value_have_no_part_in_estimates(store: Store) -> None:
    hour = timedelta(hours=1)
    ends = {"none": [None, None], "one": [BEGIN + hour, None], "some": [BEGIN + hour, None, BEGIN + 3 * hour]}
    store.hold(
        [
            RunRecord(agent_id=agent, started_at=BEGIN, ended_at=end)
            for agent, all_ends in ends.items()
            for end in all_ends
        ]
    )
    metrics = ["p0(duration)", "p100(duration)", "stddev(duration)", "distinct(ended_at)", "sum(cost)", "avg(cost)"]
    rows = drive(store, ask_for(metrics, by="agent_id", approximate=True), lambda sent: None)
    assert rows.estimated == tuple(metrics)
    found = {row["agent_id"]: [row[name] for name in ("p0(duration)", "p100(duration)")] for row in rows}
    assert found == {"none": [None, None], "one": [hour, hour], "some": [hour, 3 * hour]}
    assert [row["stddev(duration)"] is None for row in rows] == [True, True, False]
    assert [row["distinct(ended_at)"] for row in rows] == [0, 1, 2]
    assert [(row["sum(cost)"], row["avg(cost)"]) for row in rows] == [(None, None)] * 3


def test_estimated_averages_are_of_the_runs_that_have_a_value(store: Store) -> None:
    runs = [RunRecord(agent_id="a", started_at=BEGIN)]
    for total in (0.25, 0.75):
        usage = {"cost": {"total": total, "source": "provider_reported"}}
        response = AnnotatedLlmResponse.model_validate({"usage": usage})
        calls = [CallRecord(kind="llm", name="x", started_at=BEGIN, annotated_response=response)]
        runs.append(RunRecord(agent_id="a", started_at=BEGIN, calls=calls))
    store.hold(runs)
    (row,) = drive(store, ask_for(["avg(cost)", "count(duration)"], approximate=True), lambda sent: None)
    assert list(row.values()) == [0.5, 0]


def test_distinct_values_of_lists_and_texts(filled: Store) -> None:
    (row,) = drive(filled, ask_for(["distinct(models)", "count(models)", "distinct(agent_id)"]), lambda sent: None)
    assert list(row.values()) == [3, 300, 3]
    rows = drive(
        filled, ask_for(["distinct(agent_id)", "p50(calls)", "p50(started_at)"], by="models"), lambda sent: None
    )
    assert [(row["models"], row["distinct(agent_id)"], row["p50(calls)"]) for row in rows] == [
        ("m0", 3, 1), ("m1", 3, 1), ("m2", 3, 1),
    ]  # fmt: skip


def test_few_texts_are_asked_for_one_by_one_without_reading_documents(store: Store) -> None:
    rng = random.Random(3)
    records = []
    for number in range(200):
        names = {"a", "", "b|c"} if number % 5 == 0 else set(rng.sample(["a", "", "b|c"], number % 3))
        calls = [CallRecord(kind="tool", name=name, started_at=BEGIN) for name in sorted(names)]
        ended = BEGIN + timedelta(microseconds=rng.randrange(1, 10**6))
        records.append(RunRecord(agent_id=f"a{number % 2}", started_at=BEGIN, ended_at=ended, calls=calls))
    store.hold(records)
    for metrics in (
        ["count", "sum(calls)", "p95(duration)", "distinct(agent_id)"],
        ["distinct(tools)", "count(tools)", "distinct(models)", "max(duration)"],
    ):
        for options in ({"by": "tools"}, {"by": ["agent_id", "tools"]}, {"every": "1h"}, {"by": "agent_id"}, {}):
            ask = ask_for(metrics, **options)
            by_rows = drive(store, ask, lambda sent: None, few_rows=10_000)
            asked = drive(store, ask, lambda sent: None)
            assert [row.to_dict() for row in asked] == [row.to_dict() for row in by_rows]
            loaded = {word for command in store.commands for word in command if str(word).startswith("$.")}
            assert not loaded, "documents were read"


# Numbers with as many digits as are kept, small and great ones, some of them often.
COSTS = [0.1, 0.3, 0.123456789012345, 3.00000000000001, 1e-7, 1.23456789e-12, 0.0, -2.5, 98765432.1234567, 1e15, 7.0]


def with_cost(record: RunRecord, total: float) -> RunRecord:
    usage = {"cost": {"total": total, "source": "provider_reported"}}
    response = AnnotatedLlmResponse.model_validate({"usage": usage})
    return record.model_copy(update={"calls": [record.calls[0].model_copy(update={"annotated_response": response})]})


@pytest.fixture
def costly(store: Store) -> list[RunRecord]:
    """Runs that have a cost and a score, or not."""
    rng = random.Random(11)
    records = []
    for number in range(120):
        record = a_run(f"a{number % 3}", rng.randrange(1, 10**9), minute=number)
        if number % 4:
            record = with_cost(record, rng.choice([*COSTS, rng.random(), rng.random()]))
        records.append(record)
    store.hold(records)
    for key in store.held[::3]:
        scores = {"tone": rng.choice(COSTS[:5])}
        change = LabelChange.checked(scores=scores, at=1, source="human", by=None, note_id="")
        members = Labels().changed(change).members(Labels())
        store.client.execute_command("JSON.MERGE", key, "$", json.dumps(members))
    return records


@pytest.mark.parametrize("column", ["cost", "score.tone", "duration"])
def test_all_digits_of_numbers_are_read_without_the_rest_of_their_documents(
    store: Store, costly: list[RunRecord], column: str
) -> None:
    hows = ["count", "sum", "avg", "min", "max", "stddev", "p5", "p50", "p99.9", "distinct"]
    metrics = ["count", *(f"{how}({column})" for how in hows)]
    for options in ({}, {"by": "agent_id"}, {"by": "models"}, {"by": ["status", "models"]}, {"every": "1h"},
                    {"every": "15m", "by": "agent_id"}, {"by": "total_tokens"}):  # fmt: skip
        ask = ask_for(metrics, **options)
        by_rows = drive(store, ask, lambda sent: None, few_rows=10_000)
        asked = drive(store, ask, lambda sent: None)
        assert [row.to_dict() for row in asked] == [row.to_dict() for row in by_rows]
        loaded = {word for command in store.commands for word in command if str(word).startswith("$.")}
        assert not loaded & {"$.row", "$.record", "$.labels"}, "documents were read"


def test_a_sum_of_costs_is_that_of_python(store: Store, costly: list[RunRecord]) -> None:
    known = [record.cost for record in costly if record.cost is not None]
    assert len(known) == 90
    (row,) = drive(store, ask_for(["sum(cost)", "count(cost)"]), lambda sent: None)
    assert list(row.values()) == [math.fsum(known), 90]


def test_costs_that_are_stored_meanwhile_count_wholly_or_not_at_all(store: Store, costly: list[RunRecord]) -> None:
    """A run that is replaced costs 1e15 more or less each time, and those that are new cost 1e15 each."""
    store.client.execute_command("JSON.SET", store.held[1], "$", encode_run(with_cost(costly[1], 0.5), 1))
    (before,) = drive(store, ask_for(["sum(cost)", "count(cost)"]), lambda sent: None)

    def write(sent: int) -> None:
        if sent < 12:
            record = with_cost(a_run("a0", 5, minute=sent), 1e15)
            key = store.keys.run(record.agent_id, record.id)
            store.held.append(key)
            store.client.execute_command("JSON.SET", key, "$", encode_run(record, 5000 + sent))
            again = with_cost(costly[1], 0.5 + 1e15 * (sent % 2))
            store.client.execute_command("JSON.SET", store.held[1], "$", encode_run(again, 1 + sent))

    (row,) = drive(store, ask_for(["sum(cost)", "count(cost)", "avg(cost)"]), write)
    assert row["avg(cost)"] == row["sum(cost)"] / row["count(cost)"]
    more = row["count(cost)"] - before["count(cost)"]
    assert more > 0
    assert round((row["sum(cost)"] - before["sum(cost)"]) / 1e15) in (more, more + 1)


def test_a_run_that_is_replaced_meanwhile_counts_for_its_texts_once(filled: Store, records: list[RunRecord]) -> None:
    key = filled.keys.run(records[0].agent_id, records[0].id)
    versions = [records[0], records[0].model_copy(update={"calls": a_run("a0", 1).calls})]

    def replace(sent: int) -> None:
        if sent < 20:
            filled.client.execute_command("JSON.SET", key, "$", encode_run(versions[sent % 2], 1))

    rows = drive(filled, ask_for(["count"], by="models"), replace)
    assert sum(int(str(row["count"])) for row in rows) == len(records)


def test_columns_that_the_index_does_not_keep_are_read_from_the_documents(store: Store) -> None:
    parent = RunRecord(agent_id="a").id
    records = []
    for number in range(20):
        calls = [CallRecord(kind="llm", name="x", started_at=BEGIN, ended_at=None, prompt_tokens=number)] * (number % 3)
        ext = RunExtensions(parent_run_id=parent) if number % 2 else None
        records.append(RunRecord(agent_id="a", started_at=BEGIN, calls=calls, ext=ext))
    store.hold(records)
    unkept = [name for name, column in COLUMNS.items() if not column.sortable]
    assert {"unfinished_calls", "prompt_tokens", "parent_run_id"} <= set(unkept)
    metrics = ["p50(unfinished_calls)", "sum(prompt_tokens)", "avg(prompt_tokens)", "distinct(parent_run_id)"]
    for by in ([], ["parent_run_id"], ["unfinished_calls"]):
        ask = ask_for(metrics, by=by)
        by_rows = drive(store, ask, lambda sent: None, few_rows=10_000)
        assert [row.to_dict() for row in drive(store, ask, lambda sent: None)] == [row.to_dict() for row in by_rows]
        estimated = drive(store, ask_for(metrics, by=by, approximate=True), lambda sent: None)
        assert [row["avg(prompt_tokens)"] for row in estimated] == [row["avg(prompt_tokens)"] for row in by_rows]
