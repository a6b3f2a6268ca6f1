"""The sync half of the I/O seam: all names whose meaning differs between async and sync code (see `_io_async`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import redis
import redis.backoff
import redis.connection
import redis.retry
import redis.sentinel

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
Operation = Callable[[], T]
AnyIterable = Iterable
# A sync resource is open when the function returns.
Opening = Annotated[T, "open"]

# redis-om installs type stubs of a redis-py four major releases ago, which hide redis-py's own types.
_connection: Any = redis.connection
_retry: Any = redis.retry
_sentinel: Any = redis.sentinel
_backoff: Any = redis.backoff
_client: Any = redis

Redis = _client.Redis
RedisCluster = _client.RedisCluster
Sentinel = _sentinel.Sentinel
SentinelConnectionPool = _sentinel.SentinelConnectionPool
Lock = threading.Lock
BlockingConnectionPool = _connection.BlockingConnectionPool
CONNECTIONS: dict[str, Any] = {
    "redis": _connection.Connection,
    "rediss": _connection.SSLConnection,
    "unix": _connection.UnixDomainSocketConnection,
}
sleep = time.sleep


def no_retry() -> Any:
    """Return redis-py's retry policy that never tries again: transports retry whole operations."""
    return _retry.Retry(_backoff.NoBackoff(), 0)


def current_loop() -> object:
    """Return None: blocking connections serve any thread."""
    return None


def cancellations() -> int:
    """Return 0: threads are not cancelled."""
    return 0


def raise_cancellation(before: int) -> None:
    """Do nothing: threads are not cancelled."""


def heeding_cancellation(step: Callable[..., T], *arguments: Any) -> T:
    """Run a step."""
    return step(*arguments)


def shielded(step: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Run a clean-up step."""
    return step(*arguments, **options)


def has_message(connection: Any) -> bool:
    """Return whether something was received on a connection, or it was lost; never waits."""
    return bool(connection.can_read(timeout=0))


def read_reply(connection: Any, seconds: float) -> Any:
    """Read a reply on a connection, which stays as it is where none comes in time.

    Raises:
        TimeoutError: of redis-py.
    """
    return connection.read_response(disable_decoding=True, timeout=seconds, disconnect_on_error=False)


def embedded_client(server: Any, **options: Any) -> Any:
    """Return a sync client of an embedded server."""
    return server.client(**options)


def iterate(items: Iterable[T]) -> Iterable[T]:
    """Return the items; the async half also takes async iterables."""
    return items


def as_opening(opened: T) -> T:
    """Return a resource, which is open already."""
    return opened
