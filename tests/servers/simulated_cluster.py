"""SimulatedCluster: a Redis Cluster with a search coordinator, made of embedded engines, with the traps of real ones.

Each node is an engine of its own behind a port: it has the documents of its slots only, and knows the indexes that were
made on it. The coordinator (`simulated_coordinator`) puts an answer together from the shards that its node knows of,
also where that is wrong: one is dead, lacks the index, fills it, or was added a moment ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import redis.crc

from relay_models.embedded import EmbeddedServer, serving
from tests.servers.simulated_coordinator import Coordinator, Indexes
from tests.servers.simulated_session import Session

__all__ = ["SimulatedCluster", "SimulatedNode"]

_SLOTS = 16384


class SimulatedNode:
    """One primary: an engine behind a port, the slots that it owns, and what is wrong with it.

    Attributes:
        is_dead: whether nothing listens on its port.
        is_paused: whether it leaves everything unanswered.
        filling: how many more searches and FT.INFO find its index without its documents, which are being indexed.
        migrating: slots that are being moved away, and the nodes they go to.
        importing: slots that are being moved here.
        cursors: the cursors that were made here, with what they read.
        indexes: the names of the indexes that it has.
        known, known_ranges: the shards that searches through this node ask, and the slots that it thinks they have.
        lines: what it says of the cluster in CLUSTER NODES, by node.
        told: the number of the last change that it knows of.
    """

    def __init__(self, number: int, slots: set[int], engine: EmbeddedServer | None = None) -> None:
        self.id = f"{number:040x}"
        self.slots = slots
        self.epoch = number
        self.port = 0
        self.is_dead = self.is_paused = False
        self.filling = 0
        self.migrating: dict[int, SimulatedNode] = {}
        self.importing: set[int] = set()
        self.cursors: dict[int, Any] = {}
        self.known: list[SimulatedNode] = []
        self.known_ranges: dict[str, list[tuple[int, int]]] = {}
        self.lines: dict[str, tuple[str, str]] = {}
        self.told = 0
        self.indexes = Indexes()
        self.set_engine(engine or EmbeddedServer())
        self.listener: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    def set_engine(self, engine: EmbeddedServer) -> None:
        """Have its keys in this engine, which listens nowhere yet."""
        self.engine, self.engine_port, self.client = engine, 0, engine.client()

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The slots as ranges, first and last included."""
        found: list[tuple[int, int]] = []
        for slot in sorted(self.slots):
            if found and found[-1][1] == slot - 1:
                found[-1] = (found[-1][0], slot)
            else:
                found.append((slot, slot))
        return found

    def know(self, shards: list[SimulatedNode], ranges: dict[str, list[tuple[int, int]]]) -> None:
        """Let its coordinator know these shards."""
        self.known, self.known_ranges = shards, ranges

    @property
    def keys(self) -> list[bytes]:
        """The keys that it has."""
        return [bytes(key) for key in self.client.keys("*")]


