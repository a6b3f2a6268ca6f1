"""The synchronous half of the I/O seam: the only names in which the two generated halves differ (see `_io_async`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import redis.backoff
import redis.connection
import redis.retry

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
Attempt = Callable[[], T]
AnyIterable = Iterable

# redis-om installs type stubs of a redis-py four major releases ago, so redis-py's own types cannot be had here.
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

# The first pause between attempts and the longest one, in seconds; NeMo Relay's connection manager begins so, too.
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


def make_retry(retries: int) -> Any:
    """redis-py's own retrying: `retries` further attempts, with pauses that double up to a limit and vary at random."""
    return _retry.Retry(_backoff.ExponentialWithJitterBackoff(base=_PAUSE, cap=_LONGEST_PAUSE), retries)


def current_loop() -> object:
    """Nothing: blocking connections serve any thread."""
    return None


def shielded(result: Any) -> Any:
    """The clean-up step, which has run by now."""
    return result


def embedded_client(server: Any, **options: Any) -> Any:
    """A client of an embedded server, of this side's colour."""
    return server.client(**options)


def iterate(items: Iterable[T]) -> Iterable[T]:
    """The items themselves; the asynchronous half takes two colours of iterables."""
    return items
