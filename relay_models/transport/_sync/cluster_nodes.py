# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/cluster_nodes.py by scripts/generate_sync.py: change that, not this.
"""ClusterNodes: the nodes of a Redis Cluster, and commands to one of them, with redirections and bounded retries."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from redis.exceptions import (
    AskError,
    ConnectionError as RedisConnectionError,
    MovedError,
    RedisError,
    ResponseError,
)

from relay_models.errors import RelayModelsError, StorageError
from relay_models.transport._sync.cluster_node import ClusterNode
from relay_models.transport._sync.cluster_watch import ClusterState, ClusterWatch
from relay_models.transport._sync.interface import Command
from relay_models.transport._sync.patience import Patience
from relay_models.transport._sync.servers import ServerSettings
from relay_models.transport._io_sync import sleep
from relay_models.transport.backoff import Backoff
from relay_models.transport.cluster_errors import (
    is_passing,
    no_coordinator,
)
from relay_models.transport.command_table import key_of, name_of
from relay_models.transport.error_mapping import NotReplicated, is_retryable, said_by, translate
from relay_models.transport.time_limit import time_left
from relay_models.transport.topology import Topology, slot_of
from relay_models.transport.urls import Address, Target

__all__ = ["ClusterNodes"]

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.05, 1.0
# How long commands are tried again while a shard has no primary (seconds): the cluster's node timeout and a few more.
_FAILOVER_SECONDS = 20.0
# What a shard gives in one piece. Where it gives more, a document that is replaced between two pieces comes without its
# sort value, so at the end or not at all.
_ORDERED_ROWS = 1000
# Redirections of one command that are followed.
_REDIRECTIONS = 16


class ClusterNodes:
    """The nodes of a cluster: one transport to each, made when it is first needed.

    Args:
        target: nodes to begin with.
        retries: maximum number of further attempts after a lost connection; 0 also waits for no failover.
        settings: how to connect to nodes.
        remap: maps the address that a node announces to the one to connect to.
        replicas: how many replicas must have every write before it is acknowledged.
        replica_timeout: maximum wait for them (seconds).
    """

    def __init__(
        self,
        target: Target,
        retries: int,
        *,
        settings: ServerSettings,
        remap: Callable[[Address], Address] | None = None,
        replicas: int = 0,
        replica_timeout: float = 5.0,
    ) -> None:
        self.target = target
        self.timeout = settings.timeout
        self.retries = retries
        self.ordered_rows: int | None = _ORDERED_ROWS
        self.is_closed = False
        self._settings = settings
        self._remap = remap or (lambda address: address)
        self._replicas = replicas
        self._replica_timeout = replica_timeout
        self._watch = ClusterWatch(settings, target.servers, self._remap)
        self._nodes: dict[Address, ClusterNode] = {}
        self._turn = random.randrange(1 << 16)

    def state(self) -> ClusterState:
        """Return the topology as far as it is known."""
        return self._watch.state or self._refresh(None)

    def owner_of(self, command: Command, topology: Topology) -> ClusterNode:
        """Return the node that a command with a key goes to."""
        key = key_of(command)
        if key is None:
            raise StorageError(f"{name_of(command)} has no key")
        return self.owner_of_key(key, topology)

    def owner_of_key(self, key: bytes, topology: Topology) -> ClusterNode:
        """Return the node that has a key."""
        owner = topology.owners[slot_of(key)]
        if owner is None:
            raise RedisConnectionError("a slot has no owner: the cluster is incomplete")
        address = self._remap(owner.address)
        return self._nodes.get(address) or self._node(address)

    def is_redirection(self, reply: Any) -> bool:
        """Whether a reply says that a command was not carried out and is to be sent again, here or elsewhere."""
        return isinstance(reply, ResponseError) and is_passing(reply)

    def _send_keyed(self, commands: Sequence[Command], retry: bool) -> list[Any]:
        """Send commands to the owners of their keys until all are answered."""
        replies: list[Any] = [None] * len(commands)
        left = list(range(len(commands)))
        elsewhere: dict[int, AskError] = {}
        silent: frozenset[Address] = frozenset()
        failures = redirections = 0
        began, backoff = time.monotonic(), Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        while left:
            problem: Exception | None = None
            try:
                left, problem = self._round(commands, left, elsewhere, replies, retry, silent)
                if not left:
                    break
                if problem is None:  # a node that is no primary (any more), or whose cluster is down
                    refusals = (replies[index] for index in left if not isinstance(replies[index], AskError))
                    problem = next(refusals, None)
            except (RedisError, OSError) as error:
                problem = error
            if problem is None:
                # Redirected: the target of the redirection is asked at once, and then the new owners.
                redirections += 1
                if redirections > _REDIRECTIONS and time.monotonic() - began > self._failover_seconds:
                    raise StorageError(
                        f"{self.target.label} sends a command from node to node without end: {replies[left[0]]}"
                    )
                elsewhere = {index: replies[index] for index in left if isinstance(replies[index], AskError)}
                if any(isinstance(error, MovedError) for error in elsewhere.values()):
                    self._refresh(self._redirected(next(iter(elsewhere.values()))))
                if len(elsewhere) == len(left) and redirections < 3:
                    continue
            else:
                failures += 1
                elsewhere = {}
                was_refused = isinstance(problem, ResponseError)  # so that it may be sent again in any case
                if not self._may_retry(problem, failures, time.monotonic() - began, retry or was_refused):
                    failure = translate(problem, self.target, commands[left[0]])
                    break
            sleep(min(backoff.next(), time_left()))
            if problem is not None:
                try:
                    silent = (self._check()).silent
                except RelayModelsError:
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
        silent: frozenset[Address],
    ) -> tuple[list[int], Exception | None]:
        """Send commands to all their nodes, then read from all; returns what is to be sent again, and why.

        Nothing is sent to nodes that were `silent` just now: a new connection to one that hangs would hang, too.
        """
        groups: dict[ClusterNode, list[int]] = {}
        topology = (self.state()).topology
        for index in left:
            if index in elsewhere:
                node = self._node(self._redirected(elsewhere[index]))
            else:
                node = self.owner_of(commands[index], topology)
            groups.setdefault(node, []).append(index)
        again: list[int] = []
        problem: Exception | None = None
        sent: list[tuple[ClusterNode, Any, list[int], list[Command]]] = []
        try:
            for node, indexes in groups.items():
                batch: list[Command] = []
                for index in indexes:
                    error = elsewhere.get(index)
                    if error is not None and not isinstance(error, MovedError):
                        batch.append(("ASKING",))
                    batch.append(commands[index])
                try:
                    if node.address in silent:
                        raise RedisConnectionError("it does not answer")
                    connection = node.acquire(checked=not retry)
                    try:
                        node.send(connection, batch)
                    except BaseException:
                        node.discard(connection)
                        raise
                except (RedisError, OSError) as failure:
                    again += indexes
                    said_by(node.target, failure)
                    problem = failure
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
                    said_by(node.target, failure)
                    problem = failure
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

    def _on(self, node: ClusterNode, command: Command) -> Any:
        """Send a command that may be sent twice to one node."""
        failures, began, backoff = 0, time.monotonic(), Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        while True:
            try:
                (reply,) = self._exchange(node, command, checked=failures > 0)
            except (RedisError, OSError) as error:
                failures += 1
                if not self._may_retry(error, failures, time.monotonic() - began, True):
                    failure = translate(error, self.target, command)
                    break
            else:
                if isinstance(reply, Exception):
                    raise translate(reply, self.target, command)
                return reply
            sleep(min(backoff.next(), time_left()))
        raise failure

    def _on_any(self, command: Command, retry: bool) -> Any:
        """Send a command to some primary, another one after each failure."""
        failures, began, backoff = 0, time.monotonic(), Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        while True:
            try:
                node = self._any_node(failures if name_of(command) == "TIME" else None)
                patience = Patience(partial(self._check_answers, node), self.timeout)
                (reply,) = self._exchange(node, command, checked=not retry, patience=patience)
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
                failure = translate(problem, self.target, command)
                break
            sleep(min(backoff.next(), time_left()))
        raise failure

    def _exchange(
        self, node: ClusterNode, command: Command, *, checked: bool = False, patience: Patience | None = None
    ) -> list[Any]:
        """Send one command to one node, once; errors are redis-py's."""
        try:
            connection = node.acquire(checked=checked)
            try:
                node.send(connection, (command,))
                replies = node.receive(connection, (command,), patience=patience)
            except BaseException:
                node.discard(connection)
                raise
        except (RedisError, OSError) as error:
            said_by(node.target, error)
            raise
        node.release(connection)
        return replies

    def _check_answers(self, node: ClusterNode) -> None:
        """Raise a connection error if a node hangs: another one may answer."""
        state = self._check()
        if node.address in state.silent or node.address not in self._watch.addresses(state):
            raise RedisConnectionError("it does not answer")

    def _check(self) -> ClusterState:
        try:
            return self._watch.check()
        except (RedisError, OSError) as error:
            failure = translate(error, self.target, ("CLUSTER",))
        raise failure

    def _refresh(self, address: Address | None) -> ClusterState:
        """Read the topology; while some search waits for its check, its answer does not hold."""
        return self._watch.refresh(address)

    def _primaries(self) -> list[ClusterNode]:
        return [self._node(address) for address in self._watch.addresses(self.state())]

    def _any_node(self, turn: int | None = None) -> ClusterNode:
        """The primary whose turn it is, of those that answered the last check if there are any.

        Args:
            turn: whose turn it is, for what is always to be asked of the same one, such as the time: clocks differ.
        """
        state = self.state()
        addresses = list(self._watch.addresses(state))
        answering = [address for address in addresses if address not in state.silent] or addresses
        return self._node(answering[(self._turn if turn is None else turn) % len(answering)])

    def _node(self, address: Address) -> ClusterNode:
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            node = ClusterNode(
                address,
                self._watch,
                replace(self.target, label=f"{self.target.label} (node {host}:{port})"),
                settings=self._settings,
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
        if elapsed >= (self.timeout or math.inf) or not time_left():
            return False
        passing = is_retryable(error) or (isinstance(error, ResponseError) and is_passing(error))
        return passing and (failures <= self.retries or elapsed < self._failover_seconds)

    @property
    def _failover_seconds(self) -> float:
        """How long commands are tried again while nodes do not agree on a primary for them."""
        return min(_FAILOVER_SECONDS, self.timeout or math.inf)
