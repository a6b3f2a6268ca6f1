"""A cancellation that redis-py swallows still ends a task: `asyncio.wait_for` of Python 3.11 does so now and then."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio

from relay_models import RedisBackend
from relay_models.embedded import EmbeddedServer, serving_in_thread
from relay_models.native import follow_native
from relay_models.transport import ConnectionOptions, open_url
from tests.servers.sentinels import SentinelSetup
from tests.servers.simulated_cluster import SimulatedCluster


class Swallower:
    """Cancels a task in the middle of its n-th connecting or sending, which goes on as if nothing had happened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.left = 0
        for name in ("connect", "send_packed_command"):
            self._wrap(monkeypatch, name)

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        original = getattr(redis.asyncio.Connection, name)

        async def swallows(connection: Any, *arguments: Any, **options: Any) -> Any:
            task = asyncio.current_task()
            if task is self.task and task is not None:
                self.left -= 1
                if self.left == 0:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()
                assert self.left > -100, "the task goes on"
            return await original(connection, *arguments, **options)

        monkeypatch.setattr(redis.asyncio.Connection, name, swallows)

    async def end(self, work: Callable[[], Awaitable[Any]], at: int) -> None:
        """Run endless work and see that it ends."""
        self.left = at
        self.task = asyncio.create_task(_forever(work))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(self.task), 30)
        assert self.left <= 0, "nothing was cancelled"


async def _forever(work: Callable[[], Awaitable[Any]]) -> None:
    while True:
        await work()


@pytest.fixture
def swallower(monkeypatch: pytest.MonkeyPatch) -> Swallower:
    return Swallower(monkeypatch)


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield endpoint.url


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not shutil.which("redis-server"):
        pytest.skip("needs redis-server (Debian: apt install redis-server)")
    with SentinelSetup(tmp_path_factory.mktemp("sentinels")) as setup:
        yield setup.url


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with SimulatedCluster() as simulated:
        yield simulated.url


@pytest.mark.parametrize("at", range(1, 9))
@pytest.mark.parametrize("where", ["served", "cluster", "sentinels"])
async def test_every_command_ends_a_cancelled_task(
    request: pytest.FixtureRequest, swallower: Swallower, where: str, at: int
) -> None:
    transport = open_url(request.getfixturevalue(where), ConnectionOptions(timeout=10, retries=0))
    try:
        await swallower.end(lambda: transport.execute("GET", "key"), at)
        assert await transport.execute("GET", "key") is None
    finally:
        await transport.close()


@pytest.fixture
async def backend(served: str) -> AsyncIterator[RedisBackend]:
    async with await RedisBackend.connect(served, "swallowed:") as backend:
        yield backend


@pytest.mark.parametrize("at", [1, 2, 3, 7])
@pytest.mark.parametrize("what", ["runs", "plans"])
async def test_watching_ends(backend: RedisBackend, swallower: Swallower, what: str, at: int) -> None:
    async def watch() -> None:
        async for _ in getattr(backend, what).watch(interval=0.001):
            pass

    await swallower.end(watch, at)


@pytest.mark.parametrize("at", [1, 2, 3, 7])
async def test_following_ends(backend: RedisBackend, served: str, swallower: Swallower, at: int) -> None:
    await swallower.end(lambda: follow_native(served, backend, poll=0.001), at)
