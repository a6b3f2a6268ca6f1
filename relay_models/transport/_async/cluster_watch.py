"""ClusterWatch: says whether all primaries of a cluster stayed alive, and the same, from one moment to another."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from redis.exceptions import (
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from relay_models.transport._async.servers import ServerSettings
from relay_models.transport._io_async import Lock, heeding_cancellation, read_reply, shielded
from relay_models.transport.topology import NodeView, Topology, newest, parse_nodes
from relay_models.transport.urls import Address

__all__ = ["ClusterState", "ClusterWatch"]

# Maximum wait for one node's answer to CLUSTER NODES (seconds).
_ANSWER_SECONDS = 2.0
# How long a primary may be busy where the transport has no timeout (seconds).
_BUSY_SECONDS = 60.0
# After a change, coordinators may use the old topology for a while: they look at theirs once a second.
_SETTLING_SECONDS = 1.5
# A server that was started so long ago may have been started just now: its coordinator connects at its first search.
_YOUNG_SECONDS = 10
# When a node was last asked and last answered, in a line of CLUSTER NODES.
_PULSE = re.compile(rb" \d+ \d+ (?=\d+ (?:dis)?connected)")


@dataclass(frozen=True)
class ClusterState:
    """What a check found.

    Attributes:
        generation: grows with every change of the topology, and whenever a primary was lost, restarted or left out.
        topology: the primaries.
        problem: why answers of all shards cannot be trusted now; empty where they can.
        fault: the part of it that is no mere change: shards that do not answer or agree, slots without an owner.
        failed: nodes that the cluster takes for dead.
        replicas: replicas that can be reached: the id of the primary, the address.
        silent: the addresses of primaries that did not answer.
        epochs: the sum of the primaries' configuration epochs, which grows with every change of a slot's owner.
        is_late: whether nothing is wrong but that primaries have not answered yet, as those do not that are busy.
    """

    generation: int
    topology: Topology
    problem: str = ""
    failed: tuple[str, ...] = ()
    replicas: tuple[tuple[str, Address], ...] = ()
    silent: frozenset[Address] = frozenset()
    fault: str = ""
    epochs: int = 0
    is_late: bool = False


@dataclass(slots=True)
class _Line:
    """A connection over which a primary is asked: how many questions have no reply yet, when the last reply came."""

    connection: Any
    answered_at: float
    unanswered: int = 0


class ClusterWatch:
    """Keeps one connection to every primary of a cluster, and asks over it what the primary knows of the cluster.

    An answer that was put together from all shards holds if the check after it finds the generation of the check
    before it: then each primary answered over the same connection, so it is the same process, which lived all the time;
    and the slots were owned by the same primaries all the time, none was being moved, and all primaries agree.
    Concurrent callers share a check.

    A primary that is busy with a long search answers nothing meanwhile. So one that is late keeps its connection, and
    is the same if it answers over that later, unless the others take it for dead.

    Args:
        settings: how to connect to nodes.
        servers: nodes to begin with.
        remap: maps the address that a node announces to the one to connect to.
    """

    def __init__(
        self, settings: ServerSettings, servers: tuple[Address, ...], remap: Callable[[Address], Address]
    ) -> None:
        self._settings = settings
        self._answer_seconds = min(_ANSWER_SECONDS, settings.timeout or _ANSWER_SECONDS)
        self._busy_seconds = settings.timeout or _BUSY_SECONDS
        self._servers = servers
        self._remap = remap
        self._lock = Lock()
        self._lines: dict[Address, _Line] = {}
        # What each node said last, without what is new each time, and as it was read.
        self._views: dict[Address, tuple[bytes, NodeView]] = {}
        # Rounds of questions that have begun, and the last of them that came to its end.
        self._rounds = self._last_whole = 0
        self._has_checked = False
        self._connected = 0
        self._changed_at = float("-inf")
        self.state: ClusterState | None = None

    async def check(self) -> ClusterState:
        """Ask every primary, in a round of questions that begins now or later."""
        wanted = self._rounds + 1
        async with self._lock:
            if self._last_whole < wanted or self.state is None:
                self._rounds += 1
                self.state = await self._ask_all(self.state or await self._begin())
                self._last_whole = self._rounds
            return self.state

    async def refresh(self, address: Address | None = None) -> ClusterState:
        """Read the topology from one node, the one that is named if it answers, without asking the others."""
        async with self._lock:
            self._rounds += 1
            before, connected = self.state, self._connected
            view = await self._any_view(address)
            # A primary with a new connection may have been restarted, which no check would notice after this.
            generation = (1 if before is None else before.generation) + self._connected - connected
            if before is not None and _has_changed(before, view):
                generation += 1
                self._changed_at = time.monotonic()
            self.state = ClusterState(
                generation,
                view.topology,
                "not checked yet",
                view.failed,
                view.replicas,
                fault="not checked yet",
                epochs=view.epochs,
            )
            self._last_whole = self._rounds
            return self.state

    def addresses(self, state: ClusterState) -> dict[Address, str]:
        """Where the primaries are, and what they are called in messages."""
        return {self._remap(primary.address): primary.label for primary in state.topology.primaries}

    async def close(self) -> None:
        """Close the connections."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            await line.connection.disconnect()

    async def _begin(self) -> ClusterState:
        view = await self._any_view(None)
        return ClusterState(1, view.topology, replicas=view.replicas, epochs=view.epochs)

    async def _any_view(self, first: Address | None) -> NodeView:
        known = [primary.address for primary in self.state.topology.primaries] if self.state else []
        asked = dict.fromkeys([*([first] if first else []), *map(self._remap, known), *self._servers])
        problem: Exception | None = None
        for address in asked:
            try:
                view = await self._view(address, time.monotonic() + self._answer_seconds)
            except (RedisError, OSError, ValueError) as error:
                problem = error
                continue
            if view.topology.primaries:
                return view
        if problem is not None:
            raise problem
        raise RedisConnectionError("no node of the cluster knows who owns its slots")

    async def _ask_all(self, before: ClusterState) -> ClusterState:
        """Ask all primaries at once."""
        addresses = self.addresses(before)
        ids = {self._remap(primary.address): primary.id for primary in before.topology.primaries}
        problems: list[str] = []
        changes: list[str] = []
        moving: list[str] = []
        late: list[str] = []
        silent: set[Address] = set()
        has_checked, self._has_checked = self._has_checked, True
        generation = before.generation
        views: list[NodeView] = []
        unread: list[Address] = []
        try:
            for address, label in addresses.items():
                generation += address not in self._lines
                try:
                    await self._send(address)
                    unread.append(address)
                except (RedisError, OSError) as error:
                    silent.add(address)
                    problems.append(f"the shard {label} {_why(error)}")
            deadline = time.monotonic() + self._answer_seconds
            while unread:
                label = addresses[unread[0]]
                try:
                    view = await self._receive(unread[0], deadline)
                except ResponseError:
                    raise
                except RedisTimeoutError as error:
                    silent.add(unread[0])
                    if time.monotonic() - self._lines[unread[0]].answered_at < self._busy_seconds:
                        late.append(f"the shard {label} {_why(error)}")
                    else:
                        generation += 1
                        problems.append(f"the shard {label} {_why(error)}")
                        await self._drop(unread[0])
                except (RedisError, OSError, ValueError) as error:
                    generation += 1
                    silent.add(unread[0])
                    problems.append(f"the shard {label} {_why(error)}")
                else:
                    views.append(view)
                    if view.primary != ids[unread[0]]:
                        problems.append(f"{label} is {'another' if view.primary else 'no'} primary now")
                    elif view.is_moving:
                        moving.append(label)
                unread.pop(0)
        finally:
            for address in unread:  # a reply that is read later would be taken for that to a later question
                await self._drop(address)
        if not views and late and not problems:
            told = "; ".join(late)
            return replace(before, problem=told, fault=told, silent=frozenset(silent), is_late=True)
        if not views:
            view = await self._any_view(None)
            problems.append("no shard answered")
        else:
            view = newest(views)
        topology = view.topology
        # Nodes may name one of them differently: one that does not know its own address, or has several.
        agree = all(each.topology.owned == topology.owned for each in views)
        if not agree:
            problems.append("the shards do not agree who owns which slots (yet)")
        failing = {label for each in views for label in each.failing}
        if failing:
            problems.append(f"the cluster does not reach the shard {', '.join(sorted(failing))}")
        if not topology.is_complete:
            problems.append("some slots have no owner")
        # Coordinators may go without a shard that a node did not know, or took for dead, for a while after that.
        was_left_out = not agree or any(label in each.failed for each in views for label in each.failing)
        generation += was_left_out or _has_changed(before, view)
        if was_left_out or (generation != before.generation and has_checked):
            self._changed_at = time.monotonic()
        if moving:
            changes.append(
                f"slots are being moved from or to {' and '.join(moving)} "
                f"(if no reshard runs, one was interrupted: redis-cli --cluster fix {moving[0]} completes it)"
            )
        if not problems and time.monotonic() - self._changed_at < _SETTLING_SECONDS:
            changes.append("the cluster has changed just now")
        await self._forget({self._remap(primary.address) for primary in topology.primaries})
        return ClusterState(
            generation,
            topology,
            "; ".join(dict.fromkeys(late + problems + changes)),
            view.failed,
            view.replicas,
            frozenset(silent),
            "; ".join(dict.fromkeys(late + problems)),
            view.epochs,
            bool(late) and not problems and not changes and generation == before.generation,
        )

    async def _view(self, address: Address, deadline: float) -> NodeView:
        await self._send(address)
        return await self._receive(address, deadline)

    async def _send(self, address: Address) -> None:
        line = self._lines.get(address)
        connection: Any = None if line is None else line.connection
        try:
            if line is None:
                connection = self._settings.connection(
                    *address,
                    socket_timeout=self._answer_seconds,
                    socket_connect_timeout=min(self._answer_seconds, self._settings.connect_timeout or math.inf),
                )
                await heeding_cancellation(connection.connect)
                await self._see_start(connection)
                line = self._lines[address] = _Line(connection, time.monotonic())
                self._connected += 1
            line.unanswered += 1
            await heeding_cancellation(connection.send_packed_command, connection.pack_command("CLUSTER", "NODES"))
        except BaseException:
            self._lines.pop(address, None)
            if connection is not None:
                await shielded(connection.disconnect, nowait=True)
            raise

    async def _see_start(self, connection: Any) -> None:
        """Take a server that was started just now for a change: the others may not be connected to it yet."""
        await heeding_cancellation(connection.send_packed_command, connection.pack_command("INFO", "server"))
        try:
            reply = await read_reply(connection, self._answer_seconds)
        except NoPermissionError:
            return
        found = re.search(rb"uptime_in_seconds:(\d+)", reply if isinstance(reply, bytes) else str(reply).encode())
        if found is not None and int(found[1]) <= _YOUNG_SECONDS:
            self._changed_at = time.monotonic()

    async def _receive(self, address: Address, deadline: float) -> NodeView:
        line = self._lines[address]
        try:
            reply: Any = None
            while line.unanswered:  # the last reply is that to the last question
                reply = await read_reply(line.connection, max(0.01, deadline - time.monotonic()))
                line.unanswered -= 1
            line.answered_at = time.monotonic()
            text = reply if isinstance(reply, bytes) else str(reply).encode()
            lasting = _PULSE.sub(b" ", text)
            known = self._views.get(address)
            if known is None or known[0] != lasting:
                known = self._views[address] = (lasting, parse_nodes(text, address))
            return known[1]
        except RedisTimeoutError:
            raise
        except ResponseError:
            line.unanswered -= 1
            raise
        except BaseException:
            await self._drop(address)
            raise

    async def _drop(self, address: Address) -> None:
        line = self._lines.pop(address, None)
        if line is not None:
            with suppress(RedisError, OSError):
                await shielded(line.connection.disconnect, nowait=True)

    async def _forget(self, wanted: set[Address]) -> None:
        """Close the connections to nodes that are no primaries (any more)."""
        for address in [address for address in self._lines if address not in wanted]:
            await self._drop(address)


def _has_changed(before: ClusterState, view: NodeView) -> bool:
    """Whether slots have another owner, or had one meanwhile: then epochs have grown, though all is as it was."""
    return view.topology != before.topology or view.epochs != before.epochs


def _why(error: Exception) -> str:
    return "is still loading its data" if isinstance(error, BusyLoadingError) else f"does not answer ({error})"
