# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/replicas.py by scripts/generate_sync.py: change that, not this.
"""ReplicaReader: reads from replicas that follow their primary, and says where none can answer."""

from __future__ import annotations

import itertools
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError, NoPermissionError, ResponseError

from relay_models.errors import ConnectionFailedError, StorageError, StoreTimeoutError
from relay_models.query.replies import decode_index_info
from relay_models.transport._sync.interface import Command
from relay_models.transport._sync.servers import ServerSettings
from relay_models.transport._sync.single_server import SingleServerTransport, ask_connection
from relay_models.transport._io_sync import Redis
from relay_models.transport.command_table import is_search, name_of
from relay_models.transport.error_mapping import translate
from relay_models.transport.urls import Address, Target

__all__ = ["ReplicaReader"]

# Maximum silence of a replica's primary (seconds): primaries send something at least every ten.
_LONGEST_SILENCE = 15
# How long a replica that failed is left alone (seconds).
_REST_SECONDS = 5.0
# Open cursors that are remembered, and the first number that stands for one: servers' own numbers are below it.
_REMEMBERED, _FIRST_TOKEN = 10_000, 1 << 62


class ReplicaReader:
    """Reads from replicas. A replica answers only while it follows a primary, and searches only in complete indexes.

    Args:
        target: where the replicas' primary is, for messages.
        settings: how to connect to replicas.
        in_cluster: whether they are nodes of a cluster, which answer for their primaries' keys when told to.
    """

    def __init__(self, target: Target, settings: ServerSettings, *, in_cluster: bool = False) -> None:
        self._target = target
        self._settings = settings
        self._in_cluster = in_cluster
        self._nodes: dict[Address, _Replica] = {}
        self._resting: dict[Address, float] = {}
        self._turn = random.randrange(1 << 16)
        self._tokens = itertools.count(_FIRST_TOKEN)
        self._cursors: OrderedDict[int, tuple[_Replica, int]] = OrderedDict()

    def read(self, command: Command, addresses: Sequence[Address]) -> Any:
        """The reply of one of the replicas.

        Raises:
            ConnectionFailedError: none can answer; the primary may.
            StoreTimeoutError: one did not answer in time.
        """
        if is_search(command):
            return self._ask_one(addresses, lambda node: self._search(node, command))
        return self._ask_one(addresses, lambda node: node.execute_once(*command))

    def read_many(self, commands: Sequence[Command], addresses: Sequence[Address]) -> list[Any]:
        """The replies of one of the replicas to several commands, error replies among them.

        Raises:
            ConnectionFailedError: none can answer; the primary may.
            StoreTimeoutError: one did not answer in time.
        """
        replies: list[Any] = self._ask_one(addresses, lambda node: node.pipeline(commands, retry=False))
        return replies

    def _ask_one(self, addresses: Sequence[Address], ask: Callable[[_Replica], Any]) -> Any:
        """What one of the replicas answers, another one where the connection to it is lost."""
        now = time.monotonic()
        fit = [address for address in addresses if self._resting.get(address, now) <= now]
        self._turn += 1
        for number in range(len(fit)):
            address = fit[(self._turn + number) % len(fit)]
            try:
                return ask(self._node(address))
            except ConnectionFailedError:
                self._resting[address] = now + _REST_SECONDS
            except StoreTimeoutError:
                self._resting[address] = time.monotonic() + _REST_SECONDS
                raise
        raise ConnectionFailedError(f"{self._target.label} has no replica that can answer now")

    def located(self, command: Command) -> tuple[SingleServerTransport, Command] | None:
        """The replica that has the cursor of a command, and the command with its number there; None if none has."""
        if name_of(command) != "FT.CURSOR" or int(command[3]) < _FIRST_TOKEN:
            return None
        known = self._cursors.get(int(command[3]))
        if known is None:
            raise StorageError(f"the cursor is lost: {self._target.label} has changed since it was made")
        return known[0], [*command[:3], known[1], *command[4:]]

    def accepted(self, command: Command, reply: Any) -> Any:
        """The reply to FT.CURSOR, with the number that stands for the cursor here."""
        token = int(command[3])
        if str(command[1]).upper() != "READ" or not reply[1]:
            self._cursors.pop(token, None)
            return reply
        return [reply[0], token]

    def close(self) -> None:
        """Close the connections."""
        for node in self._nodes.values():
            node.close()

    def _search(self, node: _Replica, command: Command) -> Any:
        # Sent together, so that the replica cannot begin to reload its primary's data between the two.
        found, reply = node.pipeline([("FT.INFO", command[1]), command], retry=False)
        if isinstance(found, Exception) or decode_index_info(found).indexing:
            raise ConnectionFailedError(f"{node.target.label} has not filled the index yet")
        if isinstance(reply, Exception):
            raise translate(reply, node.target, command)
        if any(part in ("WITHCURSOR", b"WITHCURSOR") for part in command) and reply[1]:
            token = next(self._tokens)
            self._cursors[token] = (node, int(reply[1]))
            while len(self._cursors) > _REMEMBERED:
                self._cursors.popitem(last=False)
            return [reply[0], token]
        return reply

    def _node(self, address: Address) -> _Replica:
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            target = replace(self._target, label=f"{self._target.label} (replica {host}:{port})")
            pool = self._settings.pool(host, port)
            node = _Replica(Redis.from_pool(pool), target, 0, timeout=self._settings.timeout)
            node.in_cluster = self._in_cluster
            node = self._nodes.setdefault(address, node)
        return node

    def forget(self, kept: Iterable[Address]) -> None:
        """Let replicas that are gone rest no longer than the others."""
        wanted = set(kept)
        self._resting = {address: until for address, until in self._resting.items() if address in wanted}


class _Replica(SingleServerTransport):
    """One replica. Whenever a connection has rested, and once a second, it is asked whether it follows a primary."""

    in_cluster = False

    def _take(self) -> Any:
        connection = super()._take()
        try:
            role = ask_connection(connection, "ROLE")
            about = ask_connection(connection, "INFO", "replication")
            if self.in_cluster:
                ask_connection(connection, "READONLY")
            problem = _why_unfit(role, about)
            if problem:
                raise RedisConnectionError(problem)
        except BaseException:
            self.discard(connection)
            raise
        return connection


def _why_unfit(role: Any, about: Any) -> str:
    """Why a server should not be read from as a replica; empty where it can be."""
    for reply in (role, about):
        if isinstance(reply, ResponseError) and not isinstance(reply, NoPermissionError):
            return str(reply)
    if not isinstance(role, Exception) and (role[0] != b"slave" or role[3] != b"connected"):
        return f"it is no replica that follows its primary: {role[0].decode()}"
    if isinstance(about, Exception):
        return ""
    text = about if isinstance(about, bytes) else str(about).encode()
    fields = dict(line.split(b":", 1) for line in text.split(b"\r\n") if b":" in line)
    if fields.get(b"master_link_status") != b"up" or fields.get(b"master_sync_in_progress") == b"1":
        return "its link to the primary is down"
    if not 0 <= int(fields.get(b"master_last_io_seconds_ago", 0)) <= _LONGEST_SILENCE:
        return "it has not heard from its primary for too long"
    return ""
