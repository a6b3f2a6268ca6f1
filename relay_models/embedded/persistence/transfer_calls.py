"""Calls: commands to a server or to the nodes of a cluster for `dump` and `restore`, with replies as bytes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import redis
import redis.cluster
import redis.crc
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from relay_models.embedded.errors import InvalidArgumentError, TransferError

__all__ = ["Calls", "session"]

# redis-om installs type stubs of an old redis-py, which lack this function.
_crc: Any = redis.crc
_key_slot: Callable[[bytes], int] = _crc.key_slot

PATIENCE: Final = 30.0
"""How long a key whose slot is being moved is tried again (seconds)."""
PAUSE: Final = 0.05
"""Seconds between two attempts."""


class Calls:
    """Commands on one connection, with replies as bytes whatever the client's settings."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __call__(self, *command: Any) -> Any:
        """Send a command and return its reply."""
        (reply,) = self._exchange([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def together(self, key: bytes, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run several commands that make a key in one transaction, and return their replies. Raises the first error."""
        sent = [("MULTI",), *commands, ("EXEC",)]
        replies = self._exchange(sent)
        results: list[Any] = replies[-1] if isinstance(replies[-1], list) else replies
        names = commands if isinstance(replies[-1], list) else sent
        for command, result in zip(names, results, strict=True):
            if isinstance(result, Exception):
                raise TransferError(f"{command[0]} of {key!r} was refused: {result}")
        return results

    def pages(self, match: str | bytes) -> Iterator[list[bytes]]:
        """All keys, page after page; some may come twice."""
        cursor: Any = 0
        while True:
            cursor, batch = self("SCAN", cursor, "MATCH", match, "COUNT", 1000)
            yield batch
            if int(cursor) == 0:
                return

    def scratch(self, key: bytes) -> bytes:
        """A name of its own that RENAME can change into a key's."""
        return b"relay-models-restore:" + os.urandom(12).hex().encode()

    def _exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        return _exchange(self._connection, commands)


class ClusterCalls(Calls):
    """Commands to the nodes of a cluster, each to the one that has its key."""

    def __init__(self, client: Any) -> None:
        self._client: Any = client
        self._connections: dict[str, tuple[Any, Any]] = {}
        self._tags: dict[int, bytes] = {}

    def pages(self, match: str | bytes) -> Iterator[list[bytes]]:
        """All keys of all primaries.

        Raises:
            TransferError: slots were moved meanwhile, so that keys may have been missed.
        """
        before = self._owners()
        for name in before:
            calls = Calls(self._connection(self._client.get_node(node_name=name)))
            yield from calls.pages(match)
        if self._owners() != before:
            raise TransferError("the cluster has changed while its keys were read: slots were moved. Dump it again")

    def scratch(self, key: bytes) -> bytes:
        """A name in the slot of a key."""
        slot = _key_slot(key)
        number = len(self._tags)
        while slot not in self._tags:
            number += 1
            self._tags.setdefault(_key_slot(b"%d" % number), b"%d" % number)
        return super().scratch(key) + b"{" + self._tags[slot] + b"}"

    def close(self) -> None:
        """Give the connections back, closed: replies may be left unread."""
        for pool, connection in self._connections.values():
            connection.disconnect()
            pool.release(connection)

    def _exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        key = next((_key(command) for command in commands if len(command) > 1), None)
        deadline = time.monotonic() + PATIENCE
        node, asking = None, False
        while True:
            if node is None:
                node = self._client.get_node_from_key(key) if key else self._client.get_random_node()
            sent = [("ASKING",), *commands] if asking else commands
            replies = _exchange(self._connection(node), sent)[len(sent) - len(commands) :]
            problem = next((reply for reply in replies if isinstance(reply, _PASSING)), None)
            if problem is None or time.monotonic() > deadline:
                return replies
            node, asking = None, isinstance(problem, AskError) and not isinstance(problem, MovedError)
            if isinstance(problem, AskError) and asking:
                node = self._client.get_node(node_name=f"{problem.host}:{problem.port}")
            if node is None:
                time.sleep(PAUSE)
                self._client.nodes_manager.initialize()

    def _connection(self, node: Any) -> Any:
        if node.name not in self._connections:
            pool = self._client.get_redis_connection(node).connection_pool
            self._connections[node.name] = pool, pool.get_connection()
        return self._connections[node.name][1]

    def _owners(self) -> dict[str, list[str]]:
        """The slots of each primary and its epoch, which grows when slots come to it, by what it says itself."""
        owners = {}
        for node in self._client.get_primaries():
            text = Calls(self._connection(node))("CLUSTER", "NODES").decode()
            line = next(line for line in text.splitlines() if "myself" in line)
            _, _, _, _, _, _, epoch, _, *slots = line.split(" ")
            if any(slot.startswith("[") for slot in slots):
                raise TransferError("slots of the cluster are being moved: keys may be missed. Dump it afterwards")
            owners[node.name] = [epoch, *slots]
        return owners


_PASSING = (AskError, ClusterDownError, TryAgainError)  # MovedError is an AskError


@contextlib.contextmanager
def session(client: Any) -> Iterator[Calls]:
    """Take a connection of a client, or those to the nodes of a cluster."""
    if isinstance(client, redis.cluster.RedisCluster):
        calls = ClusterCalls(client)
        try:
            yield calls
        finally:
            calls.close()
        return
    if not isinstance(client, redis.Redis):
        raise InvalidArgumentError(f"client is a redis.Redis or a redis.RedisCluster, not {type(client).__name__}")
    pool: Any = client.connection_pool
    connection = pool.get_connection()
    try:
        yield Calls(connection)
    except BaseException:
        connection.disconnect()  # replies may be left unread
        raise
    finally:
        pool.release(connection)


def _exchange(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The replies to commands that are sent together; an error reply is returned."""
    connection.send_packed_command(connection.pack_commands(commands))
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(connection.read_response(disable_decoding=True))
        except redis.ResponseError as error:
            replies.append(error)
    return replies


def _key(command: tuple[Any, ...]) -> Any:
    """The key of a command, which has one."""
    return command[2 if command[0] in ("XINFO", "XGROUP") else 1]