class SimulatedCluster:
    """A cluster of `primaries` nodes that listen on loopback; a context manager, which runs it in a thread.

    Args:
        primaries: how many.
        version: the release of Redis that it plays.
        module: the release of its search module, the same by default.
        coordinator: whether its search asks all shards.
        stale_seconds: how long nodes that had no part in a change do not know of it, and after that their coordinators.

    Attributes:
        partial_answers: how many searches are answered without what is unavailable, before they are an error.
        busy_seconds: how long a search keeps all shards from answering anything else.
        hangs: whether searches are not answered at all while a dead node is listed (8.4 to 8.8).
        searches: how many searches were answered.
    """

    def __init__(
        self,
        primaries: int = 3,
        *,
        version: str = "8.6.3",
        module: str | None = None,
        coordinator: bool = True,
        stale_seconds: float = 0.0,
    ) -> None:
        self.version = version
        self.module = module or version
        self.has_coordinator = coordinator
        self.partial_answers = 0
        self.hangs = False
        self.busy_seconds = 0.0
        self.searches = 0
        self.nodes = [
            SimulatedNode(number + 1, set(range(number * _SLOTS // primaries, (number + 1) * _SLOTS // primaries)))
            for number in range(primaries)
        ]
        self._stale_seconds = stale_seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stack = AsyncExitStack()
        self._scheduled: list[tuple[int, Callable[[], Coroutine[Any, Any, Any]]]] = []
        self._made, self._changes = primaries, 0
        self.coordinator = Coordinator(self)

    @property
    def url(self) -> str:
        """The URL of the cluster."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes if not node.is_dead)

    @property
    def info(self) -> str:
        """What INFO says."""
        major, minor, patch = map(int, self.module.split("."))
        return (
            f"# Server\r\nredis_version:{self.version}\r\n"
            f"# Modules\r\nmodule:name=search,ver={major}{minor:02}{patch:02},api=1,filters=0\r\n"
            "# Cluster\r\ncluster_enabled:1\r\n"
        )

    @property
    def primaries(self) -> list[SimulatedNode]:
        """The nodes that own slots."""
        return [node for node in self.nodes if node.slots]

    def __enter__(self) -> SimulatedCluster:
        self._thread.start()
        self.do(self._open())
        return self

    def __exit__(self, *error: object) -> None:
        self.do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, step: Coroutine[Any, Any, Any]) -> Any:
        """Run a step in the cluster's loop, to its end."""
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(30)

    def kill(self, node: SimulatedNode, *, partial_answers: int = 1) -> None:
        """End a node; some searches through others are answered without its documents, then they fail."""
        self.do(self.killing(node, partial_answers=partial_answers))

    def restart(self, node: SimulatedNode, *, empty: bool = False) -> None:
        """Start a node again, with its slots, and with its documents and indexes unless it is `empty`."""
        self.do(self.restarting(node, empty=empty))

    def promote(self, node: SimulatedNode, *, filling: int = 0) -> SimulatedNode:
        """Let a replica, which has all that its primary had, take over the slots; its index may be filling still."""
        heir: SimulatedNode = self.do(self.promoting(node, filling=filling))
        return heir

    def add(self) -> SimulatedNode:
        """Add a primary without slots and without indexes."""
        node: SimulatedNode = self.do(self.adding())
        return node

    def move(self, slots: set[int], target: SimulatedNode) -> None:
        """Give slots with their keys to another node, all at once."""
        self.do(self.moving(slots, target))

    def flush(self, node: SimulatedNode, *, keep_documents: bool = False) -> None:
        """Take all documents and indexes, or only the indexes, from a node that goes on running."""
        self.do(self.flushing(node, keep_documents=keep_documents))

    async def killing(self, node: SimulatedNode, *, partial_answers: int = 1) -> None:
        """See `kill`."""
        self.partial_answers = partial_answers
        node.is_dead = True
        self._stop(node)
        self._changed(*self.nodes)

    async def restarting(self, node: SimulatedNode, *, empty: bool = False) -> None:
        """See `restart`."""
        self._stop(node)
        if empty:
            self.coordinator.touch(*node.keys)
            node.set_engine(EmbeddedServer())
            node.indexes = Indexes()
            await self._serve_engine(node)
        node.is_dead = False
        node.cursors.clear()
        await self._listen(node)
        self._changed(*self.nodes)

    async def promoting(self, node: SimulatedNode, *, filling: int = 0) -> SimulatedNode:
        """See `promote`."""
        heir = self._new_node(set(node.slots), node.engine)
        heir.engine_port = node.engine_port
        heir.indexes = node.indexes
        heir.filling = filling
        heir.migrating, heir.importing = node.migrating, node.importing
        heir.know(node.known, node.known_ranges)
        node.slots, node.migrating, node.importing = set(), {}, set()
        for other in self.nodes:
            other.migrating = {slot: heir if to is node else to for slot, to in other.migrating.items()}
        if not node.is_dead:  # a clean failover: the old primary is a replica from now on
            for writer in list(node.writers):
                writer.transport.abort()
        self.nodes.append(heir)
        heir.epoch = max(each.epoch for each in self.nodes) + 1
        await self._listen(heir)
        self._changed(node, heir)
        return heir

    async def adding(self) -> SimulatedNode:
        """See `add`."""
        node = self._new_node(set())
        await self._serve_engine(node)
        await self._listen(node)
        self.nodes.append(node)
        self._changed(*self.nodes)
        return node

    async def moving(self, slots: set[int], target: SimulatedNode) -> None:
        """See `move`."""
        sources = [node for node in self.nodes if node is not target and node.slots & slots]
        for source in sources:
            for slot in source.slots & slots:
                self.begin_move(slot, target)
        for source in sources:
            for key in source.keys:
                if self.slot_of(key) in slots:
                    self.move_key(key, source, target)
        self.end_move(slots, target)

    def begin_move(self, slot: int, target: SimulatedNode) -> None:
        """Begin to move a slot: its owner sends clients that ask for keys it has no more to the target."""
        source = self._owner_of(slot)
        if source is not None and source is not target:
            source.migrating[slot] = target
            target.importing.add(slot)

    def move_key(self, key: bytes, source: SimulatedNode, target: SimulatedNode) -> None:
        """Move one key."""
        value = source.client.execute_command("DUMP", key)
        if value is not None:
            expiry = max(0, source.client.execute_command("PEXPIRETIME", key))
            target.client.execute_command("RESTORE", key, expiry, value, "REPLACE", "ABSTTL")
            source.client.delete(key)
        self.coordinator.touch(key)

    def end_move(self, slots: set[int], target: SimulatedNode) -> None:
        """Give slots to a node, with the keys that are left."""
        involved = [target]
        for source in self.nodes:
            mine = {slot for slot in slots if source.migrating.get(slot) is target}
            if not mine:
                continue
            for key in source.keys:
                if self.slot_of(key) in mine:
                    self.move_key(key, source, target)
            for slot in mine:
                del source.migrating[slot]
            source.slots -= mine
            target.slots |= mine
            target.importing -= mine
            involved.append(source)
        target.epoch = max(node.epoch for node in self.nodes) + 1
        self._changed(*involved)

    async def flushing(self, node: SimulatedNode, *, keep_documents: bool = False) -> None:
        """See `flush`."""
        node.indexes = Indexes()
        if not keep_documents:
            self.coordinator.touch(*node.keys)
            node.client.flushall()

    def after(self, commands: int, step: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Do something when that many more commands have arrived, before the last of them is answered."""
        self._scheduled.append((commands, step))

    async def count_down(self) -> None:
        """One more command has arrived."""
        if self._scheduled:
            due = [step for left, step in self._scheduled if left <= 1]
            self._scheduled = [(left - 1, step) for left, step in self._scheduled if left > 1]
            for step in due:
                await step()

    async def run_scheduled(self) -> None:
        """Do at once whatever waits for more commands."""
        while self._scheduled:
            _, step = self._scheduled.pop(0)
            await step()

    def later(self, seconds: float, step: Callable[[], object]) -> None:
        """Do something after a while; to be called in the cluster's loop."""
        self._loop.call_later(seconds, step)

    def slot_of(self, key: bytes) -> int:
        """The slot of a key."""
        slot: int = redis.crc.key_slot(key)  # type: ignore[attr-defined]
        return slot

    def is_stuck(self, shards: list[SimulatedNode]) -> bool:
        """Whether a search over these shards is not answered now."""
        return any(node.is_paused for node in shards) or (self.hangs and any(node.is_dead for node in self.nodes))

    def owner(self, key: bytes) -> SimulatedNode | None:
        """The owner of a key."""
        return self._owner_of(self.slot_of(key))

    def _owner_of(self, slot: int) -> SimulatedNode | None:
        return next((node for node in self.nodes if slot in node.slots), None)

    def describe(self, myself: SimulatedNode) -> str:
        """The reply to CLUSTER NODES."""
        lines = []
        for node, (flags, rest) in myself.lines.items():
            moving = ""
            if node == myself.id:
                flags = f"myself,{flags}"
                moving = "".join(f" [{slot}->-{target.id}]" for slot, target in myself.migrating.items())
                moving += "".join(f" [{slot}-<-{node}]" for slot in myself.importing)
            lines.append(f"{node} {rest.replace('FLAGS', flags)}{moving}".rstrip())
        return "\n".join(lines) + "\n"

    def _changed(self, *involved: SimulatedNode) -> None:
        """Tell the nodes that had a part in a change at once, the others and all coordinators later."""
        lines = {}
        for node in self.nodes:
            ranges = " ".join(f"{first}-{last}" if first < last else str(first) for first, last in node.ranges)
            where = f"127.0.0.1:{node.port}@1{node.port},,shard-id={node.id}"
            lines[node.id] = (
                "master" + (",fail" if node.is_dead else ""),
                f"{where} FLAGS - 0 0 {node.epoch} connected {ranges}",
            )
        shards, self._changes = self.primaries, self._changes + 1
        ranges = {shard.id: shard.ranges for shard in shards}
        change = self._changes

        def tell(node: SimulatedNode) -> None:
            if node.told < change:
                node.told, node.lines = change, lines
                later(refresh, node)

        def refresh(node: SimulatedNode) -> None:
            if node.told == change:
                node.know(shards, ranges)

        def later(step: Callable[[SimulatedNode], None], node: SimulatedNode) -> None:
            if self._stale_seconds:
                self._loop.call_later(self._stale_seconds, step, node)
            else:
                step(node)

        for node in self.nodes:
            if node in involved:
                tell(node)
            else:
                later(tell, node)

    def _new_node(self, slots: set[int], engine: EmbeddedServer | None = None) -> SimulatedNode:
        self._made += 1
        return SimulatedNode(self._made, slots, engine)

    async def _open(self) -> None:
        await self._stack.__aenter__()
        await self.coordinator.open(self._stack)
        for node in self.nodes:
            await self._serve_engine(node)
            await self._listen(node)
        stale, self._stale_seconds = self._stale_seconds, 0.0
        self._changed(*self.nodes)
        self._stale_seconds = stale

    async def _close(self) -> None:
        for node in self.nodes:
            self._stop(node)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await self._stack.aclose()
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve_engine(self, node: SimulatedNode) -> None:
        endpoint = await self._stack.enter_async_context(serving(node.engine))
        self._stack.callback(node.engine.close)
        node.engine_port = endpoint.port

    async def _listen(self, node: SimulatedNode) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            node.writers.add(writer)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await Session(self, node, reader, writer).run()
            node.writers.discard(writer)
            writer.close()

        node.listener = await asyncio.start_server(serve, "127.0.0.1", node.port)
        node.port = node.listener.sockets[0].getsockname()[1]

    def _stop(self, node: SimulatedNode) -> None:
        if node.listener is not None:
            node.listener.close()
            node.listener = None
        for writer in list(node.writers):
            writer.transport.abort()
