"""Tables in memory and in files: types, values, columns, streaming."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from relay_models.errors import (
    InvalidConfigurationError,
    InvalidRecordError,
    MissingExtraError,
    UnknownColumnError,
)
from relay_models.export import (
    CALL_COLUMNS,
    RUN_COLUMNS,
    to_arrow,
    to_dicts,
    to_pandas,
    to_polars,
    write_csv,
    write_jsonl,
    write_parquet,
)
from relay_models.records import CallRecord, RunRecord, from_json
from relay_models.sync import RedisBackend

FRAMES: list[Callable[..., Any]] = [to_dicts, to_pandas, to_polars, to_arrow]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> list[RunRecord]:
    """The runs of the capture."""
    capture = request.getfixturevalue("capture")
    return [from_json(RunRecord, row["value"]) for row in capture if ":runs:" in row["key"]]


def record(number: int = 1, agent: str = "a", **more: Any) -> RunRecord:
    """A run with one call of each kind, running unless told otherwise."""
    calls = [
        {
            "kind": "llm",
            "name": "openai",
            "started_at": "2026-01-01T00:00:00.000001999Z",
            "ended_at": "2026-01-01T00:00:00.250002Z",
            "prompt_tokens": 7,
            "model_name": "gpt-4.1",
        },
        {"kind": "tool", "name": "search", "started_at": "2026-01-01T01:00:01+01:00"},
    ]
    run = {"id": str(UUID(int=number)), "agent_id": agent, "calls": calls, "started_at": "2026-01-01T00:00:00Z", **more}
    return from_json(RunRecord, json.dumps(run))


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """Any table as Python values."""
    match frame:
        case list():
            return frame
        case pl.DataFrame():
            return frame.to_dicts()
        case pa.Table():
            return frame.to_pylist()
        case pd.DataFrame():
            return [
                {key: None if not isinstance(value, list) and pd.isna(value) else value for key, value in row.items()}
                for row in frame.to_dict("records")
            ]
    raise AssertionError(frame)


@pytest.mark.parametrize("make", FRAMES)
def test_one_row_per_run_with_real_types(make: Callable[..., Any]) -> None:
    (row,) = rows_of(make([record(ended_at="2026-01-01T00:00:02.5Z")]))

    assert list(row) == [column.name for column in RUN_COLUMNS if column.by_default]
    assert row["agent_id"] == "a"
    assert row["run_id"] == str(UUID(int=1))
    assert row["status"] == "completed"
    assert row["started_at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert row["duration"] == timedelta(seconds=2.5)
    assert (row["calls"], row["llm_calls"], row["tool_calls"], row["unfinished_calls"]) == (2, 1, 1, 1)
    assert (row["models"], row["tools"], row["finish_reasons"]) == (["gpt-4.1"], ["search"], [])
    assert (row["prompt_tokens"], row["output_tokens"]) == (7, None)
    assert row["stored_at"] is None


@pytest.mark.parametrize("make", FRAMES)
def test_one_row_per_call_with_real_types(make: Callable[..., Any]) -> None:
    first, second = rows_of(make([record()], rows="calls"))

    assert list(first) == [column.name for column in CALL_COLUMNS if column.by_default]
    assert (first["call"], first["kind"], first["name"], first["model"]) == (1, "llm", "openai", "gpt-4.1")
    assert first["started_at"] == datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert first["duration"] == timedelta(microseconds=250_000)
    assert second["started_at"] == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (second["ended_at"], second["duration"], second["prompt_tokens"]) == (None, None, None)


def test_frames_say_the_same_types_whether_there_are_rows_or_not() -> None:
    for runs in ([], [record()], [record(ended_at="2026-01-01T00:00:02Z")]):
        frame = to_pandas(runs)
        assert str(frame["started_at"].dtype) == "datetime64[us, UTC]"
        assert str(frame["duration"].dtype) == "timedelta64[us]"
        assert str(frame["prompt_tokens"].dtype) == "UInt64"
        assert to_polars(runs).schema["started_at"] == pl.Datetime("us", "UTC")
        assert to_polars(runs).schema["models"] == pl.List(pl.String)
        schema = to_arrow(runs).schema
        assert schema.field("started_at").type == pa.timestamp("us", "UTC")
        assert schema.field("duration").type == pa.duration("us")


def test_all_frames_hold_the_same(runs: list[RunRecord]) -> None:
    for rows in ("runs", "calls"):
        expected = to_dicts(runs, rows=rows)
        assert len(expected) == (len(runs) if rows == "runs" else sum(len(run.calls) for run in runs))
        for make in FRAMES[1:]:
            assert rows_of(make(runs, rows=rows)) == expected


@pytest.mark.parametrize("make", FRAMES)
def test_columns_are_chosen_in_order(make: Callable[..., Any]) -> None:
    (row,) = rows_of(make([record()], columns=["tools", "agent_id", "tools"]))

    assert row == {"tools": ["search"], "agent_id": "a"}
    assert list(row) == ["tools", "agent_id"]


def test_an_unknown_column_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownColumnError, match=r"'model'.*models"):
        to_dicts([], columns=["model"])
    with pytest.raises(UnknownColumnError, match=r"'models'.*model"):
        to_dicts([], rows="calls", columns=["models"])


@pytest.mark.parametrize(
    "options", [{"rows": "steps"}, {"columns": []}, {"columns": "agent_id"}], ids=["rows", "none", "text"]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfigurationError):
        to_dicts([record()], **options)


def test_what_is_no_run_is_refused() -> None:
    for rows in ("runs", "calls"):
        with pytest.raises(InvalidConfigurationError, match="dict"):
            to_dicts([{"agent_id": "a"}], rows=rows)
    with pytest.raises(InvalidConfigurationError, match="dict"):
        write_jsonl([{"agent_id": "a"}], io.BytesIO())


def test_bodies_are_there_on_request(runs: list[RunRecord]) -> None:
    rows = to_dicts(runs, rows="calls", columns=["kind", "request", "response"])
    answered = [row for row in rows if row["response"] is not None]

    assert answered
    assert all(isinstance(json.loads(row["response"]), dict) for row in answered)
    assert all(row["request"] is None for row in rows if row["kind"] == "tool")


async def each(runs: list[RunRecord]) -> AsyncIterator[RunRecord]:
    """Runs as a backend streams them."""
    for run in runs:
        await asyncio.sleep(0)
        yield run


async def test_asynchronous_iterators_give_awaitables(tmp_path: Path, runs: list[RunRecord]) -> None:
    assert await to_dicts(each(runs)) == to_dicts(runs)
    assert (await to_arrow(each(runs), rows="calls")).equals(to_arrow(runs, rows="calls"))
    assert await write_parquet(each(runs), tmp_path / "runs.parquet") == len(runs)
    assert await write_csv(each(runs), tmp_path / "runs.csv") == len(runs)
    assert await write_jsonl(each(runs), tmp_path / "runs.jsonl") == len(runs)


def test_jsonl_of_records_loses_nothing(tmp_path: Path, capture: list[dict[str, Any]], runs: list[RunRecord]) -> None:
    path = tmp_path / "runs.jsonl"

    assert write_jsonl(runs, path) == len(runs)

    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        json.loads(row["value"]) for row in capture if ":runs:" in row["key"]
    ]


def test_jsonl_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"

    assert write_jsonl([record()], path, rows="calls", columns=["name", "started_at", "duration"]) == 2

    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"name": "openai", "started_at": "2026-01-01T00:00:00.000001Z", "duration": 0.25},
        {"name": "search", "started_at": "2026-01-01T00:00:01Z", "duration": None},
    ]


def test_parquet_holds_what_arrow_does(tmp_path: Path, runs: list[RunRecord]) -> None:
    for rows in ("runs", "calls"):
        path = tmp_path / f"{rows}.parquet"
        write_parquet(runs, path, rows=rows)
        assert pq.read_table(path).equals(to_arrow(runs, rows=rows))


def test_an_empty_parquet_file_has_its_columns(tmp_path: Path) -> None:
    assert write_parquet([], tmp_path / "none.parquet") == 0
    assert pq.read_table(tmp_path / "none.parquet").schema.equals(to_arrow([]).schema)


def test_files_go_into_open_streams_too() -> None:
    stream = io.BytesIO()
    write_parquet([record()], stream, columns=["agent_id"])

    assert not stream.closed
    assert pq.read_table(io.BytesIO(stream.getvalue())).to_pylist() == [{"agent_id": "a"}]


def test_csv_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    hostile = 'quo"te, comma\nand line'

    write_csv([record(agent=hostile), record(2, ended_at="2026-01-01T00:00:02.5Z")], path)

    raw = path.read_bytes()
    assert raw.count(b"\r\n") == 3
    with path.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first["agent_id"] == hostile
    assert json.loads(first["tools"]) == ["search"]
    assert (first["ended_at"], first["duration"], first["started_at"]) == ("", "", "2026-01-01T00:00:00Z")
    assert second["duration"] == "2.5"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", " =1", "\ufeff=1"])
def test_csv_keeps_spreadsheets_from_running_names(text: str) -> None:
    def cell(**options: bool) -> str:
        stream = io.BytesIO()
        write_csv([record(agent=text)], stream, columns=["agent_id"], **options)
        return next(csv.DictReader(io.StringIO(stream.getvalue().decode(), newline="")))["agent_id"]

    assert cell() == f"'{text}"
    assert cell(escape_formulas=False) == text


@pytest.mark.parametrize("text", ["=1", "'=1", "''=1", "'x", "'", "", "x", "' =1", "\x00=1", "a'=1"])
def test_csv_with_apostrophes_is_read_back_by_taking_one_away(text: str) -> None:
    stream = io.BytesIO()
    write_csv([record(agent=text)], stream, columns=["agent_id"])
    cell = next(csv.DictReader(io.StringIO(stream.getvalue().decode(), newline="")))["agent_id"]

    assert re.sub(r"^'(?='*\s*[\x00=+@-])", "", cell) == text


def test_all_scores_are_one_column() -> None:
    with RedisBackend.embedded() as backend:
        run = record()
        backend.store_run(run)
        backend.runs.label(run, scores={"helpful": 0.5, "=1": 2})
        rows = backend.find_runs(columns=True)
        expected = {"=1": 2.0, "helpful": 0.5}
        assert json.loads(to_dicts(rows, columns=["scores"])[0]["scores"]) == expected
        assert json.loads(to_arrow(rows, columns=["scores"]).to_pylist()[0]["scores"]) == expected
        assert json.loads(to_dicts([run], columns=["scores"])[0]["scores"]) == {}


@settings(max_examples=50)
@given(st.text(), st.text())
def test_csv_survives_any_text(agent: str, tool: str) -> None:
    run = record(ended_at="2026-01-01T00:00:02Z")
    run.agent_id, run.calls[1].name = agent, tool
    stream = io.BytesIO()

    write_csv([run], stream, columns=["agent_id", "tools"], escape_formulas=False)

    (row,) = csv.DictReader(io.StringIO(stream.getvalue().decode(), newline=""))
    assert row["agent_id"] == agent
    assert json.loads(row["tools"]) == [tool]


def failing(count: int) -> Iterator[RunRecord]:
    """Runs, and then an error."""
    for number in range(count):
        yield record(number)
    raise ConnectionError("gone")


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_a_failed_export_leaves_the_old_file_and_nothing_else(tmp_path: Path, write: Callable[..., int]) -> None:
    path = tmp_path / "runs"
    path.write_text("old")

    with pytest.raises(ConnectionError):
        write(failing(20_000), path)

    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_a_file_takes_its_name_when_it_is_complete(tmp_path: Path, write: Callable[..., int]) -> None:
    path = tmp_path / "runs"

    def watched() -> Iterator[RunRecord]:
        assert not path.exists()
        yield record()
        assert not path.exists()

    write(watched(), path)

    assert path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_only_the_owner_may_read_a_new_export_unless_a_mode_is_given(tmp_path: Path, write: Callable[..., int]) -> None:
    write([record()], tmp_path / "private")
    write([record()], tmp_path / "shared", mode=0o640)

    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o640


def test_a_link_keeps_being_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")

    write_jsonl([record()], tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert "agent_id" in (tmp_path / "real").read_text()


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_memory_is_bounded_however_many_runs(tmp_path: Path, write: Callable[..., int]) -> None:
    run = record(ended_at="2026-01-01T00:00:02Z")

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            write((run for _ in range(count)), tmp_path / "runs", rows="runs", columns=["agent_id", "tools"])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    small, large = peak(9_000), peak(27_000)
    assert large < small * 1.5 + 2_000_000


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [(to_pandas, "pandas", "pandas"), (to_polars, "polars", "polars"), (to_arrow, "pyarrow", "arrow")],
)
def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any], module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtraError, match=rf"pip install 'relay-models\[{extra}\]'"):
        make([record()])
    assert to_dicts([record()])


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtraError, match="arrow"):
        write_parquet([record()], tmp_path / "x.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [to_pandas, to_polars, to_arrow])
def test_a_number_beyond_its_column_is_an_error_that_names_it(make: Callable[..., Any]) -> None:
    usage = {"usage": {"cache_read_tokens": 2**64 - 1}}
    call = CallRecord(kind="llm", name="x", annotated_response=usage)

    with pytest.raises(InvalidRecordError, match="cache_read_tokens"):
        make([RunRecord(agent_id="a", calls=[call, call])])


def test_extreme_times_are_kept_or_refused() -> None:
    early = from_json(
        RunRecord, json.dumps({**json.loads(record().model_dump_json()), "started_at": "0001-01-01T00:00:00Z"})
    )
    assert to_polars([early])["started_at"][0] == datetime(1, 1, 1, tzinfo=UTC)
    assert to_arrow([early])["started_at"][0].as_py() == datetime(1, 1, 1, tzinfo=UTC)

    beyond = from_json(
        RunRecord, json.dumps({**json.loads(record().model_dump_json()), "started_at": "0001-01-01T00:00:00+10:00"})
    )
    with pytest.raises(InvalidRecordError, match="years 1 to 9999"):
        to_dicts([beyond])


def test_rows_of_a_store_are_exported_as_their_records(tmp_path: Path, runs: list[RunRecord]) -> None:
    with RedisBackend.embedded() as backend:
        backend.store_runs(runs)
        rows = list(backend.find_runs(None, order_by="stored_at", limit=None))
        bare = list(backend.find_runs(None, order_by="stored_at", limit=None, columns=True))

    names = [column.name for column in RUN_COLUMNS if column.name not in ("stored_at", "updated_at")]
    assert to_dicts(rows, columns=names) == to_dicts(bare, columns=names) == to_dicts(runs, columns=names)
    assert to_dicts(rows, rows="calls") == to_dicts(runs, rows="calls")
    stored = to_polars(bare, columns=["stored_at"])["stored_at"]
    assert stored.null_count() == 0
    assert stored.is_sorted()
    write_jsonl(rows, tmp_path / "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines() == [run.model_dump_json() for run in runs]
    with pytest.raises(InvalidConfigurationError, match="columns only"):
        to_dicts(bare, rows="calls")


@pytest.fixture(scope="module")
def aggregates(runs: list[RunRecord]) -> Iterator[Callable[..., Any]]:
    """`aggregate_runs` of a store that holds the capture."""
    with RedisBackend.embedded() as backend:
        backend.store_runs(runs)
        yield backend.aggregate_runs


METRICS = ["count", "avg(duration)", "p95(total_tokens)", "sum(total_tokens)", "max(started_at)", "avg(cost)"]


@pytest.mark.parametrize("frame", FRAMES)
def test_aggregates_are_tables(aggregates: Callable[..., Any], frame: Callable[..., Any]) -> None:
    rows = aggregates(by=["models", "llm_calls"], every="1d", tz="Europe/Berlin", metrics=METRICS)

    shown = rows_of(frame(rows))

    assert shown == [dict(row) for row in rows]
    assert list(shown[0]) == ["bucket", "models", "llm_calls", *METRICS]


def test_an_empty_aggregate_keeps_its_columns_and_their_types(aggregates: Callable[..., Any]) -> None:
    asked = {"by": ["models"], "every": "1h", "metrics": METRICS}
    full, empty = aggregates(**asked), aggregates(**asked, filter="agent = nobody")

    assert not empty
    assert list(to_pandas(empty).dtypes) == list(to_pandas(full).dtypes)
    assert to_polars(empty).schema == to_polars(full).schema
    assert to_arrow(empty).schema == to_arrow(full).schema


def test_aggregates_are_written_and_columns_chosen(aggregates: Callable[..., Any], tmp_path: Path) -> None:
    rows = aggregates(by="agent_id")

    assert write_csv(rows, tmp_path / "a.csv", columns=["count", "agent_id"]) == len(rows)
    assert write_jsonl(rows, tmp_path / "a.jsonl") == len(rows)
    assert write_parquet(rows, tmp_path / "a.parquet") == len(rows)

    assert (tmp_path / "a.csv").read_text().splitlines()[0] == "count,agent_id"
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0]) == dict(rows[0])
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == [dict(row) for row in rows]


def test_selected_rows_of_an_aggregate_are_a_table_too(aggregates: Callable[..., Any]) -> None:
    rows = [row for row in aggregates(by="agent_id", metrics=METRICS) if row["count"] > 1]

    assert rows_of(to_pandas(rows)) == [dict(row) for row in rows]


def test_aggregates_have_no_calls_and_no_other_columns(aggregates: Callable[..., Any]) -> None:
    with pytest.raises(InvalidConfigurationError, match="no calls"):
        to_dicts(aggregates(), rows="calls")
    with pytest.raises(UnknownColumnError, match="it has count"):
        to_dicts(aggregates(), columns=["agent_id"])
