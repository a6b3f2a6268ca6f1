"""The synchronous half of the I/O seam: the only names in which the two generated halves differ (see `_io_async`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from redis import BlockingConnectionPool, Redis
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry

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
Attempt = Callable[[], T]
AnyIterable = Iterable
CONNECTIONS = {"redis": Connection, "rediss": SSLConnection, "unix": UnixDomainSocketConnection}
sleep = time.sleep


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
