# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/cluster.py by scripts/generate_sync.py: change that, not this.
"""ClusterTransport: commands to the nodes of a Redis Cluster that own their keys, searches to all of them."""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from relay_models.errors import ConnectionFailedError, RelayModelsError, StorageError
from relay_models.transport._sync.cluster_pipeline import ClusterPipeline
from relay_models.transport._sync.cluster_search import ClusterSearch
from relay_models.transport._sync.cluster_watch import ClusterState
from relay_models.transport._sync.interface import Command
from relay_models.transport._sync.replicas import ReplicaReader
from relay_models.transport._sync.servers import ServerSettings
from relay_models.transport._io_sync import sleep
from relay_models.transport.backoff import Backoff
from relay_models.transport.cluster_errors import could_not_ask
from relay_models.transport.command_table import is_search, key_of, name_of, one_key_of
from relay_models.transport.error_mapping import translate
from relay_models.transport.time_limit import time_left, time_limit
from relay_models.transport.topology import slot_of
from relay_models.transport.transaction import Glance
from relay_models.transport.urls import Address, Target

__all__ = ["ClusterTransport"]

# Seconds between two looks at which replicas there are.
_LOOK_INTERVAL = 1.0
# Seconds between two looks whether the cluster has settled.
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.05, 0.25
# Unfinished scans that are remembered.
_REMEMBERED = 1000


