# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/single_server.py by scripts/generate_sync.py: change that, not this.
"""SingleServerTransport: pooled connections to one server, with bounded retries and mapped errors."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

from redis.exceptions import RedisError, ResponseError

from relay_models.errors import InvalidConfigurationError, StorageError
from relay_models.transport._sync.interface import Command
from relay_models.transport._io_sync import Operation, current_loop, make_retry, shielded
from relay_models.transport.error_mapping import is_retryable, translate
from relay_models.transport.transaction import expanded, gathered
from relay_models.transport.urls import Target

__all__ = ["PipelinedConnection", "SingleServerTransport"]

# Seconds after which a connection goes through its pool again, which checks that it is alive and renews its login.
_CHECK_INTERVAL = 1.0

T = TypeVar("T")


class SingleServerTransport:
    """Sends commands to one server, through the connection pool of a redis-py client.

    Args:
        client: the redis-py client.
        target: where it connects to, and what must not be shown.
        retries: maximum number of further attempts after a lost connection, with exponential backoff.
        timeout: how long the client waits for a reply (seconds), None for no limit.
        owns_client: whether `close` closes the client. If it does, one connection is also kept out of the pool
            between two operations: a trip through the pool costs as much as an operation.
        on_close: called at the end of `close`.
    """

    def __init__(
        self,
        client: Any,
        target: Target,
        retries: int,
        *,
        timeout: float | None = None,
        owns_client: bool = True,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.client = client
        self.target = target
        self.timeout = timeout
        self.retries = retries
        self.reconnects = 0
        self.is_closed = False
        self._pool = client.connection_pool
        self._owns_client = owns_client
        self._on_close = on_close
        self._retry = make_retry(retries)
        self._loop: object = None
        self._registered: WeakSet[Any] = WeakSet()
        # A connection is cached only while the pool has another one left: a caller may be waiting for its last one.
        self._maximum_in_use = self._pool.max_connections if owns_client else 0
        self._pid = os.getpid()
        self._cached: list[Any] = []
        # When each connection in use (or cached) left the pool, on the monotonic clock.
        self._acquired_at: dict[Any, float] = {}

    def execute(self, *command: bytes | str | int) -> Any:
        """Send one command and return its reply; see `Transport.execute`."""
        (reply,) = self.pipeline((command,))
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command)
        return reply

    def execute_once(self, *command: bytes | str | int) -> Any:
        """Send one command that must not be sent twice; see `Transport.execute_once`."""
        (reply,) = self.pipeline((command,), retry=False)
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command)
        return reply

    def pipeline(self, commands: Sequence[Command], *, retry: bool = True) -> list[Any]:
        """Send several commands at once and return their replies; see `Transport.pipeline`."""

        def exchange() -> list[Any]:
            connection = self.acquire(checked=not retry)
            try:
                connection.send_packed_command(connection.pack_commands(expanded(commands)))
                replies = _read_replies(connection, commands)
            except BaseException:
                self.discard(connection)
                raise
            self.release(connection)
            return replies

        return self.run(exchange, commands[0], retry=retry)

    def begin(self, command: Command) -> Any:
        """Send a command without waiting for its reply; see `Transport.begin`."""

        def send() -> Any:
            connection = self.acquire(checked=True)
            try:
                connection.send_packed_command(connection.pack_commands((command,)))
            except BaseException:
                self.discard(connection)
                raise
            return connection

        return self.run(send, command, retry=False)

    def finish(self, pending: Any, command: Command) -> Any:
        """Return the reply to what `begin` sent; see `Transport.finish`."""

        def receive() -> Any:
            try:
                (reply,) = _read_replies(pending, (command,))
            except BaseException:
                self.discard(pending)
                raise
            self.release(pending)
            return reply

        reply = self.run(receive, command, retry=False)
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command)
        return reply

    def conversation(self) -> PipelinedConnection:
        """Return a pipeline over one connection; see `Transport.conversation`."""
        return PipelinedConnection(self)

    def run(self, operation: Operation[T], command: Command | None = None, *, retry: bool = True) -> T:
        """Run an operation on the server, again after lost connections if it may `retry`, and map its errors."""
        if self.is_closed:
            raise StorageError(f"this backend of {self.target.label} is closed")
        try:
            if not retry:
                return operation()
            result: T = self._retry.call_with_retry(operation, _ignore, is_retryable=is_retryable)
            return result
        except (RedisError, OSError) as error:
            failure = translate(error, self.target, command)
        # Raised outside the handler: the driver's error may quote a password, and would be attached as __context__.
        raise failure

    def acquire(self, *, checked: bool = False) -> Any:
        """Take a connection: the cached one, or one from the pool, which is sure to be alive (`checked`)."""
        loop = current_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise InvalidConfigurationError(
                "this backend belongs to another event loop: connect one per loop, "
                "or use relay_models.sync, whose backends serve any thread"
            )
        if self._pid != os.getpid():  # after a fork these belong to the parent
            self._pid, self._cached, self._acquired_at = os.getpid(), [], {}
        while self._cached:
            try:
                connection = self._cached.pop()
            except IndexError:  # another thread was faster
                break
            if not checked and self._is_fresh(connection):
                return connection
            self._give_back(connection)
        connection = self._pool.get_connection()
        self._acquired_at[connection] = time.monotonic()
        if connection not in self._registered:
            self._registered.add(connection)
            connection.register_connect_callback(self._reconnected)
        return connection

    def discard(self, pending: Any) -> None:
        """Give back a connection on which replies may be outstanding: closed first, even while being cancelled."""
        try:
            shielded(pending.disconnect, nowait=True)
        finally:
            shielded(self._give_back, pending)

    def release(self, connection: Any) -> None:
        """Give back a connection whose replies have all been read, to the cache or to the pool."""
        if not self._cached and len(self._acquired_at) < self._maximum_in_use and self._is_fresh(connection):
            self._cached.append(connection)
        else:
            self._give_back(connection)

    def _is_fresh(self, connection: Any) -> bool:
        """Whether the pool has checked a connection a short time ago."""
        return time.monotonic() - self._acquired_at.get(connection, float("-inf")) < _CHECK_INTERVAL

    def _give_back(self, connection: Any) -> Any:
        self._acquired_at.pop(connection, None)
        return self._pool.release(connection)

    def close(self) -> None:
        """Close the connections, if the client is this transport's own. Closing twice does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        try:
            if self._owns_client:
                self.client.close()
                self._pool.disconnect()
        finally:
            if self._on_close is not None:
                self._on_close()

    def _reconnected(self, connection: Any) -> None:
        self.reconnects += 1


