# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/single_server.py by scripts/generate_sync.py: change that, not this.
"""SingleServerTransport: pooled connections to one server, with bounded retries and mapped errors."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

from redis.exceptions import (
    ConnectionError as RedisConnectionError,
    RedisError,
    ResponseError,
)

from relay_models.errors import InvalidConfigurationError, StorageError
from relay_models.transport._sync.interface import Command
from relay_models.transport._sync.patience import Patience
from relay_models.transport._io_sync import (
    Operation,
    cancellations,
    current_loop,
    heeding_cancellation,
    raise_cancellation,
    read_reply,
    shielded,
    sleep,
)
from relay_models.transport.backoff import Backoff
from relay_models.transport.command_table import is_write, key_of
from relay_models.transport.error_mapping import Busy, NotReplicated, is_retryable, mapped_errors, translate
from relay_models.transport.time_limit import time_left, time_limit, without_time_limit
from relay_models.transport.transaction import expanded, gathered
from relay_models.transport.urls import Target

__all__ = ["PipelinedConnection", "SingleServerTransport", "ask_connection"]

# Seconds after which a connection goes through its pool again, which checks that it is alive and renews its login.
_CHECK_INTERVAL = 1.0
# First and longest backoff (seconds); NeMo Relay's connection manager begins with the same one.
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 2.0
# Longest WAIT (seconds): between two of them is looked whether the primary is another one by now.
_WAIT_SLICE = 0.25
# The shortest wait for a reply (seconds).
_SHORTEST = 0.01

# Bytes of commands that are copied into one piece.
_ONE_PIECE = 65_536

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
        replicas: how many replicas must have every write before it is acknowledged.
        replica_timeout: maximum wait for them (seconds).
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
        replicas: int = 0,
        replica_timeout: float = 5.0,
    ) -> None:
        self.client = client
        self.target = target
        self.timeout = timeout
        self.retries = retries
        self.ordered_rows: int | None = None
        self.reconnects = 0
        self.is_closed = False
        self._pool = client.connection_pool
        self._owns_client = owns_client
        self._on_close = on_close
        self._replicas = replicas
        self._replica_timeout = replica_timeout
        self._loop: object = None
        self._registered: WeakSet[Any] = WeakSet()
        # A connection is cached only while the pool has another one left: a caller may be waiting for its last one.
        self._maximum_in_use = self._pool.max_connections if owns_client else 0
        self._pid = os.getpid()
        self._cached: list[Any] = []
        # When each connection in use (or cached) left the pool, on the monotonic clock.
        self._acquired_at: dict[Any, float] = {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """redis-py's options of a connection."""
        settings: Mapping[str, Any] = self._pool.connection_kwargs
        return settings

    def execute(self, *command: bytes | str | int) -> Any:
        """Send one command and return its reply; see `Transport.execute`."""
        (reply,) = self.pipeline((command,))
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command)
        return reply

    @property
    def is_cluster(self) -> bool:
        """Whether keys are on several servers; they are not."""
        return False

    def read(self, *command: bytes | str | int) -> Any:
        """Send one command that changes nothing; see `Transport.read`."""
        return self.execute(*command)

    def read_many(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands that change nothing; see `Transport.read_many`."""
        return self.pipeline(commands)

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
                self.send(connection, commands)
                replies = self.receive(connection, commands)
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
                self.send(connection, (command,))
            except BaseException:
                self.discard(connection)
                raise
            return connection

        return self.run(send, command, retry=False)

    def finish(self, pending: Any, command: Command, *, patience: Patience | None = None) -> Any:
        """Return the reply to what `begin` sent; see `Transport.finish`."""

        def receive() -> Any:
            try:
                (reply,) = self.receive(pending, (command,), patience=patience)
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
        failures, began = 0, time.monotonic()
        backoff = Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        limit: float | None = None  # the first attempt has the time limit of its connection
        while True:
            try:
                with time_limit(limit):
                    return operation()
            except (RedisError, OSError) as error:
                failures += 1
                elapsed = time.monotonic() - began
                if not retry or not self._may_retry(error, failures, elapsed):
                    failure = translate(error, self.target, command)
                    break
            if self.timeout is not None:
                limit = self.timeout - elapsed
            sleep(backoff.next())
        # Raised outside the handler: the driver's error may quote a password, and would be attached as __context__.
        raise failure

    def send(self, connection: Any, commands: Sequence[Command]) -> None:
        """Send commands, and a WAIT behind writes that replicas must have."""
        if self._waits_for(commands):
            wait = ("WAIT", self._replicas, max(1, int(min(_WAIT_SLICE, self._replica_timeout) * 1000)))
            commands = [*commands, wait]
        heeding_cancellation(connection.send_packed_command, _packed(connection, expanded(commands)))

    def receive(
        self, connection: Any, commands: Sequence[Command], *, is_last: bool = True, patience: Patience | None = None
    ) -> list[Any]:
        """Read the replies to what `send` sent.

        Args:
            connection: where it was sent.
            commands: what was sent.
            is_last: whether nothing was sent on the connection since, so that replicas can be waited for again.
            patience: how late replies are waited for; None waits until the connection's timeout.

        Raises:
            NotReplicated: too few replicas have the writes; sending them again is harmless.
        """
        if not self._waits_for(commands):
            return _read_replies(connection, commands, patience)
        *replies, acknowledged = _read_replies(connection, [*commands, ("WAIT",)], patience)
        written = [
            command
            for command, reply in zip(commands, replies, strict=True)
            if is_write(command) and not isinstance(reply, Exception)
        ]
        deadline = time.monotonic() + self._replica_timeout
        while written and (isinstance(acknowledged, Exception) or acknowledged < self._replicas):
            if isinstance(acknowledged, Exception):
                raise RedisConnectionError(f"the server is no primary any more: {acknowledged}")
            left = deadline - time.monotonic()
            if not is_last or left <= 0:
                raise NotReplicated(acknowledged, self._replicas, [key_of(each) for each in written])
            self._check_current(connection)
            wait = ("WAIT", self._replicas, max(1, int(min(_WAIT_SLICE, left) * 1000)))
            with without_time_limit():
                heeding_cancellation(connection.send_packed_command, _packed(connection, (wait,)))
                (acknowledged,) = _read_replies(connection, (wait,), patience)
        return replies

    def _waits_for(self, commands: Sequence[Command]) -> bool:
        return self._replicas > 0 and any(map(is_write, commands))

    def _check_current(self, connection: Any) -> None:
        """Raise a connection error if a connection should not be used any more."""

    def _may_retry(self, error: Exception, failures: int, elapsed: float) -> bool:
        """Whether to try again after an error, a number of failures, and the seconds since the first attempt."""
        if isinstance(error, NotReplicated):
            return elapsed < self._replica_timeout
        return failures <= self.retries and is_retryable(error) and self._has_time(elapsed)

    def _has_time(self, elapsed: float) -> bool:
        """Whether the running call has time for another attempt; `elapsed` seconds ago it began the first one."""
        return elapsed < (self.timeout or math.inf) and time_left() > 0

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
        before = cancellations()
        with without_time_limit():  # others may have all connections, and a new one has a limit of its own
            connection = self._take()
        self._acquired_at[connection] = time.monotonic()
        if connection not in self._registered:
            self._registered.add(connection)
            connection.register_connect_callback(self._reconnected)
        try:
            raise_cancellation(before)  # connecting may have swallowed it
        except BaseException:
            self.discard(connection)
            raise
        return connection

    def _take(self) -> Any:
        """Take a connection from the pool, which checks that it is alive."""
        return self._pool.get_connection()

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
                with mapped_errors(self.target):
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
        replies: list[Any] = self._transport.run(self._pull, commands[0])
        self._outstanding.popleft()
        return replies

    def _push(self) -> None:
        if self._connection is None:
            self._connection = self._transport.acquire()
        try:
            while self._sent < len(self._outstanding):
                commands = self._outstanding[self._sent]
                self._sent += 1
                self._transport.send(self._connection, commands)
        except BaseException:
            self._drop()
            raise

    def _pull(self) -> list[Any]:
        self._push()
        try:
            replies = self._transport.receive(self._connection, self._outstanding[0], is_last=self._sent == 1)
        except BaseException:
            self._drop()
            raise
        self._sent -= 1
        return replies

    def _drop(self) -> None:
        connection, self._connection, self._sent = self._connection, None, 0
        self._transport.discard(connection)


def ask_connection(connection: Any, *command: str) -> Any:
    """Send one command on a connection and return its reply, an error too."""
    heeding_cancellation(connection.send_packed_command, connection.pack_command(*command))
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


def _packed(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """Commands as they are sent: in few pieces, as redis-py makes pieces of 6 KB and one system call for each."""
    pieces = connection.pack_commands(commands)
    if len(pieces) == 1 or not all(isinstance(piece, bytes) for piece in pieces):
        return list(pieces)
    joined: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        if waiting and size + len(piece) > _ONE_PIECE:
            joined.append(b"".join(waiting))
            waiting, size = [], 0
        waiting.append(piece)
        size += len(piece)
    return [*joined, b"".join(waiting)]


def _read_replies(connection: Any, commands: Sequence[Command], patience: Patience | None) -> list[Any]:
    """Read one reply per command as bytes; an error reply is returned.

    Raises:
        ConnectionError: of redis-py; the connection is lost, or the server is busy or gave a command up.
    """
    replies: list[Any] = []
    for _ in expanded(commands):
        try:
            if patience is None:
                left = time_left()
                if left == math.inf:
                    replies.append(connection.read_response(disable_decoding=True))
                else:
                    replies.append(read_reply(connection, max(_SHORTEST, left)))
            else:
                replies.append(patience.read(connection))
        except ResponseError as error:
            if str(error).startswith("BUSY "):
                raise Busy(str(error)) from None
            if str(error).startswith("UNBLOCKED "):  # what takes long, as a search may, is given up by a former primary
                raise RedisConnectionError(str(error)) from None
            replies.append(error)
    return gathered(commands, replies)
