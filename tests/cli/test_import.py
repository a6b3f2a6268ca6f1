"""`relay-models import`, `agents`, `dump` and `restore`."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from relay_models.embedded import EmbeddedServer, serving_in_thread

from .conftest import Cli

RUN_ID = "01a20829-3ca5-72a0-ae86-fbc312ec684a"


def counted(capture: list[dict[str, Any]]) -> Counter[str]:
    """Runs of each agent in the capture."""
    return Counter(
        json.loads(row["value"])["agent_id"]
        for row in capture
        if row["key"].removeprefix("nemo_relay:").startswith("runs:")
    )


def test_the_capture_is_imported_and_its_agents_are_there(
    cli: Cli, store: list[str], capture_path: Path, capture: list[dict[str, Any]]
) -> None:
    imported = cli("import", str(capture_path), *store, "--json")

    assert imported.code == 0
    runs = counted(capture)
    kinds = Counter(row["key"].split(":")[1] for row in capture)
    assert imported.json["imported"] == {
        "runs": sum(runs.values()),
        "plans": kinds["plan"],
        "tries": kinds["trie"],
        "accumulators": kinds["accumulators"],
        "observations": kinds["acg_observations"],
        "stability_results": kinds["acg_stability"],
    }
    assert imported.json["bad"] == []
    agents = cli("agents", *store, "--json")
    assert {agent["agent_id"]: agent["runs"] for agent in agents.json} == runs
    assert all(agent["last_started_at"].endswith("Z") for agent in agents.json)


def test_tables_say_the_same(cli: Cli, full: list[str], capture: list[dict[str, Any]]) -> None:
    answer = cli("agents", *full)

    assert answer.code == 0
    for agent, count in counted(capture).items():
        assert any(agent in line and f" {count} " in line for line in answer.lines)


def test_importing_again_replaces(cli: Cli, store: list[str], capture_path: Path) -> None:
    first = cli("import", str(capture_path), *store, "--json").json
    again = cli("import", str(capture_path), *store, "--json").json

    assert (first["replaced_runs"], again["replaced_runs"]) == (0, first["imported"]["runs"])
    assert sum(agent["runs"] for agent in cli("agents", *store, "--json").json) == first["imported"]["runs"]
    assert "already stored and replaced" in cli("import", str(capture_path), *store).out


def test_bad_lines_are_named_and_the_rest_is_imported(
    cli: Cli, store: list[str], tmp_path: Path, capture_path: Path
) -> None:
    with gzip.open(capture_path, "rt", encoding="utf-8") as lines:
        good = [line for line in lines if ":runs:" in line][:3]
    broken = json.loads(good[0])
    broken["value"] = broken["value"].replace('"calls":', '"cals":')
    other = json.loads(good[1]) | {"key": good[2].split('"')[3]}
    path = tmp_path / "mixed.jsonl"
    path.write_text(
        "".join([good[0], "{oops\n", json.dumps(broken) + "\n", good[1], json.dumps(other) + "\n", good[2]])
    )

    answer = cli("import", str(path), *store)

    assert answer.code == 1
    assert f"{path}, line 2: not JSON" in answer.err
    assert "line 3: " in answer.err
    assert "calls" in answer.err
    assert "line 5: the key is of agent" in answer.err
    assert "3 of 6 lines could not be imported" in answer.err
    as_json = cli("import", str(path), *store, "--json")
    assert as_json.code == 1
    assert [bad["line"] for bad in as_json.json["bad"]] == [2, 3, 5]
    assert as_json.json["imported"]["runs"] == 3


def test_many_bad_lines_are_counted(cli: Cli, store: list[str]) -> None:
    answer = cli("import", "-", *store, stdin="nonsense\n" * 50)

    assert answer.code == 1
    assert answer.err.count("not JSON") == 20
    assert "30 more" in answer.err
    assert "nothing was imported" in answer.out


def test_hostile_names_cannot_steer_the_terminal(cli: Cli, store: list[str]) -> None:
    agent = "\x1b[31mred\n[bold]x[/bold]\u202e"
    run = {
        "id": RUN_ID,
        "agent_id": agent,
        "calls": [],
        "started_at": "2026-01-01T00:00:00Z",
    }
    key = f"nemo_relay:runs:{agent}:{run['id']}"
    row = json.dumps({"key": key, "type": "string", "value": json.dumps(run)})

    assert cli("import", "-", *store, stdin=row + "\n" + json.dumps({"key": "\x1b[2J", "value": 1})).code == 1
    for command in (["agents"], ["import", "-"]):
        answer = cli(*command, *store, stdin=json.dumps({"key": "nemo_relay:\x1b[2J", "value": "x"}))
        assert "\x1b" not in answer.out + answer.err
    assert "\\x1b[31mred\\n[bold]x[/bold]\\u202e" in cli("agents", *store).out


def test_an_agent_id_in_the_order_of_its_list(cli: Cli, full: list[str], capture: list[dict[str, Any]]) -> None:
    orders = {row["key"].split(":", 2)[2]: row["value"] for row in capture if row["type"] == "list"}
    exported = cli("runs", "export", *full, "--rows", "runs", "--columns", "agent_id,run_id", "--order", "stored_at")

    found: dict[str, list[str]] = {}
    for line in exported.lines:
        row = json.loads(line)
        found.setdefault(row["agent_id"], []).append(row["run_id"])
    assert found == orders


def test_stores_with_other_prefixes_do_not_meet(cli: Cli, store: list[str], capture_path: Path) -> None:
    cli("import", str(capture_path), *store, "--prefix", "one:")

    assert cli("agents", *store, "--prefix", "two:", "--json").json == []
    assert "no runs are stored" in cli("agents", *store, "--prefix", "two:").out


def test_the_native_prefix_can_be_said(cli: Cli, store: list[str], capture_path: Path) -> None:
    answer = cli("import", str(capture_path), *store, "--native-prefix", "other:", "--json")

    assert answer.code == 1
    assert answer.json["imported"]["runs"] == 0
    assert "--native-prefix" in answer.json["bad"][0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["agents"], 2, "--path FILE"),
        (["agents", "--path", "x.db", "--url", "redis://h"], 2, "not both"),
        (["agents", "--path", "missing.db"], 4, "there is no store at missing.db"),
        (["import", "missing.jsonl", "--path", "x.db"], 4, "there is no file missing.jsonl"),
        (["agents", "--url", "http://h"], 2, "redis://"),
        (["agents", "--url", "redis://127.0.0.1:1"], 3, "127.0.0.1:1"),
        (["agents", "--path", "x.db", "--prefix", "a@run:b"], 4, ""),
        (["import", "-", "--path", "x.db", "--prefix", "a@run:b"], 2, "@run:"),
        (["dump", "d.jsonl", "--path", "missing.db"], 4, "missing.db"),
        (["restore", "missing.jsonl", "--path", "x.db"], 6, "missing.jsonl"),
        (["dump", "d.jsonl", "--url", "redis://127.0.0.1:1"], 3, "127.0.0.1:1"),
        (["schema", "nonsense"], 4, "nonsense"),
    ],
)
def test_mistakes_are_one_clear_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)

    answer = cli(*arguments)

    assert answer.code == code
    assert answer.out == ""
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_the_environment_may_say_which_store(
    cli: Cli, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_MODELS_PATH", str(filled))
    assert len(cli("agents", "--json").json) == 5
    monkeypatch.setenv("RELAY_MODELS_PREFIX", "other:")
    assert cli("agents", "--json").json == []
    assert len(cli("agents", "--json", "--prefix", "nemo_relay:").json) == 5
    assert cli("agents", "--path", str(tmp_path / "missing.db")).code == 4, "the command line goes first"


def test_a_file_that_is_no_store_is_said(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello " * 100)

    answer = cli("agents", "--path", str(path))

    assert answer.code in (2, 3)
    assert answer.err.startswith("error: ")
    assert path.read_text() == "hello " * 100


def test_dump_and_restore_bring_everything_over(cli: Cli, full: list[str], tmp_path: Path) -> None:
    path, other = str(tmp_path / "backup.jsonl.gz"), ["--path", str(tmp_path / "other.db")]

    assert "wrote 265 keys" in cli("dump", path, *full).out
    assert cli("restore", path, *other, "--json").json == {"keys": 265, "expired": 0}

    assert cli("agents", *other, "--json").json == cli("agents", *full, "--json").json
    assert cli("restore", path, *other).code == 2, "keys are there already"
    assert cli("restore", path, *other, "--replace").code == 0


def test_a_dump_is_of_one_prefix_unless_all_is_asked_for(cli: Cli, store: list[str], tmp_path: Path) -> None:
    run = json.dumps({"id": RUN_ID, "agent_id": "a", "calls": [], "started_at": "2026-01-01T00:00:00Z"})
    for prefix in ("a*", "ab"):
        assert cli("import", "-", *store, "--prefix", prefix, stdin=run).code == 0

    path = str(tmp_path / "d.jsonl")
    assert "wrote 1 key " in cli("dump", path, *store, "--prefix", "a*").out
    assert "wrote 2 keys" in cli("dump", path, *store, "--all").out


def test_a_deployment_is_imported_from_its_url(
    cli: Cli, store: list[str], tmp_path: Path, capture: list[dict[str, Any]]
) -> None:
    with EmbeddedServer() as deployment, serving_in_thread(deployment) as endpoint, deployment.client() as client:
        for row in capture:
            if row["type"] == "list":
                client.rpush(row["key"], *row["value"])
            else:
                client.set(row["key"], row["value"])
        client.set("nemo_relay:trie:broken", "{")

        first = cli("import", endpoint.url, *store, "--json")
        again = cli("import", endpoint.url, *store)

    assert first.code == 1
    assert first.json["imported"]["runs"] == sum(counted(capture).values())
    assert first.json["imported"]["stability_results"] == 35
    assert [bad["key"] for bad in first.json["bad"]] == ["nemo_relay:trie:broken"]
    assert again.code == 1
    assert "nemo_relay:trie:broken: " in again.err
    from_file = ["--path", str(tmp_path / "other.db")]
    cli("import", "-", *from_file, stdin="\n".join(json.dumps(row) for row in capture))
    columns = ("--columns", "agent_id,run_id,duration", "--order", "stored_at", "--rows", "runs")
    assert sorted(cli("runs", "export", *store, *columns).lines) == sorted(
        cli("runs", "export", *from_file, *columns).lines
    )


def test_what_is_not_understood_is_imported_and_named(cli: Cli, store: list[str], tmp_path: Path) -> None:
    """In a capture and in a file of runs: the request is a list, the end no time, a prompt cut within a character."""
    call = {"kind": "llm", "name": "openai", "started_at": "2026-11-23T21:11:49Z"}
    run = {"id": RUN_ID, "agent_id": "a", "started_at": "2026-11-23T21:11:49Z"}
    prompt = {"messages": [{"role": "user", "content": "\ud83d"}]}
    run["calls"] = [{**call, "annotated_request": ["x"], "ended_at": 5}, {**call, "annotated_request": prompt}]
    row = {"key": f"nemo_relay:runs:a:{RUN_ID}", "type": "string", "value": json.dumps(run)}
    for number, line in enumerate((row, run)):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(line) + "\n")
        answer = cli("import", str(path), *store)
        assert answer.code == 0
        assert "line 1: calls.0.annotated_request is of a shape that is not known" in answer.err
        assert "line 1: calls.0.ended_at is of a shape that is not known" in answer.err
        assert "line 1: calls.1.annotated_request.messages.0.content has half of a surrogate pair" in answer.err
        assert "3 values were imported, but not understood or not as they came" in answer.err
        as_json = cli("import", str(path), *store, "--json")
        assert [note["line"] for note in as_json.json["notes"]] == [1, 1, 1]
    shown = cli("runs", "show", RUN_ID, "--io", *store).out
    assert '["x"]' in shown
