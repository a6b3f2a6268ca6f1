"""The same numbers from every server as from plain Python."""

from __future__ import annotations

import itertools
import math
import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from relay_models.columns.expressions import NOTHING, Everything, Expression
from relay_models.documents import Run
from relay_models.errors import QueryError, StorageError, UnknownColumnError, UnsupportedOperatorError
from relay_models.query.aggregate.groups import AggregateRow
from relay_models.query.aggregate.metrics import Metric
from relay_models.query.aggregate.pipeline import FEW_ROWS, aggregate_steps
from relay_models.query.aggregate.request import Aggregation
from relay_models.query.limits import ResultLimit
from relay_models.records import AnnotatedLlmResponse, CallRecord, RunRecord
from tests.query.conftest import TIMES, Store
from tests.query.strategies import run_lists

COLUMNS = Run.columns()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NUMERIC = ["duration", "calls", "prompt_tokens", "total_tokens", "cache_read_tokens", "cost", "started_at"]


def limited() -> ResultLimit:
    """A limit that every server has; `Store.drive` would take a refusal as an error."""
    limit = ResultLimit()
    limit.refused(StorageError("LIMIT exceeds maximum of 400"))
    return limit


def count_up(store: Store, filter: Expression | None = None, **options: Any) -> list[AggregateRow]:
    ask = Aggregation.parse(COLUMNS, **options)
    rows: list[AggregateRow] = store.drive(
        aggregate_steps(Run, store.alias, Everything() if filter is None else filter, ask, limit=limited())
    )
    return rows


def plainly(metric: Metric, rows: list[dict[str, Any]]) -> Any:
    """A metric as statistics and math have it."""
    if metric.column is None:
        return len(rows)
    name = metric.column.name
    values = [row[name] for row in rows if row.get(name) not in (None, [])]
    if metric.how == "count":
        return len(values)
    if metric.how == "distinct":
        return len(set(itertools.chain(*values)) if metric.column.kind == "texts" else set(values))
    if not values:
        return None
    add = math.fsum if metric.column.kind == "number" else sum
    match metric.how:
        case "sum":
            found: Any = add(values)
        case "avg":
            found = add(values) / len(values)
        case "min" | "max":
            found = min(values) if metric.how == "min" else max(values)
        case "stddev":
            found = statistics.stdev(values) if len(values) > 1 else None
        case _:
            values.sort()
            place = (len(values) - 1) * metric.percent / 100
            low = math.floor(place)
            found = values[low] if low == place else values[low] + (values[low + 1] - values[low]) * (place - low)
    if found is None:
        return None
    if metric.column.kind == "duration":
        return timedelta(microseconds=found)
    return EPOCH + timedelta(microseconds=round(found)) if metric.column.kind == "time" else found


def grouped(rows: list[dict[str, Any]], ask: Aggregation) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        bucket = None if ask.buckets is None else ask.buckets.label(ask.buckets.start(row["started_at"]))
        options = [[bucket]]
        for column in ask.groups:
            value = row.get(column.name)
            options.append((value or [None]) if column.kind == "texts" else [value])
        for key in itertools.product(*options):
            groups.setdefault(key, []).append(row)
    if not groups and not ask.groups and ask.buckets is None:
        groups[(None,)] = []
    return groups


@settings(
    max_examples=25 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_numbers_are_those_of_plain_python(store: Store, data: st.DataObject) -> None:
    records = data.draw(run_lists(7), label="runs")
    store.hold(records)
    rows = [Run.column_values(record) for record in records]
    for _ in range(4):
        by = data.draw(st.lists(st.sampled_from(["agent_id", "models", "tools", "status", "calls"]), max_size=2))
        on_server = data.draw(st.booleans())
        hows = (
            ["count", "sum", "avg", "min", "max"] if on_server else ["sum", "stddev", "p50", "p95", "p99.9", "distinct"]
        )
        metrics = ["count"]
        for how, name in data.draw(st.lists(st.tuples(st.sampled_from(hows), st.sampled_from(NUMERIC)), max_size=3)):
            metrics.append(f"{'min' if name == 'started_at' and how in ('sum', 'avg', 'stddev') else how}({name})")
        if data.draw(st.booleans()):
            metrics.append("distinct(tools)")
        every = data.draw(st.sampled_from([None, "1h", "2h", "1d", "15m", "7s", "1w", "1mo"]))
        zone = data.draw(st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]))
        ask = Aggregation.parse(COLUMNS, by=by, every=every, metrics=metrics, tz=zone)
        got = {}
        # Both ways are tried: a row per document is read, or the server groups them.
        few = data.draw(st.sampled_from([0, FEW_ROWS]))
        steps = aggregate_steps(Run, store.alias, Everything(), ask, limit=limited(), few_rows=few)
        for row in store.drive(steps):
            got[(row.get("bucket"), *(row[column.name] for column in ask.groups))] = row
        expected = grouped(rows, ask)
        assert got.keys() == expected.keys()
        for key, members in expected.items():
            for metric in ask.metrics:
                wanted = plainly(metric, members)
                found = got[key][metric.name]
                if isinstance(wanted, float):
                    assert math.isclose(found, wanted, rel_tol=1e-12)
                elif metric.how == "stddev" and wanted is not None:
                    assert abs(found - wanted) <= timedelta(microseconds=1)
                else:
                    assert found == wanted


