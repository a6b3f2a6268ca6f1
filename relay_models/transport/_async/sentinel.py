"""SentinelTransport: connections to the primary that sentinels name, dropped the moment that they name another."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    ConnectionError as RedisConnectionError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from relay_models.errors import ConnectionFailedError
from relay_models.transport._async.interface import Command
from relay_models.transport._async.patience import Patience
from relay_models.transport._async.replicas import ReplicaReader
from relay_models.transport._async.servers import ServerSettings
from relay_models.transport._async.single_server import SingleServerTransport, ask_connection
from relay_models.transport._io_async import Lock, has_message, heeding_cancellation
from relay_models.transport.command_table import is_write
from relay_models.transport.error_mapping import NotReplicated, is_retryable
from relay_models.transport.urls import Address, Target

__all__ = ["SentinelTransport"]

# Seconds between two looks at what the sentinels have announced, and between attempts to listen to one that is away.
_POLL_INTERVAL, _LISTEN_INTERVAL = 0.01, 10.0
# Seconds between two looks at which replicas there are.
_LOOK_INTERVAL = 1.0
# Maximum wait for a sentinel (seconds): there are others.
_SENTINEL_TIMEOUT = 0.5
# How long operations are tried again while no primary answers (seconds): a failover takes the sentinels'
# down-after-milliseconds and a second or two more.
_FAILOVER_SECONDS = 20.0
# What sentinels announce before a replica is promoted, when a failover ended, and when it was given up. Between the
# first and the second the old primary takes writes that are lost, and other replicas still acknowledge them.
_CHANNELS = (
    *("+failover-state-select-slave", "+failover-state-send-slaveof-noone", "+failover-state-wait-promotion"),
    *("+promoted-slave", "+switch-master", "-failover-abort-slave-timeout", "-failover-abort-no-good-slave"),
)
# Errors of a server that was a primary and is one no more.
_DEMOTED = ("READONLY", "UNBLOCKED", "MASTERDOWN")


class SentinelTransport(SingleServerTransport):
    """Sends commands to the primary of a service that sentinels watch over.

    The sentinels' announcement of a new primary (``+switch-master``) is looked for before every use of a connection,
    also between two batches of a pipeline; all connections to the old one are closed then. From the announcement that a
    replica is being promoted until then, no write is sent or acknowledged. A connection that has rested for a second is
    asked for its ROLE.

    Args:
        client: the redis-py client for commands of the user.
        target: the sentinels and the service.
        retries: maximum number of further attempts after a lost connection; 0 also waits for no failover.
        settings: how to connect to the primary.
        sentinels: how to connect to the sentinels.
        owns_client: whether `close` closes the client.
        replicas: how many replicas must have every write before it is acknowledged.
        replica_timeout: maximum wait for them (seconds).
        reads_replicas: whether questions go to replicas.
    """

    def __init__(
        self,
        client: Any,
        target: Target,
        retries: int,
        *,
        settings: ServerSettings,
        sentinels: ServerSettings,
        owns_client: bool = True,
        replicas: int = 0,
        replica_timeout: float = 5.0,
        reads_replicas: bool = False,
    ) -> None:
        super().__init__(
            client,
            target,
            retries,
            timeout=settings.timeout,
            owns_client=owns_client,
            replicas=replicas,
            replica_timeout=replica_timeout,
        )
        self._settings = settings
        self._sentinels = sentinels
        self._base_label = target.label
        self._pool = settings.pool(*target.servers[0])  # replaced before its first use
        self._maximum_in_use = self._pool.max_connections
        self._pool_of: dict[Any, Any] = {}
        self._address: Address | None = None
        self._is_doubtful = True
        self._is_failing_over = False
        self._lock = Lock()
        self._listeners: dict[Address, Any] = {}
        self._next_poll = self._next_listen = 0.0
        self._reader = ReplicaReader(target, settings) if reads_replicas else None
        self._replica_addresses: list[Address] = []
        self._next_look = 0.0

    @property
    def primary(self) -> Address | None:
        """The address of the primary, as far as it is known."""
        return self._address

    async def read(self, *command: bytes | str | int) -> Any:
        """Send one command that changes nothing, to a replica if it may be; see `Transport.read`."""
        if self._reader is not None and not self.is_closed:
            try:
                return await self._reader.read(command, await self._find_replicas())
            except ConnectionFailedError:
                pass  # the primary can answer
        return await super().read(*command)

    async def read_many(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands that change nothing, to a replica if it may be; see `Transport.read_many`."""
        if self._reader is not None and not self.is_closed:
            with suppress(ConnectionFailedError):  # the primary can answer
                return await self._reader.read_many(commands, await self._find_replicas())
        return await super().read_many(commands)

    async def execute_once(self, *command: bytes | str | int) -> Any:
        """Send one command that must not be sent twice; see `Transport.execute_once`."""
        there = None if self._reader is None else self._reader.located(command)
        if self._reader is None or there is None:
            return await super().execute_once(*command)
        return self._reader.accepted(command, await there[0].execute_once(*there[1]))

    async def begin(self, command: Command) -> Any:
        """Send a command without waiting for its reply; see `Transport.begin`."""
        there = None if self._reader is None else self._reader.located(command)
        if there is None:
            return await super().begin(command)
        return (*there, await there[0].begin(there[1]))

    async def finish(self, pending: Any, command: Command, *, patience: Patience | None = None) -> Any:
        """Return the reply to what `begin` sent; see `Transport.finish`."""
        if self._reader is None or not isinstance(pending, tuple):
            return await super().finish(pending, command, patience=patience)
        replica, sent, connection = pending
        return self._reader.accepted(command, await replica.finish(connection, sent))

    async def acquire(self, *, checked: bool = False) -> Any:
        """Take a connection to the current primary; see `SingleServerTransport.acquire`."""
        await self._follow()
        return await super().acquire(checked=checked)

    async def send(self, connection: Any, commands: Sequence[Command]) -> None:
        """Send commands, unless the connection is one to a former primary."""
        await self._check_current(connection)
        if self._is_failing_over and any(map(is_write, commands)):
            raise RedisConnectionError("the sentinels are promoting a replica")
        await super().send(connection, commands)

    async def receive(
        self, connection: Any, commands: Sequence[Command], *, is_last: bool = True, patience: Patience | None = None
    ) -> list[Any]:
        """Read replies; those of a server that is no primary any more are a lost connection."""
        try:
            replies = await super().receive(connection, commands, is_last=is_last, patience=patience)
        except NotReplicated:
            self._is_doubtful = True
            raise
        if self._waits_for(commands):
            async with self._lock:
                await self._hear()
            if self._is_failing_over or self._is_doubtful:
                raise RedisConnectionError("the sentinels are promoting a replica, which may lack what was written")
        for reply in replies:
            if isinstance(reply, ResponseError) and _is_demoted(reply):
                self._is_doubtful = True
                raise RedisConnectionError(f"the server is no primary any more: {reply}")
        return replies

    async def discard(self, pending: Any) -> None:
        """Close a connection, and ask the sentinels again before the next one is made."""
        if isinstance(pending, tuple):
            await pending[0].discard(pending[2])
            return
        self._is_doubtful = True
        await super().discard(pending)

    async def close(self) -> None:
        """Close all connections. Closing twice does nothing."""
        if self.is_closed:
            return
        try:
            await super().close()
        finally:
            if self._reader is not None:
                await self._reader.close()
            listeners, self._listeners = self._listeners, {}
            for listener in listeners.values():
                await listener.disconnect()
            await self._pool.disconnect()
            if self._owns_client:
                for sentinel in self.client.connection_pool.sentinel_manager.sentinels:
                    await sentinel.aclose()

    async def _take(self) -> Any:
        pool = self._pool
        try:
            connection = await pool.get_connection()
        except RedisTimeoutError as error:
            self._is_doubtful = True
            raise RedisConnectionError(f"the primary does not answer: {error}") from None
        except (RedisError, OSError):
            self._is_doubtful = True
            raise
        self._pool_of[connection] = pool
        try:
            role = await ask_connection(connection, "ROLE")
            if not isinstance(role, NoPermissionError) and (isinstance(role, Exception) or role[0] != b"master"):
                raise RedisConnectionError("the server that the sentinels named is not a primary (yet, or any more)")
        except BaseException:
            await self.discard(connection)
            raise
        return connection

    async def _give_back(self, connection: Any) -> Any:
        self._acquired_at.pop(connection, None)
        return await self._pool_of.pop(connection, self._pool).release(connection)

    async def _check_current(self, connection: Any) -> None:
        await self._follow()
        if self._pool_of.get(connection) is not self._pool:
            raise RedisConnectionError("the sentinels have named another primary")

    def _may_retry(self, error: Exception, failures: int, elapsed: float) -> bool:
        if not self.retries or not is_retryable(error):
            return False
        if failures > self.retries and elapsed >= max(_FAILOVER_SECONDS, self._replica_timeout):
            return False
        return isinstance(error, NotReplicated) or self._has_time(elapsed)

    async def _follow(self) -> None:
        """Look at what the sentinels have announced, and ask them where the primary is if that is not certain."""
        if not self._is_doubtful and time.monotonic() < self._next_poll:
            return
        async with self._lock:
            await self._hear()
            if self._is_doubtful or (len(self._listeners) < len(self.target.servers) and self._listen_again()):
                self._is_doubtful = False
                try:
                    await self._discover()
                except BaseException:
                    self._is_doubtful = True
                    raise
            self._next_poll = time.monotonic() + _POLL_INTERVAL

    def _listen_again(self) -> bool:
        return time.monotonic() >= self._next_listen

    async def _hear(self) -> None:
        """Read the announcements that have arrived."""
        for address, listener in list(self._listeners.items()):
            try:
                while await has_message(listener):
                    *_, channel, text = await listener.read_response(disable_decoding=True)
                    # "name old-ip old-port new-ip new-port", "master name ip port" or "slave … @ name ip port".
                    if self.target.service.encode() in text.split(b" "):
                        self._is_doubtful = True
                        self._is_failing_over |= channel.startswith((b"+failover", b"+promoted"))
            except (RedisError, OSError):
                del self._listeners[address]
                self._is_doubtful = True
                with suppress(RedisError, OSError):
                    await listener.disconnect()

    async def _discover(self) -> None:
        """Ask all sentinels where the primary is: the newest configuration holds, or the one that most of them have."""
        self._next_listen = time.monotonic() + _LISTEN_INTERVAL
        named: Counter[tuple[int, Address]] = Counter()
        is_failing_over = False
        problem: Exception | None = None
        for sentinel in self.target.servers:
            try:
                await self._listen(sentinel)
                connection = self._sentinel(sentinel)
                try:
                    await heeding_cancellation(connection.connect)
                    reply = await ask_connection(connection, "SENTINEL", "MASTER", self.target.service)
                finally:
                    await connection.disconnect()
                if isinstance(reply, Exception):
                    raise reply
            except (RedisError, OSError) as error:
                problem = error
                continue
            fields = _fields(reply)
            is_failing_over |= b"failover_in_progress" in fields[b"flags"]
            named[int(fields[b"config-epoch"]), (fields[b"ip"].decode(), int(fields[b"port"]))] += 1
        if not named:
            if isinstance(problem, AuthenticationError | NoPermissionError):
                raise problem
            raise RedisConnectionError(f"no sentinel names a primary of {self.target.service!r}: {problem}")
        _, address = max(named, key=lambda configuration: (configuration[0], named[configuration]))
        self._is_failing_over = self._is_doubtful = is_failing_over
        if address != self._address:
            await self._switch(address)

    async def _find_replicas(self) -> list[Address]:
        """The addresses of replicas that a sentinel can reach."""
        if time.monotonic() < self._next_look:
            return self._replica_addresses
        self._next_look = time.monotonic() + _LOOK_INTERVAL
        for sentinel in self.target.servers:
            connection = self._sentinel(sentinel)
            try:
                await heeding_cancellation(connection.connect)
                reply = await ask_connection(connection, "SENTINEL", "REPLICAS", self.target.service)
            except (RedisError, OSError):
                continue
            finally:
                await connection.disconnect()
            if not isinstance(reply, Exception):
                self._replica_addresses = [
                    (fields[b"ip"].decode(), int(fields[b"port"]))
                    for each in reply
                    if (fields := _fields(each))[b"flags"] == b"slave" and fields[b"master-link-status"] == b"ok"
                ]
                break
        return self._replica_addresses

    async def _switch(self, address: Address) -> None:
        """Go to another primary; what runs on connections to the old one fails, and is tried again on the new one."""
        old, self._pool = self._pool, self._settings.pool(*address)
        cached, self._cached = self._cached, []
        for connection in cached:
            self._acquired_at.pop(connection, None)
            self._pool_of.pop(connection, None)
        if self._address is not None:
            self.reconnects += 1
        self._address = address
        self.target = replace(self.target, label=f"{self._base_label} (primary {address[0]}:{address[1]})")
        with suppress(RedisError, OSError):
            await old.disconnect()

    def _sentinel(self, address: Address) -> Any:
        return self._sentinels.connection(
            *address, protocol=2, socket_timeout=_SENTINEL_TIMEOUT, socket_connect_timeout=_SENTINEL_TIMEOUT
        )

    async def _listen(self, sentinel: Address) -> None:
        if sentinel in self._listeners:
            return
        listener = self._sentinel(sentinel)
        try:
            await heeding_cancellation(listener.connect)
            replies = [await ask_connection(listener, "SUBSCRIBE", channel) for channel in _CHANNELS]
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        except BaseException:
            await listener.disconnect()
            raise
        self._listeners[sentinel] = listener


def _fields(reply: Any) -> dict[bytes, bytes]:
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def _is_demoted(reply: ResponseError) -> bool:
    # redis-py takes the code off the errors that it has a class for.
    return type(reply).__name__ in ("ReadOnlyError", "MasterDownError") or str(reply).startswith(_DEMOTED)
