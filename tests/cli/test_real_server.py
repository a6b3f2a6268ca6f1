"""The same answers from a real server as from the embedded engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from .conftest import Cli

COMMANDS = [
    ["runs", "list", "-n", "0", "--order", "duration", "--columns", "run_id,agent_id,duration,models,cost"],
    ["runs", "list", "--where", 'tool ~ "s*" and llm_calls >= 2 and not model = "gpt-4.1"', "--columns", "run_id"],
    [
        "runs",
        "list",
        "--where",
        "agent in (数据-агент, 'code review | nightly')",
        "-n",
        "0",
        "--columns",
        "run_id,tools",
    ],
    ["runs", "stats", "--by", "models,agent_id", "--metrics", "count,avg(duration),p95(duration),sum(total_tokens)"],
    ["runs", "stats", "--every", "1s", "--by", "tools", "--metrics", "count,stddev(duration),distinct(agent_id)"],
    ["runs", "show", "latest"],
]


@pytest.fixture(scope="module")
def served(real_redis_url: str, real_store_url: str, capture_path: Path) -> Iterator[list[str]]:
    """Options that name a store on the real server, filled with the capture and removed afterwards."""
    from typer.testing import CliRunner

    from relay_models.cli import app

    prefix = f"cli-{uuid4().hex}:"
    options = ["--url", real_store_url, "--prefix", prefix]
    assert CliRunner().invoke(app, ["import", str(capture_path), *options]).exit_code == 0
    yield options
    with redis.Redis.from_url(real_redis_url, protocol=2) as client:
        for index in client.execute_command("FT._LIST"):
            if index.startswith(prefix.encode()):
                client.execute_command("FT.DROPINDEX", index)
        for key in client.scan_iter(f"{prefix}*", count=1000):
            client.delete(key)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:3]))
def test_answers_are_the_same(cli: Cli, full: list[str], served: list[str], command: list[str]) -> None:
    real, embedded = cli(*command, *served, "--json"), cli(*command, *full, "--json")

    assert real.code == embedded.code == 0, real.err
    assert real.json == embedded.json
    assert real.json


def test_exports_are_the_same(cli: Cli, full: list[str], served: list[str]) -> None:
    real, embedded = (cli("runs", "export", *options).lines for options in (served, full))

    assert sorted(real) == sorted(embedded)
    assert all(json.loads(line) for line in real)
