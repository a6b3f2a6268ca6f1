"""The asynchronous half of the I/O seam: the only names in which the two generated halves differ (see `_io_sync`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import redis.asyncio.connection
import redis.asyncio.retry
import redis.backoff

__all__ = [
    "CONNECTIONS",
    "AnyIterable",
    "Attempt",
    "BlockingConnectionPool",
    "Redis",
    "current_loop",
    "embedded_client",
    "iterate",
    "make_retry",
    "shielded",
    "sleep",
]

T = TypeVar("T")
Attempt = Callable[[], Awaitable[T]]
AnyIterable = Iterable[T] | AsyncIterable[T]

# redis-om installs type stubs of a redis-py four major releases ago, so redis-py's own types cannot be had here.
_connection: Any = redis.asyncio.connection
_retry: Any = redis.asyncio.retry
_backoff: Any = redis.backoff
_client: Any = redis.asyncio

Redis = _client.Redis
BlockingConnectionPool = _connection.BlockingConnectionPool
CONNECTIONS: dict[str, Any] = {
    "redis": _connection.Connection,
    "rediss": _connection.SSLConnection,
    "unix": _connection.UnixDomainSocketConnection,
}
sleep = asyncio.sleep

# The first pause between attempts and the longest one, in seconds; NeMo Relay's connection manager begins so, too.
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


def make_retry(retries: int) -> Any:
    """redis-py's own retrying: `retries` further attempts, with pauses that double up to a limit and vary at random."""
    return _retry.Retry(_backoff.ExponentialWithJitterBackoff(base=_PAUSE, cap=_LONGEST_PAUSE), retries)


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
