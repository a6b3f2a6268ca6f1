"""Questions answered by replicas, with Redis Stack behind sentinels: where they go, and when a replica is not asked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from relay_models.errors import InvalidConfigurationError
from relay_models.sync import RedisBackend
from tests.backend.stores import make_run
from tests.servers import redis_stack
from tests.servers.sentinels import SentinelSetup, wait_until

pytestmark = pytest.mark.skipif(
    not redis_stack.is_supported() or not shutil.which("redis-server"),
    reason="needs x86-64 Linux and redis-server (Debian: apt install redis-server)",
)
RUNS = [make_run("agent", number) for number in range(300)]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSetup]:
    command, environment = redis_stack.bare_command(redis_stack.unpack())
    with SentinelSetup(tmp_path_factory.mktemp("stack"), 1, command=command, environment=environment) as setup:
        with RedisBackend.connect(setup.url, replicas=1) as backend:
            backend.store_runs(RUNS)
        yield setup


@pytest.fixture
def backend(setup: SentinelSetup) -> Iterator[RedisBackend]:
    setup.settle()
    with RedisBackend.connect(setup.url, read_from="replica", timeout=10) as backend:
        yield backend


def replica(setup: SentinelSetup) -> int:
    return next(port for port in setup.ports if port != setup.primary())


def searches(setup: SentinelSetup, port: int) -> int:
    """How many searches and reads by key a server has answered."""
    stats = setup.client(port).info("commandstats")
    names = ("cmdstat_FT.SEARCH", "cmdstat_FT.AGGREGATE", "cmdstat_FT.CURSOR", "cmdstat_JSON.GET")
    return sum(found["calls"] for name, found in stats.items() if name.upper() in {each.upper() for each in names})


def ask_everything(backend: RedisBackend) -> None:
    assert backend.count_runs("agent = agent") == len(RUNS)
    assert backend.list_runs("agent") == RUNS
    assert [run.record for run in backend.stream_runs(order_by="started_at", page_size=40)] == RUNS
    assert backend.aggregate_runs(by="agent_id")[0]["count"] == len(RUNS)
    assert backend.load_run("agent", RUNS[7].id) == RUNS[7]
    assert backend.find_runs("agent = agent", order_by="started_at", limit=2)[0].record == RUNS[0]


def test_questions_go_to_the_replica_and_changes_to_the_primary(setup: SentinelSetup, backend: RedisBackend) -> None:
    primary, other = setup.primary(), replica(setup)
    before = searches(setup, primary), searches(setup, other)
    ask_everything(backend)
    # For a list, the primary is asked whether it has documents that its index refused.
    assert searches(setup, primary) <= before[0] + 1
    assert searches(setup, other) > before[1] + 10
    # What changes documents reads from the primary.
    before = searches(setup, primary), searches(setup, other)
    assert backend.runs.label_where("agent = agent and started_at < 2026-11-23T10:00:05Z", tags=["early"]) == 5
    extra = make_run("other", 1)
    backend.store_run(extra)
    assert backend.runs.delete("agent = other") == 1
    assert searches(setup, primary) > before[0]
    assert searches(setup, other) == before[1]


def test_a_replica_whose_link_is_down_is_not_asked(setup: SentinelSetup, backend: RedisBackend) -> None:
    """It would answer from what it had, as long as it is let (``replica-serve-stale-data``)."""
    other = replica(setup)
    ask_everything(backend)
    setup.client(other).execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        late = make_run("late", 1)
        backend.store_run(late)
        wait_until(lambda: backend.load_run("late", late.id) == late, 5)
        before = searches(setup, other)
        assert backend.count_runs("agent = late") == 1
        assert searches(setup, other) == before
        backend.runs.delete("agent = late")
    finally:
        setup.client(other).execute_command("REPLICAOF", "127.0.0.1", str(setup.primary()))
    setup.settle()


def test_an_index_that_the_replica_lacks_is_asked_of_the_primary(setup: SentinelSetup, backend: RedisBackend) -> None:
    port = replica(setup)
    other: Any = setup.client(port)
    other.config_set("replica-read-only", "no")
    (name,) = [each for each in other.execute_command("FT._LIST") if "run:idx" in each]
    other.execute_command("FT.DROPINDEX", name)
    ask_everything(backend)
    # A full synchronization brings the index back, and fills it.
    setup.kill(port)
    setup.start(port, "--replicaof", "127.0.0.1", str(setup.primary()))
    for _ in range(20):
        ask_everything(backend)
    setup.settle()
    before = searches(setup, port)
    wait_until(lambda: backend.count_runs() == len(RUNS) and searches(setup, port) > before, 10)


def test_without_replicas_the_primary_answers(setup: SentinelSetup, backend: RedisBackend) -> None:
    other = replica(setup)
    ask_everything(backend)
    setup.kill(other)
    for _ in range(5):
        ask_everything(backend)
    setup.start(other, "--replicaof", "127.0.0.1", str(setup.primary()))
    setup.settle()


def test_one_server_has_no_replicas_to_read_from(setup: SentinelSetup) -> None:
    with pytest.raises(InvalidConfigurationError, match="sentinel"):
        RedisBackend.connect(f"redis://127.0.0.1:{setup.primary()}", read_from="replica")
    with pytest.raises(InvalidConfigurationError, match="read_from"):
        RedisBackend.connect(setup.url, read_from="anywhere")  # type: ignore[arg-type]


def test_answers_stay_right_while_the_replica_is_promoted(setup: SentinelSetup, backend: RedisBackend) -> None:
    old = setup.primary()
    ask_everything(backend)
    wait_until(lambda: setup.fail_over() is None)  # the sentinels may not know yet that the replica is back
    while setup.primary() == old:
        ask_everything(backend)
    for _ in range(5):
        ask_everything(backend)