@pytest.fixture
def busy(store: Store) -> Store:
    """Six runs on two days, by two agents, with one or two models."""
    records = []
    for number in range(6):
        began = datetime(2026, 11, 1 + number // 4, number, tzinfo=UTC)
        models = ["m1", "m2"] if number % 3 == 0 else ["m1"]
        usage = {"cost": {"total": 0.1, "currency": "USD", "source": "model_pricing"}}
        calls = [
            CallRecord(
                kind="llm", name="openai", model_name=model, started_at=began, total_tokens=number,
                annotated_response=AnnotatedLlmResponse.model_validate({"usage": usage}),
            )
            for model in models
        ]  # fmt: skip
        ended = began + timedelta(seconds=number) if number else None
        records.append(RunRecord(agent_id=f"a{number % 2}", started_at=began, ended_at=ended, calls=calls))
    store.hold(records)
    return store


def test_a_run_counts_for_each_of_its_models(busy: Store) -> None:
    rows = count_up(busy, by=["model"], metrics=["count", "sum(total_tokens)"], order_by="-count")
    assert [row.to_dict() for row in rows] == [
        {"models": "m1", "count": 6, "sum(total_tokens)": 18},
        {"models": "m2", "count": 2, "sum(total_tokens)": 6},
    ]


def test_the_order_of_rows_is_written_as_that_of_documents(busy: Store) -> None:
    for same in (("-count", "count desc", " - count "), ("count", "+count", "count ASC", "-count desc")):
        orders = [[row["models"] for row in count_up(busy, by="model", order_by=order)] for order in same]
        assert orders == [orders[0]] * len(same)
        assert orders[0] == (["m1", "m2"] if same[0] == "-count" else ["m2", "m1"])


def test_a_metric_that_is_asked_for_twice_is_there_once(busy: Store) -> None:
    twice = count_up(busy, metrics=["sum(duration)", "sum(duration)"])
    assert twice == count_up(busy, metrics=["sum(duration)"])


def test_rows_are_sorted_and_cut(busy: Store) -> None:
    rows = count_up(
        busy, by="agent", metrics=["p50(duration)", "sum(duration)", "sum(cost)"], order_by="-sum(duration)", limit=1
    )
    assert rows[0]["agent_id"] == "a1"
    assert rows[0]["p50(duration)"] == timedelta(seconds=3)
    assert rows[0]["sum(cost)"] == math.fsum([0.1, 0.2, 0.1])
    assert len(rows) == 1


def test_empty_buckets_are_filled_on_request(busy: Store) -> None:
    rows = count_up(busy, every="1h", metrics=["count"])
    assert [row["count"] for row in rows] == [1] * 6
    rows = count_up(busy, every="1h", metrics=["count", "avg(duration)"], fill=True)
    assert len(rows) == 30
    assert sum(row["count"] for row in rows) == 6
    assert rows[5]["avg(duration)"] is None
    day = datetime(2026, 10, 31, tzinfo=UTC)
    rows = count_up(busy, every="1d", fill=(day, day + timedelta(days=4)))
    assert [(row["bucket"].day, row["count"]) for row in rows] == [(31, 0), (1, 4), (2, 2), (3, 0)]
    rows = count_up(busy, NOTHING, every="1d", fill=(day, day + timedelta(days=2)))
    assert [row["count"] for row in rows] == [0, 0]


def test_nothing_is_one_row_of_nothing(busy: Store) -> None:
    rows = count_up(busy, NOTHING, metrics=["count", "avg(duration)"])
    assert [row.to_dict() for row in rows] == [{"count": 0, "avg(duration)": None}]
    assert count_up(busy, NOTHING, by="agent") == []


@pytest.mark.parametrize("few", [0, FEW_ROWS])
def test_runs_without_any_of_the_values_count(store: Store, few: int) -> None:
    begin = datetime(2026, 11, 1, tzinfo=UTC)
    store.hold([RunRecord(agent_id="a", started_at=begin, ended_at=None if n else begin) for n in range(4)])

    def rows(**options: Any) -> list[dict[str, Any]]:
        ask = Aggregation.parse(COLUMNS, **options)
        steps = aggregate_steps(Run, store.alias, Everything(), ask, limit=limited(), few_rows=few)
        return [dict(row) for row in store.drive(steps)]

    nothing = timedelta(0)
    for metrics, values in (
        (["p50(duration)", "count"], [nothing, 4]),
        (["distinct(models)", "count"], [0, 4]),
        (["distinct(status)", "p90(ended_at)", "count(ended_at)", "count"], [2, begin, 1, 4]),
    ):
        assert [list(row.values()) for row in rows(metrics=metrics)] == [values]
        assert [list(row.values()) for row in rows(metrics=metrics, by="models")] == [[None, *values]]
    # Nor have they a part in buckets of a time that they do not have.
    for metric, with_time, without in (
        ("count", 1, 3),
        ("max(duration)", nothing, None),
        ("p50(duration)", nothing, None),
    ):
        found = [tuple(row.values()) for row in rows(metrics=metric, every="1d", time="ended_at")]
        assert found == [(begin, with_time), (None, without)]


def test_sums_beyond_what_a_double_holds(store: Store) -> None:
    """2**53 and above: the server's doubles end, so the columns are streamed."""
    usage = [{"cache_read_tokens": 2**53 + 1}, {"cache_read_tokens": 3}, {"cache_read_tokens": 2**64 - 1}]
    store.hold(
        [
            RunRecord(
                agent_id="a",
                calls=[
                    CallRecord(
                        kind="llm", name="x", annotated_response=AnnotatedLlmResponse.model_validate({"usage": each})
                    )
                ],
            )
            for each in usage
        ]
    )
    (row,) = count_up(store, metrics=["sum(cache_read_tokens)", "max(cache_read_tokens)", "min(cache_read_tokens)"])
    assert list(row.values()) == [2**53 + 1 + 3 + 2**64 - 1, 2**64 - 1, 3]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"by": ["modle"]}, UnknownColumnError, "models"),
        ({"by": ["started_at"]}, UnsupportedOperatorError, "every"),
        ({"metrics": ["sum(tools)"]}, UnsupportedOperatorError, "distinct"),
        ({"metrics": ["sum(started_at)"]}, UnsupportedOperatorError, "percentiles"),
        ({"metrics": ["count(scores)"]}, UnsupportedOperatorError, "one score"),
        ({"metrics": ["p101(duration)"]}, QueryError, "p99"),
        ({"metrics": ["avg"]}, QueryError, "avg\\(duration\\)"),
        ({"metrics": []}, QueryError, "count"),
        ({"every": "soon"}, QueryError, "15m"),
        ({"every": "1h", "tz": "Mars/Olympus"}, QueryError, "Europe/Berlin"),
        ({"order_by": "-duration"}, UnknownColumnError, "count"),
        ({"fill": True}, QueryError, "every"),
        ({"limit": -1}, QueryError, "limit"),
    ],
)
def test_what_cannot_be_counted_up(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Aggregation.parse(COLUMNS, **options)


@pytest.mark.parametrize("tz", [None, "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("every", ["1h", "1d", "1w", "1mo", "1y"])
def test_times_at_the_ends_of_the_calendar(store: Store, every: str, tz: str | None) -> None:
    moments = ["0001-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
    store.hold([RunRecord(agent_id="a", started_at=moment) for moment in moments])
    for metrics in (["count"], ["count", "p50(calls)", "stddev(cost)"]):
        rows = count_up(store, every=every, tz=tz, metrics=metrics)
        assert [row["count"] for row in rows] == [1, 1, 1]
        assert [row["count"] for row in count_up(store, every=every, tz=tz, order_by="-bucket")] == [1, 1, 1]
    if every == "1h":
        with pytest.raises(QueryError, match=r"about \d+,\d+,\d+ rows.*max_buckets=100,000"):
            count_up(store, every=every, tz=tz, fill=True)


def test_the_hour_that_comes_twice_is_in_order(store: Store) -> None:
    moments = ["2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T03:30:00Z"]
    store.hold([RunRecord(agent_id="a", started_at=moment) for moment in reversed(moments)])
    options: dict[str, Any] = {"every": "1h", "tz": "Europe/Berlin"}
    hours = ["01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00", "04:00+01:00"]
    for order, fill, wanted in (
        (None, False, [*hours[:3], hours[4]]),
        ("bucket", True, hours),
        ("-bucket", False, [hours[4], *hours[2::-1]]),
        ("-bucket", True, hours[::-1]),
    ):
        rows = count_up(store, order_by=order, fill=fill, **options)
        assert [f"{row['bucket']:%H:%M}{row['bucket'].isoformat()[-6:]}" for row in rows] == wanted


def test_a_fill_of_millions_of_rows_is_refused(store: Store) -> None:
    store.hold([RunRecord(agent_id="a", started_at="2026-01-01T00:00:00Z")])
    years = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(QueryError, match=r"about 1,767,225,601 rows.*max_buckets=100,000"):
        count_up(store, every="1s", fill=years)
    with pytest.raises(QueryError, match="max_buckets=50"):
        count_up(store, every="1y", fill=years, max_buckets=50)
    assert len(count_up(store, every="1y", fill=years, max_buckets=60)) == 57
