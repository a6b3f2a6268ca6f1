"""ClusterSearch: searches on a Redis Cluster, whose answers are those of all shards or none."""

from __future__ import annotations

import itertools
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from redis.exceptions import (
    AskError,
    ConnectionError as RedisConnectionError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from relay_models.errors import ConnectionFailedError, MissingModuleError, PermissionDeniedError, StorageError
from relay_models.transport._async.cluster_node import ClusterNode
from relay_models.transport._async.cluster_nodes import ClusterNodes
from relay_models.transport._async.cluster_watch import ClusterState
from relay_models.transport._async.interface import Command
from relay_models.transport._async.patience import Patience
from relay_models.transport._async.servers import ServerSettings
from relay_models.transport._io_async import sleep
from relay_models.transport.backoff import Backoff
from relay_models.transport.cluster_errors import (
    are_slots_unavailable,
    could_not_ask,
    is_search_passing,
    lost_cursor,
    no_coordinator,
    scattered_slots,
    timed_out,
)
from relay_models.transport.command_table import is_search, name_of
from relay_models.transport.coordinators import coordinated_shards
from relay_models.transport.error_mapping import is_retryable, translate
from relay_models.transport.time_limit import time_left, time_limit
from relay_models.transport.transaction import Glance, Timed
from relay_models.transport.undoubling import Undoubling
from relay_models.transport.urls import Address, Target

__all__ = ["ClusterSearch"]

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.05, 0.25
# Open cursors that are remembered.
_REMEMBERED = 10_000
# Maximum time for a search where the transport has no timeout (seconds).
_SEARCH_SECONDS = 60.0
# Maximum time for a search that is of use only now (seconds).
_GLANCE_SECONDS = 2.0
# The first release whose coordinator asks a primary once, however many ranges of slots it owns: that of the search
# module, which may be older than the server, as INFO has it; the server's where that has none.
_ASKS_ONCE = (8, 4)
_MODULE = re.compile(r"^module:name=search,ver=(\d+)(\d\d)\d\d\b", re.MULTILINE)
_SERVER = re.compile(r"^redis_version:(\d+)\.(\d+)", re.MULTILINE)


class _NoAnswer(Exception):
    """Not all shards were asked; the text says why."""


class ClusterSearch(ClusterNodes):
    """Searches, each of which is asked again until every primary was the same and alive before and after it.

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
        super().__init__(
            target, retries, settings=settings, remap=remap, replicas=replicas, replica_timeout=replica_timeout
        )
        self._cursor_tokens = itertools.count(1)
        self._cursors: OrderedDict[int, tuple[Address, int, int, Undoubling | None]] = OrderedDict()
        self._has_coordinator = False
        self._asks_once: bool | None = None
        # In which generation each node's coordinator was seen to ask all shards.
        self._reaching: dict[Address, int] = {}

    async def _search(self, command: Command, *, exact: bool = True) -> Any:
        """Ask all shards, until an answer holds.

        Args:
            command: a command of the search.
            exact: whether the answer depends on each document being there, once; otherwise it is enough to reach every
                shard, also while slots are being moved.
        """
        self._check_offset(command)
        limit = self._search_seconds
        with time_limit(min(limit, _GLANCE_SECONDS) if isinstance(command, Glance) else limit):
            await self._check_coordinator()
            return await self._search_in_time(command, exact)

    async def _search_in_time(self, command: Command, exact: bool) -> Any:
        """Ask all shards, until an answer holds or the time is up."""
        limit, backoff = time_left(), Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        may_wait = self.retries and not isinstance(command, Glance)
        while True:
            failed: tuple[str, ...] = ()
            try:
                before = self._watch.state
                if before is None or before.problem:
                    before = await self._check()
                failed, problem = before.failed, before.problem if exact else before.fault
                if not problem:
                    return await self._ask_shards(command, before, exact, limit)
            except _NoAnswer as error:
                problem = str(error)
            except ConnectionFailedError as error:  # no node at all answered
                if not may_wait or not time_left():
                    raise
                problem = str(error)
            self._turn += 1
            if not may_wait or not time_left():
                state = self._watch.state
                if state is not None and state.problem and state.problem not in problem:
                    problem = f"{problem}; {state.problem}"
                raise could_not_ask(self.target, problem, failed)
            await sleep(min(backoff.next(), time_left()))

    @property
    def _search_seconds(self) -> float:
        """The maximum time for a search."""
        return self.timeout or _SEARCH_SECONDS

    async def _ask_shards(self, command: Command, before: ClusterState, exact: bool, limit: float) -> Any:
        """Ask all shards once.

        Raises:
            _NoAnswer: there is no answer that holds, but there may be one a little later.
        """
        undoubling = await self._undoubling(command, before) if exact else None
        sent = command if undoubling is None or undoubling.command is None else undoubling.command
        node = await self._any_node()
        patience = Patience(partial(self._look, before, exact), None)
        try:
            await self._check_reach(node, before, command, patience)
            asked_at = time.monotonic()
            (reply,) = await self._exchange(node, sent, patience=patience)
            elapsed_ms = (time.monotonic() - asked_at) * 1000
            if isinstance(reply, AskError):
                return no_coordinator(self.target)
            if exact:
                await self._check_same(before)
        except RedisTimeoutError:
            state = await self._check()
        except (RedisError, OSError) as error:
            if not is_retryable(error):
                raise translate(error, self.target, command) from None
            raise _NoAnswer(error) from None
        else:
            if isinstance(reply, ResponseError) and is_search_passing(reply):
                if are_slots_unavailable(reply) and not exact:
                    return reply
                raise _NoAnswer(reply)
            self._turn += 1
            if name_of(command) == "FT.TAGVALS" and isinstance(reply, list | set) and b"" not in reply:
                reply = [b"", *reply]  # a coordinator leaves the empty value out, whether or not a shard has it
            found = self._with_cursor(command, reply, node, before.generation, undoubling)
            if isinstance(found, list):
                found = Timed(found)
                found.elapsed_ms = elapsed_ms
            return found
        raise timed_out(self.target, limit, node.target.label, state)

    async def _check_reach(self, node: ClusterNode, state: ClusterState, command: Command, patience: Patience) -> None:
        """Raise a connection error unless a node's coordinator knows all shards; checked once after each change.

        It may learn of a change later than the node itself, and knows none before it is first used.
        (FT.PROFILE would tell how many it reaches, but ends a server of 8.0 where a shard answers with an error.)
        """
        if self._reaching.get(node.address) == state.generation or len(state.topology.primaries) == 1:
            return  # (an only shard's coordinator knows no shards, whatever it is used for)
        (reply,) = await self._exchange(node, ("SEARCH.CLUSTERINFO",), patience=patience)
        shards = None if isinstance(reply, Exception) else coordinated_shards(reply)
        if shards == set():
            if is_search(command):
                wake = ("FT.SEARCH", command[1], "*", "NOCONTENT", "LIMIT", 0, 0, "DIALECT", 2)
                (reply,) = await self._exchange(node, wake, patience=patience)
                if not isinstance(reply, Exception):
                    raise RedisConnectionError(f"the search of {node.target.label} has begun just now")
            return
        if shards is not None:
            tells_slots = all(first >= 0 for _, first, _ in shards)
            primaries = state.topology.primaries
            owned = {(each.id, *part) for each in primaries for part in (each.slots if tells_slots else [(-1, -1)])}
            if shards != owned:
                await self._check()
                raise RedisConnectionError(f"the search of {node.target.label} does not know all shards (yet)")
        self._reaching[node.address] = state.generation

    async def _check_same(self, before: ClusterState) -> None:
        """Raise a connection error if some shard is not what it was, so that no answer can hold."""
        after = await self._check_in_time()
        if after.generation != before.generation or after.problem:
            raise RedisConnectionError(after.problem or "the cluster changed while it was asked")

    async def _check_in_time(self) -> ClusterState:
        """A check for which shards that are busy are waited for."""
        while True:
            state = await self._check()
            if not state.is_late or not time_left():
                return state

    async def _look(self, before: ClusterState, exact: bool) -> None:
        """Raise a connection error if some shard has changed or is lost: not if it is only busy, as with the search."""
        after = await self._check()
        if exact and after.generation != before.generation:
            raise RedisConnectionError(after.problem or "the cluster changed while it was asked")
        if not after.is_late and (problem := after.problem if exact else after.fault):
            raise RedisConnectionError(problem)

    def _with_cursor(
        self, command: Command, reply: Any, node: ClusterNode, generation: int, undoubling: Undoubling | None
    ) -> Any:
        """The reply to a search, where a number of this transport stands for the cursor that it has."""
        if undoubling is not None:
            reply = undoubling.answer(reply)
        if isinstance(reply, Exception) or not any(part in ("WITHCURSOR", b"WITHCURSOR") for part in command):
            return reply
        rows, cursor = reply
        if not cursor:
            return reply
        token = next(self._cursor_tokens)
        self._cursors[token] = (node.address, int(cursor), generation, undoubling)
        while len(self._cursors) > _REMEMBERED:
            self._cursors.popitem(last=False)
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

    async def _read_cursor(self, command: Command) -> Any:
        address, sent = self._located(command)
        assert address is not None
        node = self._node(address)
        with time_limit(self._search_seconds):
            try:
                (reply,) = await self._exchange(node, sent, checked=True, patience=self._cursor_patience(command))
            except (RedisError, OSError) as error:
                failure = translate(error, self.target, command)
            else:
                return reply if isinstance(reply, Exception) else await self._accepted(command, reply)
        raise failure

    def _cursor_patience(self, command: Command) -> Patience:
        """Waits for a read of a cursor as long as every shard is the one that the cursor began with."""
        known = self._cursors.get(int(command[3]))

        async def look() -> None:
            state = await self._check()
            if known is None or state.generation != known[2] or (state.problem and not state.is_late):
                raise RedisConnectionError(state.problem or "the cluster has changed since the cursor was made")

        return Patience(look, None)

    async def _accepted(self, command: Command, reply: Any) -> Any:
        """The reply to FT.CURSOR READ, if every shard is still the one that the cursor began with."""
        token = int(command[3])
        if str(command[1]).upper() == "DEL" or command[1] == b"DEL":
            self._cursors.pop(token, None)
            return reply
        known = self._cursors.get(token)
        state = await self._check_in_time()
        if known is None or state.problem or state.generation != known[2]:
            self._cursors.pop(token, None)
            raise lost_cursor(self.target)
        rows, cursor = reply if known[3] is None else known[3].answer(reply)
        if not cursor:
            self._cursors.pop(token, None)
            return [rows, cursor]
        return [rows, token]

    async def _index_info(self, command: Command) -> Any:
        """FT.INFO, or the error of the search where a shard lacks the index: FT.INFO does not say so."""
        await self._check_coordinator()
        found = await self._search(
            ("FT.SEARCH", command[1], "*", "NOCONTENT", "LIMIT", 0, 0, "TIMEOUT", 0, "DIALECT", 2), exact=False
        )
        is_moving = are_slots_unavailable(found)  # a shard that lacks the index says so to the first search after it
        if isinstance(found, Exception) and not is_moving:
            return found
        reply = await self._search(command, exact=False)
        if isinstance(reply, list) and b"num_docs" in reply[::2]:
            fields = dict(zip(reply[::2], reply[1::2], strict=True))
            documents = int(float(fields[b"num_docs"]))
            if not is_moving:  # before 8.2.6 the documents of replicas are in it, too
                documents = min(documents, int(found[0]))
            # The greatest number of any shard says nothing of the others: what all shards have indexed grows with it.
            greatest = sum(int(float(fields.get(name, 0))) for name in (b"max_doc_id", b"num_records"))
            fields |= {b"num_docs": documents, b"max_doc_id": documents + greatest}
            return [part for pair in fields.items() for part in pair]
        return reply

    async def _check_coordinator(self) -> None:
        """Refuse servers whose search sees only the documents of the node that is asked."""
        if self._has_coordinator:
            return
        reply = await self._on_any(("COMMAND", "INFO", "SEARCH.CLUSTERINFO", "FT.SEARCH"), True)
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

    async def _undoubling(self, command: Command, state: ClusterState) -> Undoubling | None:
        """How to put a search to servers that ask a primary once for each of its ranges of slots; None for others.

        Raises:
            StorageError: what it asks for would be there several times.
        """
        if not state.topology.scattered:
            return None
        if self._asks_once is None:
            reply = await self._on_any(("INFO",), True)
            text = reply.decode() if isinstance(reply, bytes) else ""
            found = _MODULE.search(text) or _SERVER.search(text)
            self._asks_once = found is not None and (int(found[1]), int(found[2])) >= _ASKS_ONCE
        if self._asks_once or isinstance(command, Glance):
            return None
        undoubling = Undoubling(command, max(len(primary.slots) for primary in state.topology.primaries))
        if undoubling.command is None:
            raise scattered_slots(self.target, state.topology)
        return undoubling

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
