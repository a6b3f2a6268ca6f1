"""The ways to open a store: awaited or entered, by URL, client or path, and what its options may be."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models import errors
from relay_models.backend import RedisBackend
from relay_models.embedded import EmbeddedServer, serving_in_thread
from relay_models.embedded.search import commands
from relay_models.sync import RedisBackend as SyncRedisBackend
from tests.backend.stores import make_run


class MyBackend(RedisBackend):
    """A subclass, as applications write them."""

    greeting = "hello"


async def test_a_store_is_opened_by_entering_or_by_awaiting() -> None:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        client = server.async_client()
        for opening in (
            RedisBackend.connect(endpoint.url),
            RedisBackend.from_client(client),
            RedisBackend.embedded(),
        ):
            async with opening as backend:
                await backend.store_run(make_run("agent"))
                assert await backend.count_runs()
            with pytest.raises(errors.StorageError, match="closed"):
                await backend.count_runs()
        async with await RedisBackend.connect(endpoint.url) as backend:
            assert await backend.count_runs() == 2
        await client.aclose()


def test_a_sync_store_is_opened_by_entering() -> None:
    with SyncRedisBackend.embedded() as backend:
        assert backend.count_runs() == 0
    with pytest.raises(errors.StorageError, match="closed"):
        backend.count_runs()


async def test_a_subclass_is_opened_as_itself() -> None:
    async with MyBackend.embedded() as backend:
        assert backend.greeting == "hello"
    backend = await MyBackend.embedded()
    assert backend.greeting == "hello"
    await backend.close()


async def test_stores_are_opened_side_by_side() -> None:
    first, second = await asyncio.gather(RedisBackend.embedded(), asyncio.create_task(RedisBackend.embedded()))
    await first.close()
    await second.close()


def test_opening_is_a_coroutine_of_its_own() -> None:
    async def close(backend: RedisBackend) -> None:
        await backend.close()

    async def main() -> None:
        await close(await asyncio.wait_for(RedisBackend.embedded(), 30))

    asyncio.run(main())


async def test_the_file_is_free_after_a_failed_opening(tmp_path: Path) -> None:
    async with RedisBackend.embedded(tmp_path / "store.db", index_text=True):
        pass
    with pytest.raises(errors.InvalidConfigurationError):
        await RedisBackend.embedded(tmp_path / "store.db", index_text=False)
    async with RedisBackend.embedded(tmp_path / "store.db") as backend:
        assert backend.index_text


async def test_an_error_inside_the_block_closes_the_store() -> None:
    with pytest.raises(KeyError):
        async with RedisBackend.embedded() as backend:
            raise KeyError("mine")
    with pytest.raises(errors.StorageError, match="closed"):
        await backend.agents()


async def test_no_time_limit() -> None:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        async with RedisBackend.connect(endpoint.url, timeout=None, connect_timeout=None) as backend:
            await backend.store_run(make_run("agent"))
            assert await backend.count_runs() == 1
            assert len(await backend.list_runs("agent")) == 1
            assert len(await backend.find_runs()) == 1


@pytest.mark.parametrize(
    "option",
    [
        {"timeout": 0}, {"timeout": -1.0}, {"timeout": "soon"}, {"timeout": float("nan")}, {"connect_timeout": 0},
        {"retries": -1}, {"retries": 1.5}, {"max_connections": 0}, {"index_timeout": -1}, {"index_timeout": None},
        {"run_ttl": timedelta(0)}, {"run_ttl": 60}, {"index_text": "yes"}, {"key_prefix": "nul\0"},
    ],
    ids=str,
)  # fmt: skip
async def test_options_that_cannot_work(option: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidConfigurationError, match=next(iter(option)).replace("key_", "")):
        await RedisBackend.connect("redis://127.0.0.1:1", retries=option.pop("retries", 0), **option)


def test_an_index_that_lacked_memory_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    describe = commands.describe

    def without_memory(*arguments: Any) -> Any:
        """As Redis 8 describes an index that it has stopped filling."""
        found = describe(*arguments)
        found[b"Index Errors"][b"background indexing status"] = b"OOM failure"
        return found

    with EmbeddedServer() as server, server.client(protocol=3) as client:
        SyncRedisBackend.from_client(client, "memory:").store_run(make_run("a"))
        client.execute_command("FT.DROPINDEX", "memory:@run:idx:v3")
        monkeypatch.setattr(commands, "describe", without_memory)
        with pytest.raises(errors.StorageError, match="maxmemory"):
            SyncRedisBackend.from_client(client, "memory:")
        with pytest.raises(redis.ResponseError, match="No such index"):
            client.execute_command("FT.SEARCH", "memory:@run", "*")
        monkeypatch.undo()
        client.execute_command("FT.DROPINDEX", "memory:@run:idx:v3")
        assert SyncRedisBackend.from_client(client, "memory:").count_runs() == 1
