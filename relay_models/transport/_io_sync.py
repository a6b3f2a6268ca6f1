"""The sync half of the I/O seam: all names whose meaning differs between async and sync code (see `_io_async`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import redis.backoff
import redis.connection
import redis.retry

__all__ = [
    "CONNECTIONS",
    "AnyIterable",
    "BlockingConnectionPool",
    "Opening",
    "Operation",
    "Redis",
    "as_opening",
    "current_loop",
    "embedded_client",
    "iterate",
    "make_retry",
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
_backoff: Any = redis.backoff
_client: Any = redis

Redis = _client.Redis
BlockingConnectionPool = _connection.BlockingConnectionPool
CONNECTIONS: dict[str, Any] = {
    "redis": _connection.Connection,
    "rediss": _connection.SSLConnection,
    "unix": _connection.UnixDomainSocketConnection,
}
sleep = time.sleep

# First and longest backoff (seconds); NeMo Relay's connection manager begins with the same one.
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 2.0


def make_retry(retries: int) -> Any:
    """Return redis-py's retry policy: `retries` further attempts, with bounded exponential backoff and jitter."""
    return _retry.Retry(_backoff.ExponentialWithJitterBackoff(base=_FIRST_BACKOFF, cap=_LONGEST_BACKOFF), retries)


def current_loop() -> object:
    """Return None: blocking connections serve any thread."""
    return None


def shielded(step: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Run a clean-up step."""
    return step(*arguments, **options)


def embedded_client(server: Any, **options: Any) -> Any:
    """Return a sync client of an embedded server."""
    return server.client(**options)


def iterate(items: Iterable[T]) -> Iterable[T]:
    """Return the items; the async half also takes async iterables."""
    return items


def as_opening(opened: T) -> T:
    """Return a resource, which is open already."""
    return opened
