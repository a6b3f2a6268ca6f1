"""A plain Redis as NeMo Relay uses it, a store to import into, and the captured deployment."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import redis

from relay_models import RedisBackend
from tests.native.servers import PlainRedis, need_redis_server


@pytest.fixture(scope="session")
def plain_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainRedis]:
    """A redis-server without modules."""
    need_redis_server()
    server = PlainRedis(tmp_path_factory.mktemp("plain-redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def source(plain_redis: PlainRedis) -> Iterator[redis.Redis]:
    """A client of an empty database 3: NeMo Relay's, for a test."""
    with plain_redis.client(db=3) as client:
        client.flushdb()
        yield client


@pytest.fixture
def source_url(plain_redis: PlainRedis) -> str:
    return f"{plain_redis.url}/3"


@pytest_asyncio.fixture
async def store() -> AsyncIterator[RedisBackend]:
    """An empty store: on the real server where there is one, else embedded."""
    url = os.environ.get("RELAY_MODELS_TEST_REDIS_URL")
    prefix = f"native-{uuid.uuid4().hex}:"
    backend = await (RedisBackend.connect(url, prefix) if url else RedisBackend.embedded(None, prefix))
    async with backend:
        yield backend
        if url:
            for name in await backend.client.execute_command("FT._LIST"):
                if name.decode().startswith(prefix):
                    await backend.client.execute_command("FT.DROPINDEX", name, "DD")
            async for key in backend.client.scan_iter(match=f"{prefix}*", count=1000):
                await backend.client.delete(key)


@pytest.fixture
def deployment(source: redis.Redis, capture: list[dict[str, Any]]) -> redis.Redis:
    """The captured deployment, as it was."""
    fill(source, capture)
    return source


def fill(client: redis.Redis, capture: list[dict[str, Any]]) -> None:
    """Write captured keys into a Redis."""
    pipeline = client.pipeline(transaction=False)
    for line in capture:
        if line["type"] == "list":
            pipeline.rpush(line["key"], *line["value"])
        else:
            pipeline.set(line["key"], line["value"])
    pipeline.execute()
