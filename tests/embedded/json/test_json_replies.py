"""JSON commands answer as a real server did, and as one does where RELAY_MODELS_TEST_REDIS_URL names it."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer


def _scenarios() -> ModuleType:
    spec = importlib.util.spec_from_file_location("json_scenarios", Path(__file__).parent / "json_scenarios.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


scenarios = _scenarios()


def same(command: list[str], ours: Any, theirs: Any) -> bool:
    if ours == theirs:
        return True
    if command[0] == "JSON.GET" and len(command) > 3 and isinstance(ours, str) and isinstance(theirs, str):
        return bool(json.loads(ours) == json.loads(theirs))  # several paths come back in any order
    if isinstance(ours, dict) and isinstance(theirs, dict) and "Error occurred on position" in str(theirs):
        return "Error occurred on position" in str(ours)
    return False


def compare(protocol: int, recorded: list[tuple[list[str], Any]]) -> None:
    with EmbeddedServer() as server:
        connection = server.client(protocol=protocol).connection_pool.get_connection()
        answered = list(scenarios.replies(connection))
    different = [
        (command, ours, theirs)
        for (command, ours), (_, theirs) in zip(answered, recorded, strict=True)
        if not same(command, ours, theirs)
    ]
    assert not different, "\n".join(f"{c}\n   ours {o}\n theirs {t}" for c, o, t in different[:20])


def test_replies_are_those_of_a_real_server(protocol: int) -> None:
    with gzip.open(scenarios.REPLIES, "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    compare(protocol, [(command, reply) for number, command, reply in lines if number == protocol])


@pytest.mark.real_server
def test_replies_are_those_of_the_given_server(protocol: int) -> None:
    pool: Any = redis.ConnectionPool.from_url(os.environ["RELAY_MODELS_TEST_REDIS_URL"], protocol=protocol)
    recorded = list(scenarios.replies(pool.get_connection()))
    pool.disconnect()
    compare(protocol, recorded)
