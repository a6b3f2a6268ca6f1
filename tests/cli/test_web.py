"""`web`, `report`, `saved` and `runs list --saved`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay_models import SavedQuestion
from relay_models.cli.exit_codes import INCOMPLETE
from relay_models.sync import RedisBackend
from tests.cli.conftest import Cli


@contextmanager
def page_of(*arguments: str, **env: str) -> Iterator[str]:
    """The URL of a page that a command serves."""
    command = [sys.executable, "-m", "relay_models.cli", *arguments, "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **env}, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as reply:
        text: str = reply.read().decode()
        return text


def test_web_serves_a_store(full: list[str]) -> None:
    with page_of("web", *full) as url:
        assert url.startswith("http://127.0.0.1:")
        assert "data-row=" in fetch(url)


def test_web_takes_a_password_from_the_environment(full: list[str]) -> None:
    with page_of("web", *full, RELAY_MODELS_WEB_PASSWORD="secret") as url:
        with pytest.raises(urllib.error.HTTPError) as caught:
            fetch(url)
        caught.value.close()
        assert caught.value.code == 401


def test_web_for_others_needs_a_password(cli: Cli, full: list[str]) -> None:
    answer = cli("web", *full, "--host", "0.0.0.0", "--port", "0")
    assert answer.code == 2
    assert "password" in answer.err


@pytest.mark.parametrize("name", ["web", "receive"])
def test_a_refusal_to_listen_names_options_that_the_command_has(cli: Cli, full: list[str], name: str) -> None:
    refused = cli(name, *full, "--host", "0.0.0.0", "--port", "0")
    named = re.findall(r"--[a-z-]+", refused.err)
    assert named
    for option in named:
        assert f" {option} " in cli(name, "--help").out


def test_the_demo_has_runs_of_yesterday() -> None:
    with page_of("demo", "--web") as url:
        assert "data-row=" in fetch(url + "runs?filter=started+%3D+yesterday")
        assert "data-row=" in fetch(url + "runs?filter=started+%3E%3D+-2d")


def test_report_writes_one_file(cli: Cli, full: list[str], tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    answer = cli("report", "duration > 20ms", "--save", str(target), "--columns", "agent,took,tokens", *full)
    assert answer.code == 2  # took is a heading, not a name
    assert not target.exists()
    answer = cli("report", "duration > 20ms", "--save", str(target), "--columns", "agent,duration,tokens", *full)
    assert answer.code == 0, answer.err
    assert "</html>" in target.read_text(encoding="utf-8")


def test_saved_questions_are_listed_where_one_cannot_be_read(cli: Cli, store: list[str]) -> None:
    key = "nemo_relay:@saved:questions"
    with RedisBackend.embedded(store[1]) as backend:
        backend.saved.save(SavedQuestion("good"))
        for name in ("bad", "long" * 1000):
            backend.client.execute_command("JSON.SET", key, f'$["{name}"]', '{"filter": 7}')
    answer = cli("saved", "list", "--json", *store)
    assert [question["name"] for question in answer.json] == ["good"]
    assert answer.code == INCOMPLETE
    assert "'bad'" in answer.err
    assert len(answer.err) < 2000
    assert "good" in cli("saved", "list", *store).out


def test_a_saved_question_is_listed_used_and_deleted(
    cli: Cli, store: list[str], capture_path: Path, tmp_path: Path
) -> None:
    cli("import", str(capture_path), *store)
    save = ("saved", "save", "slow", "--where", "duration > 20ms", "--columns", "agent,duration", "--order=-duration")
    assert cli(*save, *store).code == 0
    assert cli("saved", "list", "--json", *store).json == [
        {"name": "slow", "filter": "duration > 20ms", "columns": ["agent_id", "duration"], "order": "-duration"}
    ]
    assert "duration > 20ms" in cli("saved", "list", *store).out
    rows = cli("runs", "list", "--saved", "slow", "--json", "--limit", "0", *store).json
    plain = cli(
        "runs", "list", "--where", "duration > 20ms", "--order=-duration", "--columns", "agent_id,duration", "--json",
        "--limit", "0", *store,
    )  # fmt: skip
    assert rows == plain.json
    narrowed = cli("runs", "list", "--saved", "slow", "--where", "agent = research-agent", "--json", *store).json
    assert {row["agent_id"] for row in narrowed} == {"research-agent"}
    counted = cli(
        "runs", "stats", "--saved", "slow", "--agent", "research-agent", "--metrics", "count", "--json", *store
    )
    assert counted.json[0]["count"] == len(narrowed)
    exported = cli("runs", "export", "--saved", "slow", "--format", "csv", "--limit", "2", *store).out.splitlines()
    assert exported[0] == "agent_id,duration"
    assert len(exported) == 3
    assert "calls" in json.loads(cli("runs", "export", "--saved", "slow", "--limit", "1", *store).out)
    assert cli("report", "--saved", "slow", "--save", str(tmp_path / "slow.html"), *store).code == 0
    assert "(duration" not in (tmp_path / "slow.html").read_text(encoding="utf-8")
    assert cli("runs", "stats", "--saved", "unknown", *store).code == 4
    assert cli("saved", "delete", "slow", *store).code == 0
    assert cli("saved", "delete", "slow", *store).code == 4
    assert cli("runs", "list", "--saved", "slow", *store).code == 4
    assert cli("saved", "save", "x", "--where", "nonsense", *store).code == 2


def test_a_missing_extra_is_named(full: list[str]) -> None:
    for package, command in (("starlette", "web"), ("jinja2", "report"), ("mcp.server.mcpserver", "mcp")):
        script = f"import sys; sys.modules[{package!r}] = None; from relay_models.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", script, command, *full], capture_output=True, text=True, timeout=60, check=False
        )
        extra = "mcp" if command == "mcp" else "web"
        assert f"relay-models[{extra}]" in done.stderr
        assert done.returncode == 2
