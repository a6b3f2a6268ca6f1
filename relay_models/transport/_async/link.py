"""The one place where commands leave the process: pooled connections, bounded retries, errors in our words."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

from redis.exceptions import RedisError, ResponseError

from relay_models.errors import InvalidConfigurationError, StorageError
from relay_models.transport._io_async import Attempt, current_loop, make_retry, shielded
from relay_models.transport.error_mapping import retryable, translate
from relay_models.transport.urls import Target

__all__ = ["Command", "Conversation", "Link"]

# Seconds after which a connection goes through its pool again, which looks if it is alive and renews its login.
_FRESH = 1.0

Command = Sequence[bytes | str | int]
T = TypeVar("T")


class Link:
    """Sends commands through the pool of a redis-py client.

    Commands that may be sent twice without harm, which is all but reading on from a cursor, are retried after a lost
    connection: at most `retries` times, with pauses that double. `reconnects` counts connections that were lost and
    regained. Where the pool is its own (`owns_pool`), one connection is kept at hand between two operations.
    """

    def __init__(self, client: Any, target: Target, retries: int, *, owns_pool: bool = False) -> None:
        self.client = client
        self.target = target
        self.retries = retries
        self.reconnects = 0
        self.closed = False
        self._pool = client.connection_pool
        self._retry = make_retry(retries)
        self._loop: object = None
        self._known: WeakSet[Any] = WeakSet()
        # A connection is kept only while the pool has another to give: somebody may be waiting for its last one.
        self._spare_below = self._pool.max_connections if owns_pool else 0
        self._pid = os.getpid()
        self._spares: list[Any] = []
        self._taken: dict[Any, float] = {}

    async def execute(self, *command: bytes | str | int) -> Any:
        """The reply to one command; an error reply is raised."""
        (reply,) = await self.pipeline((command,))
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command) from None
        return reply

    async def execute_once(self, *command: bytes | str | int) -> Any:
        """The same for a command that must not be sent twice: a lost connection is raised."""
        (reply,) = await self.pipeline((command,), again=False)
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command) from None
        return reply

    async def pipeline(self, commands: Sequence[Command], *, again: bool = True) -> list[Any]:
        """The replies to several commands sent at once; an error reply is returned in its place."""

        async def attempt() -> list[Any]:
            connection = await self.acquire(checked=not again)
            try:
                await connection.send_packed_command(connection.pack_commands(commands))
                replies = await read_replies(connection, len(commands))
            except BaseException:
                await self.discard(connection)
                raise
            await self.release(connection)
            return replies

        return await self.attempt(attempt, commands[0], again=again)

    async def begin(self, command: Command) -> Any:
        """Send a command that must not be sent twice; `finish` reads its reply from the connection that this gives."""

        async def attempt() -> Any:
            connection = await self.acquire(checked=True)
            try:
                await connection.send_packed_command(connection.pack_commands((command,)))
            except BaseException:
                await self.discard(connection)
                raise
            return connection

        return await self.attempt(attempt, command, again=False)

    async def finish(self, connection: Any, command: Command) -> Any:
        """The reply to what `begin` sent; an error reply is raised."""

        async def attempt() -> Any:
            try:
                (reply,) = await read_replies(connection, 1)
            except BaseException:
                await self.discard(connection)
                raise
            await self.release(connection)
            return reply

        reply = await self.attempt(attempt, command, again=False)
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command) from None
        return reply

    def conversation(self) -> Conversation:
        """Requests that are sent ahead of their replies, over one connection."""
        return Conversation(self)

    async def attempt(self, do: Attempt[T], command: Command | None = None, *, again: bool = True) -> T:
        """Run `do`, `again` after lost connections, and raise what fails in our words."""
        if self.closed:
            raise StorageError(f"this backend of {self.target.label} is closed")
        try:
            if not again:
                return await do()
            result: T = await self._retry.call_with_retry(do, _ignore, is_retryable=retryable)
        except (RedisError, OSError) as error:
            raise translate(error, self.target, command) from None
        return result

    async def acquire(self, *, checked: bool = False) -> Any:
        """A connection: the spare one, or one of the pool, which makes sure (`checked`) that it is alive."""
        loop = current_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise InvalidConfigurationError(
                "this backend belongs to another event loop: connect one per loop, "
                "or use relay_models.sync, whose backends serve any thread"
            )
        if self._pid != os.getpid():  # after a fork these belong to the parent
            self._pid, self._spares, self._taken = os.getpid(), [], {}
        while self._spares:
            try:
                connection = self._spares.pop()
            except IndexError:  # another thread was faster
                break
            if not checked and self._is_fresh(connection):
                return connection
            await self._give_back(connection)
        connection = await self._pool.get_connection()
        self._taken[connection] = time.monotonic()
        if connection not in self._known:
            self._known.add(connection)
            connection.register_connect_callback(self._reconnected)
        return connection

    async def discard(self, connection: Any) -> None:
        """Give back a connection on which replies may be outstanding: closed first, even while being cancelled."""
        try:
            await shielded(connection.disconnect(nowait=True))
        finally:
            await shielded(self._give_back(connection))

    async def release(self, connection: Any) -> None:
        """Give back a connection whose replies have all been read.

        One is kept at hand for a while: what the pool does between two operations costs as much as the operation
        does here.
        """
        if not self._spares and len(self._taken) < self._spare_below and self._is_fresh(connection):
            self._spares.append(connection)
        else:
            await self._give_back(connection)

    def _is_fresh(self, connection: Any) -> bool:
        """Whether the pool has looked at a connection a short time ago."""
        return time.monotonic() - self._taken.get(connection, float("-inf")) < _FRESH

    async def _give_back(self, connection: Any) -> Any:
        self._taken.pop(connection, None)
        return await self._pool.release(connection)

    async def close(self) -> None:
        """Close all connections; nothing can be sent any more."""
        self.closed = True
        await self.client.aclose()
        await self._pool.disconnect()

    def _reconnected(self, connection: Any) -> None:
        self.reconnects += 1


class Conversation:
    """Requests sent ahead of their replies, so that this side works while the server does.

    What was sent and not yet answered is sent again when the connection is lost.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._connection: Any = None
        self._outstanding: deque[Sequence[Command]] = deque()
        self._sent = 0

    async def __aenter__(self) -> Conversation:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is None:
            return
        if self._outstanding:
            await self._drop()
        else:
            connection, self._connection = self._connection, None
            await self._link.release(connection)

    async def send(self, commands: Sequence[Command]) -> None:
        """Send a batch; its replies are read by a later `receive`."""
        self._outstanding.append(commands)
        await self._link.attempt(self._push, commands[0])

    async def receive(self) -> list[Any]:
        """The replies to the oldest batch that has not been received; error replies in their places."""
        commands = self._outstanding[0]
        replies = await self._link.attempt(self._pull, commands[0])
        self._outstanding.popleft()
        return replies

    async def _push(self) -> None:
        if self._connection is None:
            self._connection = await self._link.acquire()
        try:
            while self._sent < len(self._outstanding):
                commands = self._outstanding[self._sent]
                self._sent += 1
                await self._connection.send_packed_command(self._connection.pack_commands(commands))
        except BaseException:
            await self._drop()
            raise

    async def _pull(self) -> list[Any]:
        await self._push()
        try:
            replies = await read_replies(self._connection, len(self._outstanding[0]))
        except BaseException:
            await self._drop()
            raise
        self._sent -= 1
        return replies

    async def _drop(self) -> None:
        connection, self._connection, self._sent = self._connection, None, 0
        await self._link.discard(connection)


async def read_replies(connection: Any, count: int) -> list[Any]:
    """`count` replies as bytes; an error reply is a value here, a lost connection is raised."""
    replies: list[Any] = []
    for _ in range(count):
        try:
            replies.append(await connection.read_response(disable_decoding=True))
        except ResponseError as error:
            replies.append(error)
    return replies


async def _ignore(error: Exception) -> None:
    """A failed attempt has closed its connection already."""
