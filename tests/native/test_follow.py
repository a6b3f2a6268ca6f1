"""Following a live deployment: soon in the store, cheap when idle, and complete after everything has been killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models import RedisBackend
from relay_models.errors import ConnectionFailedError, PermissionDeniedError
from relay_models.native import Follower, NativeKeys, export_native, follow_native
from relay_models.native._async import follower
from relay_models.records import AccumulatorState, ExecutionPlan, MetadataEnvelope, RunRecord, Timestamp, to_json
from relay_models.sync import RedisBackend as SyncBackend
from tests.native.servers import PlainRedis, Served, need_redis_server
from tests.native.test_import import assert_same, store_natively

KEYS = NativeKeys()


@contextlib.asynccontextmanager
async def following(source_url: str, store: RedisBackend, **options: Any) -> Any:
    follower = Follower(source_url, store, poll=0.05, **options)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
        assert not task.done() or task.exception() is None
    finally:
        follower.stop()
        await asyncio.wait([task], timeout=10)


async def eventually(check: Any, seconds: float = 10.0) -> None:
    """Wait until `check` is true."""
    began = time.monotonic()
    while not await check():
        assert time.monotonic() - began < seconds, "it did not come about"
        await asyncio.sleep(0.02)


def make_plan(agent_id: str, number: int) -> bytes:
    envelope = MetadataEnvelope(agent_id=agent_id, extensions={"number": number})
    return to_json(ExecutionPlan(agent_id=agent_id, parallel_groups=[], metadata_template=envelope))


async def test_what_is_new_can_be_queried_soon(source: redis.Redis, source_url: str, store: RedisBackend) -> None:
    store_natively(source, RunRecord(agent_id="known"))
    async with following(source_url, store) as follower:
        for agent_id in ("known", "known", "new: agent"):
            run = RunRecord(agent_id=agent_id, ended_at=Timestamp.now())
            store_natively(source, run)

            async def found(run: RunRecord = run) -> bool:
                return run.id in {found.id for found in await store.list_runs(run.agent_id)}

            await eventually(found)
        source.set(KEYS.artifact("plan", "known"), make_plan("known", 1))

        async def has_plan() -> bool:
            return await store.load_plan("known") is not None

        await eventually(has_plan)
        source.set(KEYS.artifact("plan", "known"), make_plan("known", 2))

        async def has_second_plan() -> bool:
            plan = await store.load_plan("known")
            return plan is not None and plan.metadata_template.extensions == {"number": 2}

        await eventually(has_second_plan)

        async def is_counted() -> bool:
            # A document is there before it is counted.
            found = follower.metrics
            return (found.runs, found.artifacts) == (4, 2)

        await eventually(is_counted)
        metrics = follower.metrics
        assert (metrics.errors, metrics.bad) == (0, 0)
        assert metrics.lag_seconds is not None
        assert metrics.seconds_out_of_step() is not None
    await assert_same(source, store)


async def test_an_idle_follower_asks_little(deployment: redis.Redis, source_url: str, store: RedisBackend) -> None:
    follower = Follower(source_url, store)
    await follower.look()
    before = deployment.info("commandstats")
    for _ in range(20):
        await follower.look()
    after = deployment.info("commandstats")
    await follower.close()

    def calls(command: str) -> int:
        name = f"cmdstat_{command}"
        return after.get(name, {"calls": 0})["calls"] - before.get(name, {"calls": 0})["calls"]

    assert calls("dbsize") == 20
    assert calls("llen") == calls("lindex") == 20 * 5
    assert calls("scan") == calls("lrange") == calls("get") == 0
    assert calls("mget") <= 4  # the artefacts of agents that have just had a run, once a second


async def test_a_follower_takes_up_where_the_last_one_was(
    source: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    for number in range(3):
        store_natively(source, RunRecord(agent_id="a", number=number))
        follower = Follower(source_url, store)
        await follower.look()
        assert follower.metrics.runs == 1
        await follower.close()
    await assert_same(source, store)


async def test_lists_that_are_kept_short_or_begun_anew_are_followed(
    source: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    follower = Follower(source_url, store)
    for _ in range(5):
        store_natively(source, RunRecord(agent_id="a"))
    await follower.look()
    for number in range(3):
        store_natively(source, RunRecord(agent_id="a"))
        source.ltrim(KEYS.run_index("a"), -5, -1)
        await follower.look()
        assert len(await store.list_runs("a")) == 6 + number
    source.flushdb()
    await follower.look()
    for _ in range(5):
        store_natively(source, RunRecord(agent_id="a"))

    async def found_again() -> bool:
        # Keys are walked over only so often, so the first look may come too soon after the last walk.
        await follower.look()
        return len(await store.list_runs("a")) == 13

    await eventually(found_again)
    assert follower.metrics.runs == 13
    source.delete(KEYS.run_index("a"))
    source.set(KEYS.run_index("a"), "no list")
    await follower.look()
    await follower.close()


async def test_a_store_that_was_emptied_is_filled_anew(
    source: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    follower = Follower(source_url, store)
    for agent_id in ("a", "a", "b"):
        store_natively(source, RunRecord(agent_id=agent_id))
    source.set(KEYS.artifact("plan", "a"), make_plan("a", 1))
    await follower.look()
    await store.transport.execute("FLUSHALL")
    assert await store.count_runs() == 0
    follower._checked_at = float("-inf")  # a minute later
    await follower.look()
    await follower.look()
    assert await store.count_runs() == 3
    await assert_same(source, store)
    await follower.close()


async def test_what_waiting_cannot_mend_is_raised(plain_redis: PlainRedis, store: RedisBackend) -> None:
    with plain_redis.client() as client:
        client.acl_setuser("narrow", enabled=True, passwords=["+s3cret"], commands=["+ping"])
    with pytest.raises(PermissionDeniedError) as caught:
        await follow_native(f"redis://narrow:s3cret@127.0.0.1:{plain_redis.port}", store)
    assert "s3cret" not in str(caught.value)


def load(source: PlainRedis, stop: threading.Event, stored: list[str]) -> None:
    """NeMo Relay under load: runs of three agents, stored again at times, and their plans; outages are endured."""
    number = 0
    with source.client() as client:
        while not stop.is_set():
            number += 1
            run = RunRecord(agent_id=f"agent {number % 3}", ended_at=Timestamp.now(), text="x" * 500)
            for content in (run, run.model_copy(update={"again": True}))[: 1 + (number % 7 == 0)]:
                with contextlib.suppress(redis.RedisError):
                    store_natively(client, content)
                    stored.append(str(run.id))
                with contextlib.suppress(redis.RedisError):
                    client.set(KEYS.artifact("plan", run.agent_id), make_plan(run.agent_id, number))
                    client.set(KEYS.artifact("accumulators", run.agent_id), to_json(AccumulatorState()))
            time.sleep(0.002)


async def test_killing_both_servers_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    need_redis_server()
    directories = tmp_path / "source", tmp_path / "target"
    for directory in directories:
        directory.mkdir()
    source, target = PlainRedis(directories[0]), Served(directories[1])
    stop, stored = threading.Event(), list[str]()
    writer = threading.Thread(target=load, args=(source, stop, stored))
    try:
        source.start()
        target.start()
        store = await RedisBackend.connect(target.url, "followed:", retries=1)
        writer.start()
        async with store, following(source.url, store, retries=1) as follower:
            for victim in (source, target, source, target):
                count = len(stored)

                async def more(count: int = count) -> bool:
                    return len(stored) > count + 100

                await eventually(more, 30)
                await asyncio.to_thread(victim.kill)
                await asyncio.sleep(0.2)
                await asyncio.to_thread(victim.start)
            await eventually(more, 30)
            stop.set()
            await asyncio.to_thread(writer.join)

            with source.client() as client:
                listed = {
                    agent: client.lrange(KEYS.run_index(agent), 0, -1) for agent in ("agent 0", "agent 1", "agent 2")
                }
                assert set(stored) <= {entry.decode() for entries in listed.values() for entry in entries}

                async def complete() -> bool:
                    if follower.metrics.behind or sum(map(len, listed.values())) == 0:
                        return False
                    with contextlib.suppress(AssertionError):
                        await assert_same(client, store)
                        return True
                    return False

                await eventually(complete, 60)
                await assert_same(client, store)
            assert follower.metrics.errors > 0
            assert {agent.agent_id: agent.runs for agent in await store.agents()} == {
                agent: len(set(entries)) for agent, entries in listed.items()
            }
    finally:
        stop.set()
        source.kill()
        target.kill()


async def test_an_export_outlives_its_target(tmp_path: Path, store: RedisBackend) -> None:
    need_redis_server()
    runs = [RunRecord(agent_id="a", text="x" * 2000) for _ in range(3000)]
    await store.store_runs(runs)
    plan = ExecutionPlan(agent_id="a", parallel_groups=[], metadata_template=MetadataEnvelope(agent_id="a"))
    await store.store_plan(plan)
    target = PlainRedis(tmp_path)
    try:
        target.start()
        exporting = asyncio.create_task(export_native(store, target.url, retries=8))
        with target.client() as client:

            async def begun() -> bool:
                return client.llen(KEYS.run_index("a")) > 300

            await eventually(begun)
        await asyncio.to_thread(target.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(target.start)
        report = await exporting
        assert report.runs == 3000
        with target.client() as client:
            assert client.lrange(KEYS.run_index("a"), 0, -1) == [str(run.id).encode() for run in runs]
            assert client.exists(*(KEYS.run("a", run.id) for run in runs)) == 3000
        await asyncio.to_thread(target.kill)
        with pytest.raises(ConnectionFailedError):
            await export_native(store, target.url, retries=1)
    finally:
        target.kill()


async def test_servers_that_are_away_at_the_start_are_waited_for(tmp_path: Path, store: RedisBackend) -> None:
    need_redis_server()
    source = PlainRedis(tmp_path)
    try:
        async with following(source.url, store, retries=0) as follower:

            async def tried() -> bool:
                return follower.metrics.errors > 0

            await eventually(tried)
            assert "127.0.0.1" in (follower.metrics.last_error or "")
            await asyncio.to_thread(source.start)
            with source.client() as client:
                store_natively(client, RunRecord(agent_id="a"))

            async def there() -> bool:
                return len(await store.list_runs("a")) == 1

            await eventually(there)
    finally:
        source.kill()


def test_a_synchronous_follower_ends_when_told(source: redis.Redis, source_url: str) -> None:
    from relay_models.native import sync

    store_natively(source, RunRecord(agent_id="a"))
    with SyncBackend.embedded() as store:
        follower = sync.Follower(source_url, store, poll=0.01, on_pass=lambda metrics: follower.stop())
        follower.run()
        assert [json.loads(to_json(run))["agent_id"] for run in store.list_runs("a")] == ["a"]
    with SyncBackend.embedded() as store, pytest.raises(ConnectionFailedError):
        sync.import_native("redis://127.0.0.1:1", store, retries=0)


async def test_a_swallowed_cancellation_ends_a_follower(
    source_url: str, store: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = 0

    async def swallows(seconds: float) -> None:
        """Wait as `asyncio.wait_for` of Python 3.11 does when its result and a cancellation come at once."""
        nonlocal waits
        waits += 1
        assert waits < 10, "it goes on"
        task = asyncio.current_task()
        assert task is not None
        if waits == 3:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    monkeypatch.setattr(follower, "sleep", swallows)
    task = asyncio.create_task(follow_native(source_url, store))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert waits == 3
