"""The async half of the I/O seam: all names whose meaning differs between async and sync code (see `_io_sync`)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import redis.asyncio
import redis.asyncio.connection
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.backoff
import redis.exceptions

from relay_models.errors import NotAwaitedError

__all__ = [
    "CONNECTIONS",
    "AnyIterable",
    "BlockingConnectionPool",
    "Lock",
    "Opening",
    "Operation",
    "Redis",
    "RedisCluster",
    "Sentinel",
    "SentinelConnectionPool",
    "as_opening",
    "cancellations",
    "current_loop",
    "embedded_client",
    "has_message",
    "heeding_cancellation",
    "iterate",
    "no_retry",
    "raise_cancellation",
    "read_reply",
    "shielded",
    "sleep",
]

T = TypeVar("T")
ResourceT = TypeVar("ResourceT", bound=AbstractAsyncContextManager[Any, Any])
Operation = Callable[[], Awaitable[T]]
AnyIterable = Iterable[T] | AsyncIterable[T]

# redis-om installs type stubs of a redis-py four major releases ago, which hide redis-py's own types.
_connection: Any = redis.asyncio.connection
_retry: Any = redis.asyncio.retry
_sentinel: Any = redis.asyncio.sentinel
_backoff: Any = redis.backoff
_client: Any = redis.asyncio

Redis = _client.Redis
RedisCluster = _client.RedisCluster
Sentinel = _sentinel.Sentinel
SentinelConnectionPool = _sentinel.SentinelConnectionPool
Lock = asyncio.Lock
BlockingConnectionPool = _connection.BlockingConnectionPool
CONNECTIONS: dict[str, Any] = {
    "redis": _connection.Connection,
    "rediss": _connection.SSLConnection,
    "unix": _connection.UnixDomainSocketConnection,
}
sleep = asyncio.sleep


def no_retry() -> Any:
    """Return redis-py's retry policy that never tries again: transports retry whole operations."""
    return _retry.Retry(_backoff.NoBackoff(), 0)


def current_loop() -> object:
    """Return the running event loop, to which connections are bound."""
    return asyncio.get_running_loop()


def cancellations() -> int:
    """Return how often the running task was asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def raise_cancellation(before: int) -> None:
    """Raise `asyncio.CancelledError` where the running task was asked to end more often than `before`."""
    if cancellations() > before:
        raise asyncio.CancelledError


async def heeding_cancellation(step: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run a step, and raise the cancellation that came meanwhile, where the step swallowed it.

    `asyncio.wait_for` of Python 3.11, with which redis-py sends, does that when its result comes at the same moment.
    """
    before = cancellations()
    result = await step(*arguments)
    raise_cancellation(before)
    return result


async def shielded(step: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
    """Run a clean-up step, to its end even when the task around it is being cancelled."""
    return await asyncio.shield(asyncio.ensure_future(step(*arguments, **options)))


async def has_message(connection: Any) -> bool:
    """Return whether something was received on a connection, or it was lost; never waits."""
    return bool(await connection.can_read())


async def read_reply(connection: Any, seconds: float) -> Any:
    """Read a reply on a connection, which stays as it is where none comes in time.

    Raises:
        TimeoutError: of redis-py.
    """
    try:
        async with asyncio.timeout(seconds):
            # Redis-py gives None for a reply that is late, as for one that is null.
            return await connection.read_response(disable_decoding=True, timeout=math.inf, disconnect_on_error=False)
    except TimeoutError:
        raise redis.exceptions.TimeoutError("no reply came in time") from None


def embedded_client(server: Any, **options: Any) -> Any:
    """Return an async client of an embedded server."""
    return server.async_client(**options)


async def iterate(items: AnyIterable[T]) -> AsyncIterator[T]:
    """Iterate over an iterable or an async iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


class Opening(Coroutine[Any, Any, ResourceT], AbstractAsyncContextManager[ResourceT, None]):
    """A resource that is being opened: await it to get it, or enter it with ``async with``, which also closes it.

    Example:
        ```python
        backend = await RedisBackend.connect(url)

        async with RedisBackend.connect(url) as backend:
            ...
        ```
    """

    def __init__(self, opened: Coroutine[Any, Any, ResourceT]) -> None:
        self._opened = opened
        self._resource: ResourceT | None = None

    def __await__(self) -> Generator[Any, None, ResourceT]:
        return self._opened.__await__()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise NotAwaitedError(
                f"there is no {name!r} before the backend is open: await it, as in backend = await "
                "RedisBackend.connect(url), or use the backend of relay_models.sync"
            )

    # The rest of a coroutine, for asyncio.create_task and asyncio.run.
    def send(self, value: Any) -> Any:
        """Continue the coroutine."""
        return self._opened.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error inside the coroutine."""
        return self._opened.throw(*error)

    def close(self) -> None:
        """Abandon the coroutine."""
        self._opened.close()

    async def __aenter__(self) -> ResourceT:
        self._resource = await self._opened
        await self._resource.__aenter__()
        return self._resource

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._resource is not None:
            await self._resource.__aexit__(kind, error, trace)


def as_opening(opened: Coroutine[Any, Any, ResourceT]) -> Opening[ResourceT]:
    """Let a coroutine that opens a resource be awaited or entered."""
    return Opening(opened)
