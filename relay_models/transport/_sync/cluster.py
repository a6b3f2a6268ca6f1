# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/cluster.py by scripts/generate_sync.py: change that, not this.
"""ClusterTransport: commands to the nodes of a Redis Cluster that own their keys, searches to all of them."""

from __future__ import annotations

import itertools
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import (
    AskError,
    ConnectionError as RedisConnectionError,
    MovedError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from relay_models.errors import MissingModuleError, PermissionDeniedError, RelayModelsError, StorageError
from relay_models.transport._sync.cluster_pipeline import ClusterPipeline
from relay_models.transport._sync.cluster_watch import ClusterState, ClusterWatch
from relay_models.transport._sync.interface import Command
from relay_models.transport._sync.servers import ServerSettings
from relay_models.transport._sync.single_server import SingleServerTransport
from relay_models.transport._io_sync import Redis, sleep
from relay_models.transport.backoff import Backoff
from relay_models.transport.cluster_errors import (
    could_not_ask,
    is_passing,
    is_search_passing,
    lost_cursor,
    no_coordinator,
    scattered_slots,
    timed_out,
)
from relay_models.transport.command_table import is_search, key_of, name_of
from relay_models.transport.error_mapping import NotReplicated, is_retryable, translate
from relay_models.transport.topology import Topology, slot_of
from relay_models.transport.urls import Address, Target

__all__ = ["ClusterTransport"]

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.05, 1.0
# How long commands are tried again while a shard has no primary (seconds): the cluster's node timeout and a few more.
_FAILOVER_SECONDS = 20.0
# Redirections of one command that are followed.
_REDIRECTIONS = 16
# Open cursors and scans that are remembered.
_REMEMBERED = 10_000
# Maximum time for a search where the transport has no timeout (seconds).
_SEARCH_SECONDS = 60.0
# The first release whose coordinator asks a primary once, however many ranges of slots it owns.
_ASKS_ONCE = (8, 4)


class ClusterTransport:
    """Sends commands to the nodes of a Redis Cluster.

    A command with a key goes to the owner of its slot; redirections are followed. Commands of the search go to any
    primary, whose coordinator asks all shards; the answer holds only if every primary was the same and alive before and
    after it (`ClusterWatch`), otherwise it is asked for again. Cursors are read where they were made. SCAN goes over
    all primaries.

    Args:
        make_client: makes the redis-py client for commands of the user, when it is first asked for.
        target: nodes to begin with.
        retries: maximum number of further attempts after a lost connection; 0 also waits for no failover.
        settings: how to connect to nodes.
        owns_client: whether `close` closes the client.
        remap: maps the address that a node announces to the one to connect to.
        replicas: how many replicas must have every write before it is acknowledged.
        replica_timeout: maximum wait for them (seconds).
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
    ) -> None:
        self.target = target
        self.timeout = settings.timeout
        self.retries = retries
        self.is_closed = False
        self._make_client = make_client
        self._client: Any = None
        self._owns_client = owns_client
        self._settings = settings
        self._remap = remap or (lambda address: address)
        self._replicas = replicas
        self._replica_timeout = replica_timeout
        self._watch = ClusterWatch(settings, target.servers, self._remap)
        self._nodes: dict[Address, SingleServerTransport] = {}
        self._tokens = itertools.count(1)
        self._cursors: OrderedDict[int, tuple[Address, int, int]] = OrderedDict()
        self._scans: OrderedDict[int, tuple[list[Address], int, int]] = OrderedDict()
        self._has_coordinator = False
        self._asks_once: bool | None = None
        self._turn = random.randrange(1 << 16)

    @property
    def client(self) -> Any:
        """The redis-py client; it is made when it is first asked for."""
        if self._client is None:
            self._client = self._make_client()
        return self._client

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

    def execute_once(self, *command: bytes | str | int) -> Any:
        """Send one command that must not be sent twice; see `Transport.execute_once`."""
        (reply,) = self.pipeline((command,), retry=False)
        if isinstance(reply, Exception):
            raise translate(reply, self.target, command)
        return reply

    def pipeline(self, commands: Sequence[Command], *, retry: bool = True) -> list[Any]:
        """Send several commands to their nodes and return their replies in order; see `Transport.pipeline`."""
        self._check_open()
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
        address, sent = self._located(command)
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
        reply = node.finish(connection, sent)
        return self._accepted(command, reply) if name_of(command) == "FT.CURSOR" else reply

    def discard(self, pending: Any) -> None:
        """Give up the reply to what `begin` sent; see `Transport.discard`."""
        node, connection, _ = pending
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
        for node in self._nodes.values():
            node.close()
        if self._owns_client and self._client is not None:
            self._client.close()

    def is_keyed(self, command: Command) -> bool:
        """Whether a command goes to the owner of its one key."""
        if name_of(command) in ("MGET", "DEL", "EXISTS", "UNLINK", "JSON.MGET") and len(command) > 2:
            return False
        return key_of(command) is not None

    def state(self) -> ClusterState:
        """Return the topology as far as it is known."""
        return self._watch.state or self._refresh(None)

    def owner_of(self, command: Command, topology: Topology) -> SingleServerTransport:
        """Return the node that a command with a key goes to."""
        key = key_of(command)
        owner = None if key is None else topology.owners[slot_of(key)]
        if owner is None:
            raise RedisConnectionError("a slot has no owner: the cluster is incomplete")
        return self._node(self._remap(owner.address))

    def is_redirection(self, reply: Any) -> bool:
        """Whether a reply says that a command was not carried out and is to be sent again, here or elsewhere."""
        return isinstance(reply, ResponseError) and is_passing(reply)

    # Commands with a key.

    def _send_keyed(self, commands: Sequence[Command], retry: bool) -> list[Any]:
        """Send commands to the owners of their keys until all are answered."""
        replies: list[Any] = [None] * len(commands)
        left = list(range(len(commands)))
        elsewhere: dict[int, AskError] = {}
        failures = redirections = 0
        began, backoff = time.monotonic(), Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        while left:
            problem: Exception | None = None
            try:
                left, problem = self._round(commands, left, elsewhere, replies, retry)
                if not left:
                    break
            except (RedisError, OSError) as error:
                problem = error
            if problem is None:
                # Redirected: the target of the redirection is asked at once, and then the new owners.
                redirections += 1
                if redirections > _REDIRECTIONS:
                    raise StorageError(f"{self.target.label} sends a command from node to node without end")
                elsewhere = {index: replies[index] for index in left if isinstance(replies[index], AskError)}
                if any(isinstance(error, MovedError) for error in elsewhere.values()):
                    self._refresh(self._redirected(next(iter(elsewhere.values()))))
                if len(elsewhere) == len(left) and redirections < 3:
                    continue
            else:
                failures += 1
                elsewhere = {}
                if not self._may_retry(problem, failures, time.monotonic() - began, retry):
                    failure = self._failure(problem, commands[left[0]])
                    break
            sleep(backoff.next())
            if problem is not None:
                try:
                    self._refresh(None)
                except (RelayModelsError, RedisError, OSError):
                    continue  # the next attempt says what is wrong
        else:
            return replies
        if not left:
            return replies
        raise failure

    def _round(
        self,
        commands: Sequence[Command],
        left: Sequence[int],
        elsewhere: dict[int, AskError],
        replies: list[Any],
        retry: bool,
    ) -> tuple[list[int], Exception | None]:
        """Send commands to all their nodes, then read from all; returns what is to be sent again, and why."""
        groups: dict[SingleServerTransport, list[int]] = {}
        topology = (self.state()).topology
        for index in left:
            if index in elsewhere:
                node = self._node(self._redirected(elsewhere[index]))
            else:
                node = self.owner_of(commands[index], topology)
            groups.setdefault(node, []).append(index)
        again: list[int] = []
        problem: Exception | None = None
        sent: list[tuple[SingleServerTransport, Any, list[int], list[Command]]] = []
        try:
            for node, indexes in groups.items():
                batch: list[Command] = []
                for index in indexes:
                    error = elsewhere.get(index)
                    if error is not None and not isinstance(error, MovedError):
                        batch.append(("ASKING",))
                    batch.append(commands[index])
                try:
                    connection = node.acquire(checked=not retry)
                    try:
                        node.send(connection, batch)
                    except BaseException:
                        node.discard(connection)
                        raise
                except (RedisError, OSError) as failure:
                    again += indexes
                    problem = self._said_where(failure, node)
                    continue
                sent.append((node, connection, indexes, batch))
            while sent:
                node, connection, indexes, batch = sent[0]
                try:
                    found = node.receive(connection, batch)
                except (RedisError, OSError) as failure:
                    sent.pop(0)
                    node.discard(connection)
                    again += indexes
                    problem = self._said_where(failure, node)
                    continue
                sent.pop(0)
                node.release(connection)
                answers = [reply for command, reply in zip(batch, found, strict=True) if command[0] != "ASKING"]
                for index, reply in zip(indexes, answers, strict=True):
                    replies[index] = reply
                    if self.is_redirection(reply):
                        again.append(index)
        finally:
            for node, connection, _, _ in sent:
                node.discard(connection)
        return sorted(again), problem

    def _redirected(self, error: AskError) -> Address:
        host, port = str(error.host), int(error.port)
        return self._remap((host, port)) if host else (self.target.servers[0][0], port)

    # Commands without a key, and with several.

    def _send_keyless(self, command: Command, retry: bool) -> Any:
        name = name_of(command)
        if name == "FT.INFO":
            return self._index_info(command)
        if name == "FT.CURSOR":
            return self._read_cursor(command)
        if is_search(command):
            return self._search(command)
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
        if name.startswith("FT."):
            self._check_coordinator()
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
        """One step of a SCAN over all primaries; it begins from the start where the topology changed meanwhile."""
        state = self.state()
        token = int(command[1])
        everywhere = [self._remap(primary.address) for primary in state.topology.primaries]
        addresses, cursor, generation = self._scans.pop(token, (everywhere, 0, -1)) if token else (everywhere, 0, -1)
        topology = hash(state.topology.primaries)
        if generation not in (-1, topology):
            addresses, cursor = everywhere, 0
        reply = self._on(self._node(addresses[0]), (command[0], cursor, *command[2:]))
        following, keys = int(reply[0]), reply[1]
        if not following:
            addresses = addresses[1:]
        if not addresses:
            return [b"0", keys]
        token = next(self._tokens)
        _remember(self._scans, token, (addresses, following, topology))
        return [b"%d" % token, keys]

    def _on(self, node: SingleServerTransport, command: Command) -> Any:
        """Send a command that may be sent twice to one node."""
        failures, began, backoff = 0, time.monotonic(), Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        while True:
            try:
                (reply,) = self._exchange(node, command, checked=failures > 0)
            except (RedisError, OSError) as error:
                failures += 1
                if not self._may_retry(error, failures, time.monotonic() - began, True):
                    failure = self._failure(self._said_where(error, node), command)
                    break
            else:
                if isinstance(reply, Exception):
                    raise translate(reply, self.target, command)
                return reply
            sleep(backoff.next())
        raise failure

    def _on_any(self, command: Command, retry: bool) -> Any:
        """Send a command to some primary, another one after each failure."""
        failures, began, backoff = 0, time.monotonic(), Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        while True:
            try:
                node = self._any_node()
                (reply,) = self._exchange(node, command, checked=not retry)
                if not self.is_redirection(reply):
                    return reply
                problem: Exception = reply
                if isinstance(reply, AskError):
                    return no_coordinator(self.target) if name_of(command).startswith("FT.") else reply
            except (RedisError, OSError) as error:
                problem = error
            self._turn += 1
            failures += 1
            if not self._may_retry(problem, failures, time.monotonic() - began, retry):
                failure = self._failure(problem, command)
                break
            sleep(backoff.next())
        raise failure

    def _exchange(self, node: SingleServerTransport, command: Command, *, checked: bool = False) -> list[Any]:
        """Send one command to one node, once; errors are redis-py's."""
        connection = node.acquire(checked=checked)
        try:
            node.send(connection, (command,))
            replies = node.receive(connection, (command,))
        except BaseException:
            node.discard(connection)
            raise
        node.release(connection)
        return replies

    # Searches.

    def _search(self, command: Command) -> Any:
        """Ask all shards, until an answer holds."""
        self._check_coordinator()
        self._check_offset(command)
        limit = self.timeout or _SEARCH_SECONDS
        deadline, backoff = time.monotonic() + limit, Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        while True:
            before = self._watch.state
            if before is None or before.problem:
                before = self._check()
            problem = before.problem
            if not problem:
                self._check_ranges(before)
                node = self._any_node()
                try:
                    (reply,) = self._exchange(node, command)
                except RedisTimeoutError:
                    raise timed_out(self.target, limit, node.target.label, self._check()) from None
                except (RedisError, OSError) as error:
                    if not is_retryable(error):
                        raise self._failure(self._said_where(error, node), command) from None
                    problem = str(self._said_where(error, node))
                    self._turn += 1
                else:
                    if isinstance(reply, AskError):
                        return no_coordinator(self.target)
                    if isinstance(reply, ResponseError) and is_search_passing(reply):
                        problem = str(reply)
                        self._check()
                        self._turn += 1
                    else:
                        after = self._check()
                        if after.generation == before.generation and not after.problem:
                            self._turn += 1
                            return self._with_cursor(command, reply, node, after.generation)
                        problem = after.problem or "the cluster changed while it was asked"
            if time.monotonic() > deadline or not self.retries:
                raise could_not_ask(self.target, problem)
            sleep(min(backoff.next(), 0.25))

    def _with_cursor(self, command: Command, reply: Any, node: SingleServerTransport, generation: int) -> Any:
        """The reply to a search, where a number of this transport stands for the cursor that it has."""
        if isinstance(reply, Exception) or not any(part in ("WITHCURSOR", b"WITHCURSOR") for part in command):
            return reply
        rows, cursor = reply
        if not cursor:
            return reply
        token = next(self._tokens)
        address = next(address for address, each in self._nodes.items() if each is node)
        _remember(self._cursors, token, (address, int(cursor), generation))
        return [rows, token]

    def _located(self, command: Command) -> tuple[Address | None, Command]:
        """Where a cursor is read, and the command with the number that it has there."""
        if name_of(command) != "FT.CURSOR":
            return None, command
        known = self._cursors.get(int(command[3]))
        state = self._watch.state
        if known is None or state is None or state.generation != known[2]:
            self._cursors.pop(int(command[3]), None)
            raise lost_cursor(self.target)
        return known[0], [*command[:3], known[1], *command[4:]]

    def _read_cursor(self, command: Command) -> Any:
        address, sent = self._located(command)
        assert address is not None
        node = self._node(address)
        try:
            (reply,) = self._exchange(node, sent, checked=True)
        except (RedisError, OSError) as error:
            raise self._failure(self._said_where(error, node), command) from None
        return reply if isinstance(reply, Exception) else self._accepted(command, reply)

    def _accepted(self, command: Command, reply: Any) -> Any:
        """The reply to FT.CURSOR READ, if every shard is still the one that the cursor began with."""
        token = int(command[3])
        if str(command[1]).upper() == "DEL" or command[1] == b"DEL":
            self._cursors.pop(token, None)
            return reply
        known = self._cursors.get(token)
        state = self._check()
        if known is None or state.problem or state.generation != known[2]:
            self._cursors.pop(token, None)
            raise lost_cursor(self.target)
        rows, cursor = reply
        if not cursor:
            self._cursors.pop(token, None)
            return reply
        return [rows, token]

    def _index_info(self, command: Command) -> Any:
        """FT.INFO, or the error of the search where a shard lacks the index: FT.INFO does not say so."""
        self._check_coordinator()
        found = self._search(
            ("FT.SEARCH", command[1], "*", "NOCONTENT", "LIMIT", 0, 0, "TIMEOUT", 0, "DIALECT", 2)
        )
        return found if isinstance(found, Exception) else self._on_any(command, True)

    def _check_coordinator(self) -> None:
        """Refuse servers whose search sees only the documents of the node that is asked."""
        if self._has_coordinator:
            return
        reply = self._on_any(("COMMAND", "INFO", "SEARCH.CLUSTERINFO", "FT.SEARCH"), True)
        if isinstance(reply, Exception):
            if not isinstance(translate(reply, self.target), PermissionDeniedError):
                raise translate(reply, self.target, ("COMMAND",))
        else:
            values = list(reply.values()) if isinstance(reply, dict) else list(reply)
            if len(values) < 2 or not values[1]:
                raise MissingModuleError(f"{self.target.label} has no search commands: use Redis 8")
            if not values[0]:
                raise no_coordinator(self.target)
        self._has_coordinator = True

    def _check_ranges(self, state: ClusterState) -> None:
        """Refuse servers that ask a primary with several ranges of slots several times, and double what it has."""
        if not state.topology.scattered:
            return
        if self._asks_once is None:
            reply = self._on_any(("INFO", "server"), True)
            text = reply.decode() if isinstance(reply, bytes) else ""
            version = next((line[14:] for line in text.splitlines() if line.startswith("redis_version:")), "0.0")
            major, minor = (int(part) for part in version.split(".")[:2])
            self._asks_once = (major, minor) >= _ASKS_ONCE
        if not self._asks_once:
            raise scattered_slots(self.target, state.topology)

    def _check_offset(self, command: Command) -> None:
        """Refuse an offset, which FT.SEARCH ignores on a cluster."""
        if name_of(command) != "FT.SEARCH":
            return
        for index, part in enumerate(command[:-2]):
            if part in ("LIMIT", b"LIMIT") and int(command[index + 1]):
                raise StorageError(
                    f"FT.SEARCH with an offset is not right on a cluster ({self.target.label}): sort by a unique key "
                    "and go on after the last one"
                )

    def _check(self) -> ClusterState:
        try:
            return self._watch.check()
        except (RedisError, OSError) as error:
            failure = translate(error, self.target, ("CLUSTER",))
        raise failure

    # Nodes.

    def _refresh(self, address: Address | None) -> ClusterState:
        """Read the topology; while some search waits for its check, its answer does not hold."""
        return self._watch.refresh(address)

    def _primaries(self) -> list[SingleServerTransport]:
        state = self.state()
        return [self._node(self._remap(primary.address)) for primary in state.topology.primaries]

    def _any_node(self) -> SingleServerTransport:
        nodes = self._primaries()
        return nodes[self._turn % len(nodes)]

    def _node(self, address: Address) -> SingleServerTransport:
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            node = SingleServerTransport(
                Redis.from_pool(self._settings.pool(host, port)),
                replace(self.target, label=f"{self.target.label} (node {host}:{port})"),
                0,
                timeout=self.timeout,
                replicas=self._replicas,
                replica_timeout=self._replica_timeout,
            )
            node = self._nodes.setdefault(address, node)
        return node

    def _check_open(self) -> None:
        if self.is_closed:
            raise StorageError(f"this backend of {self.target.label} is closed")

    def _may_retry(self, error: Exception, failures: int, elapsed: float, retry: bool) -> bool:
        if not retry or not self.retries:
            return False
        if isinstance(error, NotReplicated):
            return elapsed < self._replica_timeout
        passing = is_retryable(error) or (isinstance(error, ResponseError) and is_passing(error))
        return passing and (failures <= self.retries or elapsed < _FAILOVER_SECONDS)

    def _said_where(self, error: Exception, node: SingleServerTransport) -> Exception:
        """The error, with the node that it came from for `_failure`."""
        error.__dict__["node"] = node
        return error

    def _failure(self, error: Exception, command: Command) -> RelayModelsError:
        node = error.__dict__.get("node")
        return translate(error, self.target if node is None else node.target, command)


def _remember(table: OrderedDict[int, Any], token: int, value: Any) -> None:
    table[token] = value
    while len(table) > _REMEMBERED:
        table.popitem(last=False)
