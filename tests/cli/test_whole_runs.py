"""Failures, sessions, nested runs, input and output on the command line; and the formats in which runs travel."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from relay_models.records import RunRecord, from_json
from relay_models.sync import RedisBackend
from relay_models.trajectories import from_protobuf, read_runs, to_protobuf
from tests.trajectories.atif_models import check_atif
from tests.trajectories.events import nested

from .conftest import Cli

DATA = Path(__file__).parent.parent / "trajectories" / "data"
ATOF = DATA / "relay_0.11.0rc3.atof.jsonl"
PRICES = """
[[price]]
model = "gpt-4.1*"
input = 2.0
cached_input = 0.5
output = 8.0
"""


@pytest.fixture
def imported(cli: Cli, store: list[str]) -> list[str]:
    """Options that name a store with the runs of an event file: an agent, and a nested one with a failed tool."""
    assert cli("import", str(ATOF), *store).code == 0
    return store


def listed(cli: Cli, store: list[str], *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("runs", "list", *store, "--json", *more).json
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.iterdir()))
def test_every_format_is_recognized_by_its_content(cli: Cli, store: list[str], name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"  # no ending says what it is
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + (DATA / name).read_bytes()))
    answer = cli("import", str(path), *store, "--json")
    assert answer.code == 0
    assert answer.json["imported"]["runs"] == len(listed(cli, store))
    assert any(run["failed_calls"] for run in listed(cli, store)) or "redis" in name


def test_importing_twice_changes_nothing(cli: Cli, imported: list[str]) -> None:
    before = listed(cli, imported)
    again = cli("import", str(ATOF), *imported, "--json").json
    assert (again["imported"]["runs"], again["unchanged"]) == (0, len(before))
    assert listed(cli, imported) == before
    assert "nothing new" in cli("import", str(ATOF), *imported).out


def test_rotated_files_are_read_as_one(cli: Cli, store: list[str], tmp_path: Path) -> None:
    lines = nested().lines
    for number, part in enumerate((lines[:3], lines[3:])):
        (tmp_path / f"{number}.jsonl").write_text("".join(part))
    answer = cli("import", str(tmp_path / "0.jsonl"), str(tmp_path / "1.jsonl"), *store, "--json")
    whole = [result.run for result in read_runs(lines)]
    assert answer.json["imported"]["runs"] == len(whole)
    assert all(run["status"] != "running" for run in listed(cli, store))


def test_damaged_lines_are_named_with_their_file_and_number(cli: Cli, store: list[str], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jsonl"
    lines = nested().lines
    damaged.write_text("".join([lines[0], "{oops\n", *lines[1:], '{"kind":"sco']))
    answer = cli("import", str(ATOF), str(damaged), *store, "--json")
    assert answer.code == 1
    assert [(bad["file"], bad["line"]) for bad in answer.json["bad"]] == [
        (str(damaged), 2),
        (str(damaged), len(lines) + 2),
    ]
    assert "line 2" in cli("import", str(damaged), *store).err


def test_secrets_are_removed_before_they_are_stored(cli: Cli, store: list[str], capture_path: Path) -> None:
    options = ["--redact", "$.calls[*].annotated_request.messages[*].content", "--redact", "$..input"]
    assert cli("import", str(ATOF), *store, *options).code == 0
    with RedisBackend.embedded(store[1]) as backend:
        for run in backend.find_runs():
            assert run.record is not None
            assert run.record.ext is not None
            assert run.record.ext.redacted
            contents = {
                str(message.content) for call in run.record.calls if call.annotated_request
                for message in call.annotated_request.messages
            }  # fmt: skip
            assert contents <= {"[redacted]", "[]", "None"}
    assert cli("import", str(ATOF), *store, "--redact", "$..[").code == 2
    captured = cli("import", str(capture_path), *store, "--redact", "$.calls[*].annotated_request.messages", "--json")
    assert captured.code == 0
    assert captured.json["imported"]["runs"] > 0


def test_long_texts_are_cut_with_a_mark(cli: Cli, store: list[str], tmp_path: Path) -> None:
    run = {
        "id": "01a20829-3ca5-72a0-ae86-fbc312ec684a", "agent_id": "a", "started_at": "2026-01-01T00:00:00Z",
        "calls": [{"kind": "tool", "name": "t", "started_at": "2026-01-01T00:00:00Z",
                   "relay_models": {"output": "x" * 5000}}],
    }  # fmt: skip
    path = tmp_path / "run.jsonl"
    path.write_text(json.dumps(run))
    assert cli("import", str(path), *store, "--max-text-length", "100").code == 0
    shown = cli("runs", "show", "latest", *store, "--io").out
    assert "100 of 5,000 kept" in shown


def test_failures_are_listed(cli: Cli, imported: list[str]) -> None:
    failed = listed(cli, imported, "--failed")
    assert [run["failed_calls"] for run in failed] == [1]
    assert failed[0]["error_types"] == ["RuntimeError"]
    table = cli("runs", "list", "--failed", *imported).out
    assert "RuntimeError" in table
    assert "failed calls" in table
    assert listed(cli, imported, "--failed", "--where", "error = TimeoutError") == []


def test_a_run_is_shown_with_the_runs_it_is_nested_with(cli: Cli, imported: list[str]) -> None:
    inner = next(run for run in listed(cli, imported, "--columns", "run_id,parent_run_id") if run["parent_run_id"])
    shown = cli("runs", "show", inner["run_id"], *imported, width=160)
    tree = shown.out.partition("nested runs")[2].strip().splitlines()
    assert inner["parent_run_id"] in tree[0]
    assert tree[1].startswith("  ")
    assert "this run" in tree[1]
    assert "failed: RuntimeError" in shown.out
    timeline = cli("runs", "show", inner["run_id"], *imported, "--timeline", width=160).out
    assert "1 failed" in timeline
    assert "failed: RuntimeError" in timeline


def test_input_and_output_are_shown_cut_or_whole(cli: Cli, imported: list[str]) -> None:
    inner = listed(cli, imported, "--failed")[0]["run_id"]
    cut = cli("runs", "show", inner, *imported, "--io").out
    whole = cli("runs", "show", inner, *imported, "--io", "--full").out
    assert "the first 400 are shown" in cut
    assert "the first" not in whole
    assert len(whole) > len(cut)
    assert "input (" in cut
    assert cli("runs", "show", inner, *imported, "--full").code == 2


def priced_run(number: int, session: str | None, failed: bool = False) -> dict[str, Any]:
    """A run with one LLM call whose cost is not told."""
    call = {
        "kind": "llm", "name": "openai", "model_name": "gpt-4.1", "started_at": "2026-01-01T00:00:00Z",
        "ended_at": "2026-01-01T00:00:00Z", "prompt_tokens": 1000, "output_tokens": 100,
        "relay_models": {"status": "failed" if failed else "completed"},
    }  # fmt: skip
    extensions = {"session_id": session, "status": "failed" if failed else "completed"}
    return {
        "id": f"01a20829-3ca5-72a0-ae86-fbc312ec68{number:02}", "agent_id": "a", "calls": [call],
        "started_at": f"2026-01-01T00:00:{number:02}Z", "ended_at": "2026-01-01T00:01:00Z",
        "relay_models": {name: value for name, value in extensions.items() if value},
    }  # fmt: skip


def test_sessions(cli: Cli, store: list[str], tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    path = tmp_path / "runs.jsonl"
    runs = [priced_run(1, "one"), priced_run(2, "two"), priced_run(3, "one", failed=True), priced_run(4, None)]
    path.write_text("".join(json.dumps(each) + "\n" for each in runs))
    assert cli("import", str(path), *store, "--prices", str(prices)).code == 0
    assert cli("sessions", *store, "--json").json == [
        {
            "session_id": "one", "runs": 2, "failed_runs": 1, "failed_calls": 1,
            "first_started_at": "2026-01-01T00:00:01Z", "last_started_at": "2026-01-01T00:00:03Z",
            "input_tokens": 2000, "output_tokens": 200, "cost": None, "estimated_cost": pytest.approx(0.0056),
        },
        {
            "session_id": "two", "runs": 1, "failed_runs": 0, "failed_calls": 0,
            "first_started_at": "2026-01-01T00:00:02Z", "last_started_at": "2026-01-01T00:00:02Z",
            "input_tokens": 1000, "output_tokens": 100, "cost": None, "estimated_cost": pytest.approx(0.0028),
        },
    ]  # fmt: skip
    table = cli("sessions", *store, "--limit", "1", width=160)
    assert "~" in table.out.splitlines()[-1]
    assert "1 of 2 sessions" in table.err


def test_prices_are_checked_and_applied_to_what_is_stored(cli: Cli, store: list[str], tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(priced_run(1, None)))
    assert cli("import", str(path), *store).code == 0
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    assert cli("prices", "check", *store).code == 2
    answer = cli("prices", "check", *store, "--prices", str(prices), "--json")
    assert answer.code == 0
    assert [(row["model"], row["state"]) for row in answer.json] == [("gpt-4.1", "estimated")]
    assert {run["estimated_cost"] for run in listed(cli, store)} == {None}
    assert cli("prices", "apply", *store, "--prices", str(prices)).code == 0
    estimated = [run["estimated_cost"] for run in listed(cli, store)]
    assert all(cost > 0 for cost in estimated)
    prices.write_text(PRICES.replace("gpt-4.1*", "other").replace("2.0", "3.0"))
    answer = cli("prices", "check", *store, "--prices", str(prices))
    assert (answer.code, "no price" in answer.out) == (1, True)
    assert cli("prices", "apply", *store, "--prices", str(prices)).code == 0
    assert {run["estimated_cost"] for run in listed(cli, store)} == {None}


def test_the_price_table_of_a_project(
    cli: Cli, store: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(priced_run(1, None)))
    (tmp_path / "inner").mkdir()
    (tmp_path / "prices.toml").write_text(PRICES)
    (tmp_path / "pyproject.toml").write_text('[tool.relay-models]\nprices = "prices.toml"\n')
    monkeypatch.chdir(tmp_path / "inner")
    assert cli("import", str(path), *store).code == 0
    assert all(run["estimated_cost"] > 0 for run in listed(cli, store))
    assert cli("prices", "check", *store).code == 0
    (tmp_path / "pyproject.toml").write_text("[tool.relay-models]\nprices = 5\n")
    assert "pyproject.toml" in cli("prices", "check", *store).err


def test_trajectories_are_exported_with_the_runs_below(
    cli: Cli, imported: list[str], store: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    assert cli("runs", "export", str(path), "--format", "atif", *imported).code == 0
    (line,) = path.read_text().splitlines()
    document = json.loads(line)
    check_atif(document)
    assert document["subagent_trajectories"]
    again = ["--path", str(tmp_path / "again.db")]
    assert cli("import", str(path), *again).code == 0
    names = "--columns", "run_id,agent_id,failed_calls,parent_run_id,total_tokens"
    assert listed(cli, again, *names) == listed(cli, imported, *names)
    inner = listed(cli, imported, "--failed")[0]["run_id"]
    assert cli("runs", "export", str(path), "-f", "atif", "--where", f"run_id = {inner}", *imported).code == 0
    assert json.loads(path.read_text())["agent"]["name"] == "inner agent"


@pytest.mark.parametrize("convention", ["otlp", "openinference"])
def test_spans_are_exported_as_export_requests(cli: Cli, imported: list[str], tmp_path: Path, convention: str) -> None:
    answer = cli("runs", "export", "--format", convention, *imported)
    assert answer.code == 0
    (line,) = answer.lines
    assert from_protobuf(to_protobuf(json.loads(line)))["resourceSpans"]
    path = tmp_path / "spans.jsonl"
    path.write_text(line)
    again = ["--path", str(tmp_path / "again.db")]
    assert cli("import", str(path), *again).code == 0
    names = "--columns", "run_id,agent_id,status,failed_calls,parent_run_id"
    assert listed(cli, again, *names) == listed(cli, imported, *names)
    assert cli("runs", "export", "--format", convention, "--rows", "runs", *imported).code == 2


def test_a_growing_file_is_followed(tmp_path: Path, store: list[str]) -> None:
    path, lines = tmp_path / "events.jsonl", nested().lines
    command = [sys.executable, "-m", "relay_models.cli", "follow", str(path), *store, "--poll", "0.05", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        try:
            assert follower.stdout is not None
            with path.open("w") as file:
                for line in lines:
                    file.write(line[:10])
                    file.flush()
                    file.write(line[10:])
                    file.flush()
            wanted = len([result for result in read_runs(lines) if result.run and result.run.is_finished])
            stored = 0
            deadline = time.monotonic() + 40
            while stored < wanted:
                assert time.monotonic() < deadline
                stored += json.loads(follower.stdout.readline())["runs"]
            follower.send_signal(signal.SIGTERM)
            assert follower.wait(20) == 0
        finally:
            follower.kill()
    with RedisBackend.embedded(store[1]) as backend:
        assert backend.count_runs() == len([result for result in read_runs(lines) if result.run])


def test_cache_entries_of_a_capture_are_skipped_and_named(cli: Cli, store: list[str], tmp_path: Path) -> None:
    entry = {"key": f"nemo_relay:sha256:{'0a' * 32}", "type": "string", "value": "{}"}
    run = RunRecord(agent_id="a")
    stored = {"key": f"nemo_relay:runs:a:{run.id}", "type": "string", "value": run.model_dump_json()}
    path = tmp_path / "capture.jsonl"
    path.write_text("\n".join(map(json.dumps, (entry, stored))))
    answer = cli("import", str(path), *store, "--json")
    assert (answer.code, answer.json["cache_entries"], answer.json["imported"]["runs"]) == (0, 1, 1)
    assert "skipped 1 entry of NeMo Relay's caches" in cli("import", str(path), *store).out
    assert from_json(RunRecord, cli("runs", "show", "latest", *store, "--json").out) == run