class ClusterTransport(ClusterSearch):
    """Sends commands to the nodes of a Redis Cluster.

    A command with a key goes to the owner of its slot; redirections are followed. Commands of the search go to any
    primary, whose coordinator asks all shards; the answer holds only if every primary was the same and alive before and
    after it (`ClusterWatch`), otherwise it is asked for again. Cursors are read where they were made. SCAN goes over
    all primaries, from the start again where slots were moved.

    Args:
        make_client: makes the redis-py client for commands of the user, when it is first asked for.
        target: nodes to begin with.
        retries: maximum number of further attempts after a lost connection; 0 also waits for no failover.
        settings: how to connect to nodes.
        owns_client: whether `close` closes the client.
        remap: maps the address that a node announces to the one to connect to.
        replicas: how many replicas must have every write before it is acknowledged.
        replica_timeout: maximum wait for them (seconds).
        reads_replicas: whether documents that are asked for by key come from replicas.
    """

    def __init__(
        self,
        make_client: Callable[[], Any],
        target: Target,
        retries: int,
        *,
        settings: ServerSettings,
        owns_client: bool = True,
        remap: Callable[[Address], Address] | None = None,
        replicas: int = 0,
        replica_timeout: float = 5.0,
        reads_replicas: bool = False,
    ) -> None:
        super().__init__(
            target, retries, settings=settings, remap=remap, replicas=replicas, replica_timeout=replica_timeout
        )
        self._make_client = make_client
        self._client: Any = None
        self._owns_client = owns_client
        self._reader = ReplicaReader(target, settings, in_cluster=True) if reads_replicas else None
        self._replicas_seen_at = float("-inf")
        self._scan_tokens = itertools.count(1)
        self._scans: OrderedDict[int, tuple[list[Address], int, int]] = OrderedDict()

    @property
    def client(self) -> Any:
        """The redis-py client; it is made when it is first asked for."""
        if self._client is None:
            self._client = self._make_client()
        return self._client

    @property
    def is_cluster(self) -> bool:
        """Whether keys are on several servers; they are."""
        return True

    @property
    def reconnects(self) -> int:
        """How many times the topology changed or a connection was made again."""
        state = self._watch.state
        return (0 if state is None else state.generation) + sum(node.reconnects for node in self._nodes.values())

    def execute(self, *command: bytes | str | int) -> Any:
        """Send one command and return its reply; see `Transport.execute`."""
        (reply,) = self.pipeline((command,))
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command)
        return reply

    def read(self, *command: bytes | str | int) -> Any:
        """Send one command that changes nothing, to a replica if it has a key; see `Transport.read`."""
        with time_limit(self.timeout):
            if self._reader is not None and self.is_keyed(command):
                self._check_open()
                try:
                    return self._reader.read(command, self._replicas_of(command))
                except ConnectionFailedError:
                    pass  # the primary can answer
                except StorageError as error:
                    if "MOVED" not in str(error) and "ASK" not in str(error):
                        raise
            return self.execute(*command)

    def read_many(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands that change nothing, to replicas if they have keys; see `Transport.read_many`."""
        if self._reader is None or not all(map(self.is_keyed, commands)):
            return self.pipeline(commands)
        self._check_open()
        with time_limit(self.timeout):
            return self._read_replicas(self._reader, commands)

    def _read_replicas(self, reader: ReplicaReader, commands: Sequence[Command]) -> list[Any]:
        """The replies of the replicas that have the keys, and of the primaries where those have none."""
        replies: list[Any] = [None] * len(commands)
        places: dict[tuple[Address, ...], list[int]] = {}
        for index, command in enumerate(commands):
            places.setdefault(tuple(self._replicas_of(command)), []).append(index)
        rest: list[int] = []
        for addresses, indexes in places.items():
            try:
                found = reader.read_many([commands[index] for index in indexes], addresses)
            except ConnectionFailedError:
                rest += indexes  # the primary can answer
                continue
            for index, reply in zip(indexes, found, strict=True):
                replies[index] = reply
                if isinstance(reply, Exception):  # the key may have been moved
                    rest.append(index)
        if rest:
            for index, reply in zip(rest, self.pipeline([commands[index] for index in rest]), strict=True):
                replies[index] = reply
        return replies

    def execute_once(self, *command: bytes | str | int) -> Any:
        """Send one command that must not be sent twice; see `Transport.execute_once`."""
        (reply,) = self.pipeline((command,), retry=False)
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command)
        return reply

    def pipeline(self, commands: Sequence[Command], *, retry: bool = True) -> list[Any]:
        """Send several commands to their nodes and return their replies in order; see `Transport.pipeline`."""
        self._check_open()
        with time_limit(self.timeout):
            return self._pipeline_in_time(commands, retry)

    def _pipeline_in_time(self, commands: Sequence[Command], retry: bool) -> list[Any]:
        replies: list[Any] = [None] * len(commands)
        keyed = [index for index, command in enumerate(commands) if self.is_keyed(command)]
        if keyed:
            answers = self._send_keyed([commands[index] for index in keyed], retry)
            for index, reply in zip(keyed, answers, strict=True):
                replies[index] = reply
        if len(keyed) < len(commands):
            for index, command in enumerate(commands):
                if not self.is_keyed(command):
                    replies[index] = self._send_keyless(command, retry)
        return replies

    def begin(self, command: Command) -> Any:
        """Send a command without waiting for its reply; see `Transport.begin`."""
        self._check_open()
        try:
            address, sent = self._located(command)
        except StorageError as error:  # the cursor is lost: its reply says so
            return None, error, command
        if address is not None:
            node = self._node(address)
        elif self.is_keyed(command):
            node = self.owner_of(command, (self.state()).topology)
        else:
            node = self._any_node()
        return node, node.begin(sent), sent

    def finish(self, pending: Any, command: Command) -> Any:
        """Return the reply to what `begin` sent; see `Transport.finish`."""
        node, connection, sent = pending
        if node is None:
            raise connection
        if name_of(command) != "FT.CURSOR":
            return node.finish(connection, sent)
        with time_limit(self._search_seconds):
            reply = node.finish(connection, sent, patience=self._cursor_patience(command))
            return self._accepted(command, reply)

    def discard(self, pending: Any) -> None:
        """Give up the reply to what `begin` sent; see `Transport.discard`."""
        node, connection, _ = pending
        if node is not None:
            node.discard(connection)

    def conversation(self) -> ClusterPipeline:
        """Return a pipeline over one connection to each node; see `Transport.conversation`."""
        return ClusterPipeline(self)

    def close(self) -> None:
        """Close the connections of this transport, and the client if it is its own. Closing twice does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        self._watch.close()
        if self._reader is not None:
            self._reader.close()
        for node in self._nodes.values():
            node.close()
        if self._owns_client and self._client is not None:
            self._client.close()

    def _replicas_of(self, command: Command) -> list[Address]:
        """The addresses of the replicas that have the key of a command."""
        state = self.state()
        if time.monotonic() - self._replicas_seen_at > _LOOK_INTERVAL:
            self._replicas_seen_at = time.monotonic()
            state = self._check()
        key = key_of(command)
        owner = None if key is None else state.topology.owners[slot_of(key)]
        if owner is None:
            return []
        return [self._remap(address) for primary, address in state.replicas if primary == owner.id]

    def _send_keyless(self, command: Command, retry: bool) -> Any:
        name = name_of(command)
        if name == "FT.INFO":
            return self._index_info(command)
        if name == "FT.CURSOR":
            return self._read_cursor(command)
        if isinstance(command, Glance):
            try:
                return self._search(command)
            except RelayModelsError as error:
                return error
        if name.startswith("FT."):
            return self._search(command, exact=is_search(command))
        if name == "SCAN":
            return self._scan(command)
        if name == "DBSIZE":
            return sum([self._on(node, command) for node in self._primaries()])
        if name in ("MGET", "JSON.MGET"):
            return self._get_many(command, retry)
        if name in ("DEL", "EXISTS", "UNLINK"):
            replies = self._send_keyed([(command[0], key) for key in command[1:]], retry)
            return next((reply for reply in replies if isinstance(reply, Exception)), None) or sum(replies)
        if name in ("MULTI", "EXEC", "WATCH", "SUBSCRIBE", "PSUBSCRIBE"):
            raise StorageError(f"{self.target.label} is a Redis Cluster, where {name} over several keys does not work")
        return self._on_any(command, retry)

    def _get_many(self, command: Command, retry: bool) -> list[Any]:
        """MGET and JSON.MGET, one command per slot: a node answers null for keys of others."""
        tail: Command = command[-1:] if name_of(command) == "JSON.MGET" else ()
        keys = command[1 : len(command) - len(tail)]
        slots: dict[int, list[int]] = {}
        for index, key in enumerate(keys):
            slots.setdefault(slot_of(key if isinstance(key, bytes) else str(key).encode()), []).append(index)
        commands = [(command[0], *(keys[index] for index in indexes), *tail) for indexes in slots.values()]
        found: list[Any] = [None] * len(keys)
        for indexes, reply in zip(slots.values(), self._send_keyed(commands, retry), strict=True):
            if isinstance(reply, Exception):
                raise translate(reply, self.target, command)
            for index, value in zip(indexes, reply, strict=True):
                found[index] = value
        return found

    def _scan(self, command: Command) -> list[Any]:
        """One step of a SCAN over all primaries.

        It begins from the start where slots were moved meanwhile: their keys may have gone where it had already been.
        """
        before = self._settled()
        token = int(command[1])
        everywhere = [self._remap(primary.address) for primary in before.topology.primaries]
        addresses, cursor, generation = self._scans.pop(token, (everywhere, 0, before.generation))
        if generation != before.generation:
            addresses, cursor = everywhere, 0
        reply = self._on(self._node(addresses[0]), (command[0], cursor, *command[2:]))
        following, keys = int(reply[0]), reply[1]
        after = self._check()
        if not following:
            addresses = addresses[1:]
        if not addresses and after.generation == before.generation and not after.problem:
            return [b"0", keys]
        if not addresses or after.problem:
            addresses, following = everywhere, 0
        token = next(self._scan_tokens)
        self._scans[token] = (addresses, following, before.generation)
        while len(self._scans) > _REMEMBERED:
            self._scans.popitem(last=False)
        return [b"%d" % token, keys]

    def _settled(self) -> ClusterState:
        """Wait until all primaries answer and agree, and no slot is being moved."""
        backoff = Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        state = self._watch.state
        if state is None or state.problem:
            state = self._check()
        with time_limit(self._search_seconds):
            while state.problem:
                if not self.retries or not time_left():
                    raise could_not_ask(self.target, state.problem, state.failed)
                sleep(min(backoff.next(), time_left()))
                state = self._check()
        return state

    def is_keyed(self, command: Command) -> bool:
        """Whether a command goes to the owner of its one key."""
        return one_key_of(command) is not None