class PipelinedConnection:
    """A pipeline over one connection of a single server; see `Pipeline`."""

    def __init__(self, transport: SingleServerTransport) -> None:
        self._transport = transport
        self._connection: Any = None
        self._outstanding: deque[Sequence[Command]] = deque()
        self._sent = 0

    def __enter__(self) -> PipelinedConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is None:
            return
        if self._outstanding:
            self._drop()
        else:
            connection, self._connection = self._connection, None
            self._transport.release(connection)

    def send(self, commands: Sequence[Command]) -> None:
        """Send a batch; see `Pipeline.send`."""
        self._outstanding.append(commands)
        self._transport.run(self._push, commands[0])

    def receive(self) -> list[Any]:
        """Return the replies to the oldest batch; see `Pipeline.receive`."""
        commands = self._outstanding[0]
        replies = self._transport.run(self._pull, commands[0])
        self._outstanding.popleft()
        return replies

    def _push(self) -> None:
        if self._connection is None:
            self._connection = self._transport.acquire()
        try:
            while self._sent < len(self._outstanding):
                commands = self._outstanding[self._sent]
                self._sent += 1
                self._connection.send_packed_command(self._connection.pack_commands(expanded(commands)))
        except BaseException:
            self._drop()
            raise

    def _pull(self) -> list[Any]:
        self._push()
        try:
            replies = _read_replies(self._connection, self._outstanding[0])
        except BaseException:
            self._drop()
            raise
        self._sent -= 1
        return replies

    def _drop(self) -> None:
        connection, self._connection, self._sent = self._connection, None, 0
        self._transport.discard(connection)


def _read_replies(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """Read the replies to commands as bytes; an error reply is returned, a lost connection is raised."""
    replies: list[Any] = []
    for _ in expanded(commands):
        try:
            replies.append(connection.read_response(disable_decoding=True))
        except ResponseError as error:
            replies.append(error)
    return gathered(commands, replies)


def _ignore(error: Exception) -> None:
    """A failed operation has closed its connection already."""
