"""Answers are exact whatever the options of a server's search module are, or an error says what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
import redis

from relay_models import Run
from relay_models.errors import StorageError
from relay_models.sync import RedisBackend
from tests.backend.stores import make_run

RUNS, AGENTS = 300, 120
OPTIONS: list[dict[str, Any]] = [
    {"DEFAULT_DIALECT": 3},
    {"DEFAULT_DIALECT": 4},
    {"MAXEXPANSIONS": 1, "MAXPREFIXEXPANSIONS": 1, "MINPREFIX": 10},
    {"TIMEOUT": 1, "ON_TIMEOUT": "return"},
    {"TIMEOUT": 1, "ON_TIMEOUT": "fail"},
    {"MAXSEARCHRESULTS": 0},
    {"CURSOR_MAX_IDLE": 1},
    {"UNION_ITERATOR_HEAP": 1},
]


@pytest.fixture
def options(request: pytest.FixtureRequest, real_redis_url: str) -> Iterator[None]:
    """The server's options are changed for one test."""
    with redis.Redis.from_url(real_redis_url, decode_responses=True, protocol=2) as client:
        before = {name: client.execute_command("FT.CONFIG", "GET", name)[0][1] for name in request.param}
        for name, value in request.param.items():
            client.execute_command("FT.CONFIG", "SET", name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                client.execute_command("FT.CONFIG", "SET", name, value)


@pytest.mark.real_server
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("options", OPTIONS, indirect=True, ids=str)
def test_answers(real_store_url: str, options: None, protocol: int) -> None:
    # Few different numbers of tokens, so that many runs share the one that they are sorted by.
    runs = [make_run(f"agent-{number % AGENTS}", number % 5, run_id=uuid4()) for number in range(RUNS)]
    ids = sorted(str(run.id) for run in runs)
    with RedisBackend.connect(real_store_url, f"options-{uuid4().hex[:8]}:", protocol=protocol) as backend:
        backend.store_runs(runs)
        try:
            for order in ("-prompt_tokens", "prompt_tokens", "cost", "agent_id", "duration"):
                assert sorted(run.run_id for run in backend.stream_runs(order_by=order)) == ids
                assert sorted(run.run_id for run in backend.find_runs(order_by=order, limit=None)) == ids
            pages, after = [], None
            while True:
                page = backend.find_runs("prompt_tokens >= 1", order_by="prompt_tokens", limit=70, after=after)
                pages += [run.run_id for run in page]
                after = page.next
                if after is None:
                    break
            assert sorted(pages) == sorted(str(run.id) for run in runs if run.calls[0].prompt_tokens)
            agents = Counter(run.agent_id for run in runs)
            assert {agent.agent_id: agent.runs for agent in backend.agents()} == agents
            assert {row["agent_id"]: row["count"] for row in backend.aggregate_runs(by="agent_id")} == agents
            assert backend.count_runs(Run.agent_id.like("*1*")) == sum("1" in run.agent_id for run in runs)
            assert len(backend.list_runs("agent-1")) == agents["agent-1"]
            (row,) = backend.aggregate_runs(metrics=["count", "sum(prompt_tokens)", "p95(prompt_tokens)"])
            assert row["sum(prompt_tokens)"] == sum(run.calls[0].prompt_tokens or 0 for run in runs)
        finally:
            assert backend.delete_runs("all") == RUNS


@pytest.mark.real_server
def test_a_server_without_a_cursor_to_spare(real_redis_url: str, real_store_url: str) -> None:
    runs = [make_run(f"agent-{number % AGENTS}", number, run_id=uuid4()) for number in range(RUNS)]
    agents = Counter(run.agent_id for run in runs)
    with (
        redis.Redis.from_url(real_redis_url, protocol=2) as client,
        RedisBackend.connect(real_store_url, f"cursors-{uuid4().hex[:8]}:") as backend,
    ):
        backend.store_runs(runs)
        alias, cursors = f"{backend.key_prefix}@run", []
        try:
            with suppress(redis.ResponseError):  # the refusal of one more
                while True:
                    found = client.execute_command("FT.AGGREGATE", alias, "*", "WITHCURSOR", "COUNT", 1)
                    cursors.append(found[1])
            assert {agent.agent_id: agent.runs for agent in backend.agents()} == agents
            assert {row["agent_id"]: row["count"] for row in backend.aggregate_runs(by="agent_id")} == agents
            assert len(backend.list_runs("agent-1")) == len(list(backend.iter_runs("agent-1"))) == agents["agent-1"]
            assert sum(1 for _ in backend.stream_runs()) == len(backend.find_runs(limit=None)) == RUNS
            # More rows than the server gives at once cannot be had without a cursor.
            before = client.execute_command("FT.CONFIG", "GET", "MAXAGGREGATERESULTS")[0][1]
            client.execute_command("FT.CONFIG", "SET", "MAXAGGREGATERESULTS", AGENTS)
            try:
                with pytest.raises(StorageError, match="INDEX_CURSOR_LIMIT"):
                    backend.agents()
            finally:
                client.execute_command("FT.CONFIG", "SET", "MAXAGGREGATERESULTS", before)
        finally:
            for cursor in cursors:
                client.execute_command("FT.CURSOR", "DEL", alias, cursor)
            backend.delete_runs("all")


def test_a_cursor_that_the_server_drops_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisBackend.embedded() as backend:
        backend.store_runs(make_run(f"agent-{number}", number) for number in range(5_100))
        read, dropped = backend.transport.execute_once, []

        def drop_first(*command: Any) -> Any:
            if not dropped:
                dropped.append(backend.client.execute_command("FT.CURSOR", "DEL", command[2], command[3]))
            return read(*command)

        monkeypatch.setattr(backend.transport, "execute_once", drop_first)
        assert len(backend.agents()) == 5_100
        assert dropped
