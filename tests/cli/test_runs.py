"""`relay-models runs`: list, show, export, stats and watch, and `demo` and `schema`."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from relay_models.pictures.text import cells
from relay_models.records import RunRecord, from_json
from relay_models.sync import RedisBackend

from .conftest import Cli


@pytest.fixture(scope="module")
def records(request: pytest.FixtureRequest) -> list[RunRecord]:
    """The runs of the capture, the newest first."""
    capture = request.getfixturevalue("capture")
    found = [from_json(RunRecord, row["value"]) for row in capture if ":runs:" in row["key"]]
    return sorted(found, key=lambda run: run.started_at.microseconds, reverse=True)


def test_the_newest_come_first(cli: Cli, full: list[str], records: list[RunRecord]) -> None:
    listed = cli("runs", "list", *full, "--limit", "5", "--json").json

    assert [run["run_id"] for run in listed] == [str(run.id) for run in records[:5]]
    assert listed[0]["started_at"].endswith("Z")
    assert listed[0]["duration"] == records[0].duration.total_seconds()  # type: ignore[union-attr]
    assert listed[0]["models"] == records[0].models


def test_all_of_them_on_request(cli: Cli, full: list[str], records: list[RunRecord]) -> None:
    assert len(cli("runs", "list", *full, "-n", "0", "--json").json) == len(records)
    table = cli("runs", "list", *full)
    assert f"20 of {len(records)} runs" in table.err


def test_agents_filters_orders_and_columns(cli: Cli, full: list[str], records: list[RunRecord]) -> None:
    answer = cli(
        "runs", "list", *full, "--agent", "support::tier-1", "--where", "llm_calls >= 2", "--order", "-duration",
        "--limit", "0", "--columns", "run_id,duration,agent_id", "--json",
    )  # fmt: skip

    wanted = [run for run in records if run.agent_id == "support::tier-1" and len(run.llm_calls) >= 2]
    assert {run["run_id"] for run in answer.json} == {str(run.id) for run in wanted}
    durations = [run["duration"] for run in answer.json]
    assert durations == sorted(durations, reverse=True)
    assert list(answer.json[0]) == ["run_id", "duration", "agent_id"]


def test_few_runs_are_not_estimated_even_where_that_is_allowed(cli: Cli, full: list[str]) -> None:
    exact = cli("runs", "stats", "--by", "models", *full)
    allowed = cli("runs", "stats", "--by", "models", "--approximate", *full)
    assert allowed.lines == exact.lines
    assert "estimated" not in allowed.err


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_tables_fit_the_terminal(cli: Cli, full: list[str], records: list[RunRecord], width: int) -> None:
    for command in (
        ["runs", "list", *full],
        ["runs", "show", str(records[3].id), *full],
        ["runs", "show", str(records[3].id), "--timeline", *full],
        ["runs", "stats", "--by", "models", *full],
        ["agents", *full],
        ["demo"],
    ):
        for line in cli(*command, width=width).lines:
            assert cells(line) <= width or line.lstrip().split("  ")[-1].startswith("$ "), line


def test_nothing_found_is_said(cli: Cli, full: list[str]) -> None:
    assert cli("runs", "list", *full, "--where", "agent = nobody").out == "no runs match\n"
    assert cli("runs", "list", *full, "--where", "agent = nobody", "--json").json == []
    assert cli("runs", "list", *full, "--prefix", "other:").out == "no runs\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["list", "--where", "durtion > 2s"], 2, "duration"),
        (["list", "--where", "duration >"], 2, ""),
        (["list", "--where", "  "], 2, ""),
        (["list", "--order", "nonsense"], 2, "started_at"),
        (["list", "--columns", "nonsense"], 2, "agent_id"),
        (["list", "--columns", ""], 2, "column"),
        (["stats", "--by", "nonsense"], 2, "models"),
        (["stats", "--metrics", "nonsense"], 2, ""),
        (["stats", "--every", "nonsense"], 2, ""),
        (["show", "01a2"], 2, "several runs"),
        (["show", "00000000-0000-0000-0000-000000000000"], 4, "no run"),
        (["show", "latest", "--agent", "nobody"], 4, "nobody"),
        (["export", "x.csv", "--rows", "records"], 2, "jsonl"),
        (["export", "missing/x.csv"], 6, "missing"),
    ],
)
def test_mistakes_are_clear(cli: Cli, full: list[str], arguments: list[str], code: int, said: str) -> None:
    answer = cli("runs", *arguments, *full)

    assert answer.code == code, answer
    assert answer.out == ""
    assert answer.err.startswith("error: ")
    assert said in answer.err


def test_a_run_is_shown_with_its_calls(cli: Cli, full: list[str], records: list[RunRecord]) -> None:
    record = max(records, key=lambda run: len(run.calls))
    table = cli("runs", "show", str(record.id), *full, width=140)

    assert table.lines[0] == record.agent_id
    for call in record.calls:
        assert any(call.name in line for line in table.lines)
    assert json.loads(cli("runs", "show", str(record.id), *full, "--json").out) == json.loads(record.model_dump_json())
    assert "█" in cli("runs", "show", str(record.id), *full, "--timeline").out


def test_a_run_is_found_by_how_its_id_begins_and_as_the_latest(
    cli: Cli, full: list[str], records: list[RunRecord]
) -> None:
    for given in (str(records[0].id)[:30], str(records[0].id)[:30] + "…", str(records[0].id).upper(), "latest"):
        assert cli("runs", "show", given, *full, "--json").json["id"] == str(records[0].id)


@pytest.mark.parametrize("ending", ["svg", "html", "txt"])
def test_a_timeline_is_saved(cli: Cli, full: list[str], tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"run.{ending}"

    answer = cli("runs", "show", "latest", *full, "--save", str(path))

    assert answer.code == 0
    assert path.stat().st_size > 500


def test_an_export_can_be_imported_again(cli: Cli, full: list[str], tmp_path: Path, records: list[RunRecord]) -> None:
    path, other = str(tmp_path / "runs.jsonl"), ["--path", str(tmp_path / "other.db")]

    assert f"wrote {len(records)} runs" in cli("runs", "export", path, *full).err
    assert cli("import", path, *other).code == 0

    lines = Path(path).read_text(encoding="utf-8").splitlines()
    assert set(lines) == {record.model_dump_json() for record in records}
    again = cli("runs", "export", "-", *other).lines
    assert again == lines


def test_exports_as_tables(cli: Cli, full: list[str], tmp_path: Path, records: list[RunRecord]) -> None:
    calls = sum(len(record.calls) for record in records)
    parquet, text = tmp_path / "calls.parquet", tmp_path / "runs.csv"

    cli("runs", "export", str(parquet), *full, "--rows", "calls")
    cli("runs", "export", str(text), *full, "--where", "tool_calls = 0")

    assert pq.read_metadata(parquet).num_rows == calls
    rows = list(csv.DictReader(io.StringIO(text.read_text(encoding="utf-8"), newline="")))
    assert {row["run_id"] for row in rows} == {str(record.id) for record in records if not record.tool_calls}
    printed = cli("runs", "export", *full, "--format", "csv", "--limit", "3", "--columns", "agent_id").lines
    assert printed[0] == "agent_id"
    assert len(printed) == 4


def test_stats_count_up(cli: Cli, full: list[str], records: list[RunRecord]) -> None:
    rows = cli(
        "runs", "stats", *full, "--by", "agent_id", "--metrics", "count,sum(total_tokens),max(duration)", "--json"
    ).json

    for row in rows:
        mine = [run for run in records if run.agent_id == row["agent_id"]]
        assert row["count"] == len(mine)
        values = list(row.values())
        assert values[-2] == sum(run.total_tokens for run in mine)
        assert values[-1] == pytest.approx(max(run.duration.total_seconds() for run in mine if run.duration))
    assert sum(row["count"] for row in rows) == len(records)
    total = cli("runs", "stats", *full, "--metrics", "count", "--json").json
    assert [row["count"] for row in total] == [len(records)]


def test_stats_over_time(cli: Cli, full: list[str], records: list[RunRecord]) -> None:
    rows = cli("runs", "stats", *full, "--every", "1s", "--metrics", "count", "--json").json

    assert sum(row["count"] for row in rows) == len(records)
    buckets = [datetime.fromisoformat(next(value for value in row.values() if isinstance(value, str))) for row in rows]
    assert all(bucket.microsecond == 0 for bucket in buckets)
    assert len(buckets) > 1


def test_stats_in_a_time_zone_and_of_fractions_of_seconds(cli: Cli, full: list[str]) -> None:
    hours = cli("runs", "stats", *full, "--every", "1d", "--tz", "Asia/Kolkata", "--metrics", "count")
    assert "2026-11-23 +0530" in hours.out
    fine = cli("runs", "stats", *full, "--every", "100ms", "--metrics", "count", "--fill")
    assert any(".1 " in line for line in fine.lines)
    assert any(line.endswith(" 0") for line in fine.lines)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_stats_are_saved_as_a_chart(cli: Cli, full: list[str], tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"chart.{ending}"

    answer = cli("runs", "stats", *full, "--by", "models", "--every", "1s", "--save", str(path))

    assert answer.code == 0
    assert path.stat().st_size > 1000
    refused = cli("runs", "stats", *full, "--save", str(tmp_path / "chart.doc"))
    assert refused.code == 2
    assert ".svg" in refused.err


def run_line(number: int) -> str:
    """A run record as a line of a capture."""
    run = {
        "id": f"00000000-0000-0000-0000-{number:012}",
        "agent_id": "live",
        "calls": [],
        "started_at": "2026-01-01T00:00:00Z",
    }
    return json.dumps(run)


def test_watch_shows_what_is_stored_meanwhile(cli: Cli, store: list[str]) -> None:
    cli("import", "-", *store, stdin=run_line(1))

    watched = cli("runs", "watch", "--all", "--count", "1", *store, "--json")
    assert [json.loads(line)["run_id"][-1] for line in watched.lines] == ["1"]
    assert "live" in cli("runs", "watch", "--all", "-n", "1", *store).out


def test_watch_shows_changes_unless_told_otherwise(cli: Cli, store: list[str]) -> None:
    cli("import", "-", *store, stdin=run_line(1) + "\n" + run_line(2))
    cli("import", "-", *store, stdin=run_line(1))
    ids = {
        option: [
            json.loads(line)["run_id"][-1]
            for line in cli("runs", "watch", "--all", "-n", "2", *option, *store, "--json").lines
        ]
        for option in ((), ("--new",))
    }
    assert ids == {(): ["2", "1"], ("--new",): ["1", "2"]}


def test_corrupt_documents_are_named_and_the_others_shown(cli: Cli, store: list[str]) -> None:
    from relay_models.embedded import EmbeddedServer

    cli("import", "-", *store, stdin="\n".join(map(run_line, range(3))))
    with EmbeddedServer(store[1]) as server, server.client() as client:
        key = next(key for key in client.scan_iter("*@run:*") if key.endswith(b"001"))
        client.execute_command("JSON.SET", key, "$.record", '"{broken"')

    answer = cli("runs", "export", *store)

    assert answer.code == 1
    assert len(answer.lines) == 2
    assert "000000000001" in answer.err


def test_the_demo_shows_agents_runs_a_question_a_summary_and_a_timeline(cli: Cli) -> None:
    answer = cli("demo", width=120)

    assert answer.code == 0
    for part in ("Agents", "Newest runs", "A question", "By model", "A run", "数据-агент", "█", "in parallel"):
        assert part in answer.out


def test_the_demo_as_json(cli: Cli, tmp_path: Path) -> None:
    kept = ["--path", str(tmp_path / "demo.db")]
    answer = cli("demo", "--json", *kept).json

    assert answer["imported"]["runs"] == sum(agent["runs"] for agent in answer["agents"])
    assert all(answer["imported"].values())
    assert len(answer["newest"]) == 8
    assert answer["query"]["runs"]
    assert all("search" in run["tools"] for run in answer["query"]["runs"])
    assert answer["summary"]
    assert cli("agents", *kept, "--json").json == answer["agents"]


@pytest.mark.parametrize("kind", ["run", "plan", "trie", "accumulators", "observations", "stability"])
def test_schemas(cli: Cli, kind: str) -> None:
    schema: dict[str, Any] = cli("schema", kind, "--format", "json-schema").json

    assert schema["$schema"]
    assert cli("schema", kind, "--json").json == schema
    assert cli("schema", kind).out.startswith("# ")
    assert cli("schema", "--json").json[kind] == schema
    assert "# " in cli("schema").out


def test_runs_that_cannot_be_read_are_named_and_the_others_shown(cli: Cli, store: list[str]) -> None:
    def text(number: int, **parts: Any) -> str:
        call = {"kind": "llm", "name": "x", "started_at": "2026-11-23T21:11:49Z", **parts}
        return json.dumps({**json.loads(run_line(number)), "calls": [call]})

    ids = [json.loads(run_line(number))["id"] for number in (1, 2, 3)]
    with RedisBackend.embedded(store[1]) as backend:
        backend.store_runs([from_json(RunRecord, text(number)) for number in (1, 2, 3)])
        key = next(key for key in backend.client.scan_iter("*@run:*") if key.endswith(b"3"))
        bad = text(3, name=5)
        backend.client.execute_command("JSON.SET", key, "$.record", json.dumps(bad))

    assert "1 LLM call" in cli("runs", "show", *store, ids[1]).out
    shown = cli("runs", "show", *store, ids[2])
    assert shown.code == 5
    assert "calls.0.name" in shown.err
    exported = cli("runs", "export", *store, "--rows", "calls")
    assert exported.code == 1
    assert [json.loads(line)["run_id"] for line in exported.out.splitlines()] == ids[:2]
    assert "calls.0.name" in exported.err
    assert len(cli("runs", "export", *store).out.splitlines()) == 2
