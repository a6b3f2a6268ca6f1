"""The asynchronous half of the I/O seam: the only names in which the two generated halves differ (see `_io_sync`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry

__all__ = [
    "CONNECTIONS",
    "AnyIterable",
    "Attempt",
    "BlockingConnectionPool",
    "Redis",
    "Retry",
    "current_loop",
    "embedded_client",
    "iterate",
    "shielded",
    "sleep",
]

T = TypeVar("T")
Attempt = Callable[[], Awaitable[T]]
AnyIterable = Iterable[T] | AsyncIterable[T]
CONNECTIONS = {"redis": Connection, "rediss": SSLConnection, "unix": UnixDomainSocketConnection}
sleep = asyncio.sleep


def current_loop() -> object:
    """The running event loop: what connections are bound to."""
    return asyncio.get_running_loop()


async def shielded(awaitable: Any) -> Any:
    """Finish a clean-up step even when the task around it is being cancelled."""
    return await asyncio.shield(asyncio.ensure_future(awaitable))


def embedded_client(server: Any, **options: Any) -> Any:
    """A client of an embedded server, of this side's colour."""
    return server.async_client(**options)


async def iterate(items: AnyIterable[T]) -> AsyncIterator[T]:
    """The items of an iterable of either colour."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
