"""`relay-models import URL`, `follow` and `export`, as processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis

from relay_models.native import NativeKeys
from relay_models.records import RunRecord
from relay_models.sync import RedisBackend
from tests.native.servers import PlainRedis
from tests.native.test_import import store_natively

COMMAND = [sys.executable, "-c", "from relay_models.cli import main; main()"]


def run(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([*COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_import_and_export(deployment: redis.Redis, source_url: str, plain_redis: PlainRedis, tmp_path: Path) -> None:
    store = ("--path", str(tmp_path / "runs.db"))
    first = json.loads(run("import", source_url, *store, "--json"))
    assert first["imported"]["runs"] == 180
    assert first["bad"] == []
    deployment.set("nemo_relay:trie:broken", "{")
    second = json.loads(run("import", source_url, *store, "--json", code=1))
    assert second["imported"]["runs"] == 0
    assert [bad["key"] for bad in second["bad"]] == ["nemo_relay:trie:broken"]
    with plain_redis.client(db=6) as target:
        target.flushdb()
        told = json.loads(run("export", f"{plain_redis.url}/6", "--native-prefix", "x:", *store, "--json"))
        assert told["runs"] == told["new_runs"] == 180
        assert target.llen(NativeKeys("x:").run_index("support::tier-1")) == 24
        assert "runs" not in run("export", f"{plain_redis.url}/6", "--native-prefix", "x:", "--no-runs", *store)
        target.flushdb()
        run("export", f"{plain_redis.url}/6", "--agent", "research-agent", *store)
        assert {key.split(b":")[2] for key in target.scan_iter()} == {b"research-agent"}
    assert run("import", "redis://127.0.0.1:1", *store, code=3) == ""
    assert run("export", "http://127.0.0.1:1", *store, code=2) == ""


def test_follow_until_it_is_told_to_end(source: redis.Redis, source_url: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    for number, end in enumerate([signal.SIGINT, signal.SIGTERM], 1):
        store_natively(source, RunRecord(agent_id="a"))
        command = [*COMMAND, "follow", source_url, "--path", str(path), "--json", "--poll", "0.05"]
        process: subprocess.Popen[Any] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["runs"] == 1
        process.send_signal(end)
        assert process.wait(30) == 0
        process.stdout.close()
        with RedisBackend.embedded(path) as store:
            assert len(store.list_runs("a")) == number
