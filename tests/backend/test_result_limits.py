"""Everything is exact on a server that orders few rows for one query, as Redis Stack and hosted servers do."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from uuid import uuid4

import pytest
import redis

from relay_models.embedded import EmbeddedServer
from relay_models.sync import RedisBackend
from tests.backend.stores import make_run

LIMIT = 100
RUNS, AGENTS = 1_500, 400
SETTINGS = ("MAXSEARCHRESULTS", "MAXAGGREGATERESULTS")


class Filled:
    """A store behind the limit, and the runs in it, in the order in which they were stored."""

    def __init__(self, backend: RedisBackend) -> None:
        self.backend = backend
        self.runs = [make_run(f"agent-{number % AGENTS}", number) for number in range(RUNS // 2)]
        # More runs with one start than the server orders.
        self.runs += [make_run("busy", 2_000, run_id=uuid4()) for _ in range(RUNS // 2)]
        backend.store_runs(self.runs)

    def ids(self) -> list[str]:
        return sorted(str(run.id) for run in self.runs)


def limited(client: redis.Redis) -> Iterator[None]:
    """Set the limits, and give back those that were there."""
    before = {name: client.execute_command("FT.CONFIG", "GET", name) for name in SETTINGS}
    for name in SETTINGS:
        client.execute_command("FT.CONFIG", "SET", name, LIMIT)
    try:
        yield
    finally:
        for name, reply in before.items():
            (value,) = reply.values() if isinstance(reply, dict) else [row[1] for row in reply]
            client.execute_command("FT.CONFIG", "SET", name, value)


@pytest.fixture(scope="module", params=["embedded", pytest.param("server", marks=pytest.mark.real_server)])
def filled(request: pytest.FixtureRequest) -> Iterator[Filled]:
    prefix = f"limits-{uuid4().hex[:8]}:"
    if request.param == "embedded":
        with EmbeddedServer() as server, server.client() as client:
            for _ in limited(client):
                yield Filled(RedisBackend.from_client(client, prefix))
        return
    with redis.Redis.from_url(os.environ["RELAY_MODELS_TEST_REDIS_URL"], decode_responses=True) as client:
        for _ in limited(client):
            with RedisBackend.connect(os.environ["RELAY_MODELS_TEST_REDIS_URL"], prefix) as backend:
                try:
                    yield Filled(backend)
                finally:
                    for name in client.execute_command("FT._LIST"):
                        if name.startswith(prefix):
                            client.execute_command("FT.DROPINDEX", name, "DD")
                    for key in client.scan_iter(match=prefix + "*", count=1000):
                        client.delete(key)


def test_a_limit_of_one_row() -> None:
    with EmbeddedServer() as server, server.client() as client:
        for name in SETTINGS:
            client.execute_command("FT.CONFIG", "SET", name, 1)
        backend = RedisBackend.from_client(client, "one:")
        runs = [make_run("agent", number) for number in range(3)]
        backend.store_runs(runs)
        wanted = [str(run.id) for run in runs]
        assert [str(run.id) for run in backend.list_runs("agent")] == wanted
        assert [str(run.id) for run in backend.iter_runs("agent")] == wanted
        assert [row.run_id for row in backend.find_runs("all", order_by="stored_at", limit=None)] == wanted


def test_agents(filled: Filled) -> None:
    counts = Counter(run.agent_id for run in filled.runs)
    assert {agent.agent_id: agent.runs for agent in filled.backend.agents()} == counts


def test_one_agents_runs(filled: Filled) -> None:
    wanted = [str(run.id) for run in filled.runs if run.agent_id == "busy"]
    assert [str(run.id) for run in filled.backend.list_runs("busy")] == wanted
    assert [str(run.id) for run in filled.backend.iter_runs("busy")] == wanted


@pytest.mark.parametrize("order", ["started_at", "-started_at", "-prompt_tokens", "agent_id"])
def test_orders(filled: Filled, order: str) -> None:
    name = order.removeprefix("-")
    rows = filled.backend.find_runs("all", order_by=order, limit=None)
    assert sorted(row.run_id for row in rows) == filled.ids()
    values = [getattr(row, name) for row in rows]
    assert values == sorted(values, reverse=order.startswith("-"))
    streamed = [row.run_id for row in filled.backend.stream_runs("all", order_by=order)]
    assert streamed == [row.run_id for row in rows]


def test_pages(filled: Filled) -> None:
    pages, after = [], None
    while True:
        page = filled.backend.find_runs("all", order_by="-started_at", limit=170, after=after)
        pages += [row.run_id for row in page]
        after = page.next
        if after is None:
            break
    assert pages == [row.run_id for row in filled.backend.find_runs("all", order_by="-started_at", limit=None)]


def test_counts_and_groups(filled: Filled) -> None:
    assert filled.backend.count_runs("all") == RUNS
    rows = filled.backend.aggregate_runs(by="agent_id")
    assert {row["agent_id"]: row["count"] for row in rows} == Counter(run.agent_id for run in filled.runs)
    assert len(filled.backend.aggregate_runs(by="run_id")) == RUNS


def test_watching_from_the_beginning(filled: Filled) -> None:
    found = {row.run_id for row in islice(filled.backend.watch_runs(since=timedelta(hours=1)), RUNS)}
    assert found == {*filled.ids()}


def test_deleting_last(filled: Filled) -> None:
    kept = [str(run.id) for run in filled.runs if run.agent_id != "busy"]
    assert filled.backend.delete_runs(filled.backend.runs.document.agent_id == "busy") == RUNS - len(kept)
    assert sorted(row.run_id for row in filled.backend.find_runs("all", limit=None)) == sorted(kept)
    assert filled.backend.trim_runs("agent-0", 0) == sum(run.agent_id == "agent-0" for run in filled.runs)
