"""SimulatedCluster: a Redis Cluster with a search coordinator, made of faces over one embedded engine, with its traps.

Each node listens on a port, owns slots, and sends other keys elsewhere by MOVED. All of them keep their documents in
one engine, so the answers to searches are those of a coordinator that merges without a fault. What goes wrong on real
clusters is switched on by methods: an answer that lacks a dead shard is made from a copy without its documents.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import hiredis
import redis
import redis.crc

from relay_models.embedded import EmbeddedServer, serving_in_thread

__all__ = ["SimulatedCluster", "SimulatedNode"]

_SLOTS = 16384
_KEYLESS = frozenset(
    b"HELLO AUTH CLIENT PING TIME INFO COMMAND CONFIG ECHO SELECT ROLE WAIT READONLY ASKING ACL MODULE".split()
)
_DEFINITIONS = (b"FT.CREATE", b"FT.ALTER", b"FT.DROPINDEX", b"FT.ALIASADD", b"FT.ALIASUPDATE", b"FT.ALIASDEL")
_SEARCHES = (b"FT.SEARCH", b"FT.AGGREGATE", b"FT.TAGVALS", b"FT.CURSOR", b"FT.INFO", b"FT._LIST", b"FT.PROFILE")


class SimulatedNode:
    """One primary: a port, the slots it owns, and what is wrong with it."""

    def __init__(self, number: int, slots: set[int]) -> None:
        self.id = f"{number:040x}"
        self.slots = slots
        self.epoch = number
        self.port = 0
        self.is_dead = False
        self.is_paused = False
        self.moving = ""
        self.lacks: set[bytes] = set()
        self.cursors: set[int] = set()
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

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


class SimulatedCluster:
    """A cluster of `primaries` nodes that listen on loopback; a context manager, which runs it in a thread.

    Args:
        primaries: how many.
        version: the release of Redis that it plays.
        coordinator: whether its search asks all shards.

    Attributes:
        partial_answers: how many searches are answered without the shards that are dead, before an error.
        hangs: whether searches are not answered at all while a dead node is listed (8.4 to 8.8).
    """

    def __init__(self, primaries: int = 3, *, version: str = "8.6.3", coordinator: bool = True) -> None:
        self.version = version
        self.coordinator = coordinator
        self.partial_answers = 0
        self.hangs = False
        self.searches = 0
        self.definitions: list[list[bytes]] = []
        self.nodes = [
            SimulatedNode(number + 1, set(range(number * _SLOTS // primaries, (number + 1) * _SLOTS // primaries)))
            for number in range(primaries)
        ]
        self.engine = EmbeddedServer()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stack = ExitStack()
        self._port = 0

    @property
    def url(self) -> str:
        """The URL of the cluster."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes if not node.is_dead)

    def __enter__(self) -> SimulatedCluster:
        endpoint = self._stack.enter_context(serving_in_thread(self.engine))
        self._port = int(endpoint.url.rpartition(":")[2].strip("/"))
        self._thread.start()
        for node in self.nodes:
            self._do(self._listen(node))
        return self

    def __exit__(self, *error: object) -> None:
        for node in self.nodes:
            self._do(self._stop(node))
        self._do(_end_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._stack.close()
        self.engine.close()

    def kill(self, node: SimulatedNode, *, partial_answers: int = 1) -> None:
        """End a node; some searches through others are answered without its documents, then they fail."""
        self.partial_answers = partial_answers
        node.is_dead = True
        self._do(self._stop(node))

    def restart(self, node: SimulatedNode) -> None:
        """Start a node again, with its slots and documents."""
        node.is_dead = False
        self._do(self._listen(node))

    def promote(self, node: SimulatedNode) -> SimulatedNode:
        """Let a replica of a dead node take over its slots, on a port of its own."""
        heir = SimulatedNode(len(self.nodes) + 100, set(node.slots))
        heir.epoch = max(each.epoch for each in self.nodes) + 1
        node.slots = set()
        self.nodes.append(heir)
        self._do(self._listen(heir))
        return heir

    def add(self) -> SimulatedNode:
        """Add a primary without slots and without indexes."""
        node = SimulatedNode(len(self.nodes) + 200, set())
        node.lacks = {b"*"}
        self.nodes.append(node)
        self._do(self._listen(node))
        return node

    def move(self, slot: int, target: SimulatedNode) -> None:
        """Give a slot to another node."""
        for node in self.nodes:
            node.slots.discard(slot)
        target.slots.add(slot)
        target.epoch = max(node.epoch for node in self.nodes) + 1

    def forget_index(self, node: SimulatedNode, index: str = "*") -> None:
        """Let a shard lack an index (all of them by default), as one does that was restarted empty."""
        node.lacks.add(index.encode())

    def is_stuck(self) -> bool:
        """Whether a search is not answered now."""
        return any(node.is_paused and node.slots for node in self.nodes) or (
            self.hangs and any(node.is_dead for node in self.nodes)
        )

    def owner(self, key: bytes) -> SimulatedNode | None:
        """The owner of a key."""
        slot = redis.crc.key_slot(key)  # type: ignore[attr-defined]
        return next((node for node in self.nodes if slot in node.slots), None)

    def _do(self, step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(10)

    async def _listen(self, node: SimulatedNode) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            node.writers.add(writer)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await _Session(self, node, reader, writer, self._port).run()
            node.writers.discard(writer)
            writer.close()

        node.server = await asyncio.start_server(serve, "127.0.0.1", node.port)
        node.port = node.server.sockets[0].getsockname()[1]

    async def _stop(self, node: SimulatedNode) -> None:
        if node.server is not None:
            node.server.close()
            node.server = None
        for writer in list(node.writers):
            writer.transport.abort()

    def without_dead(self) -> EmbeddedServer:
        """A copy of the engine that lacks the documents of dead nodes."""
        copy = EmbeddedServer()
        with self.engine.client() as source, copy.client() as target:
            for key in source.keys("*"):
                owner = self.owner(key)
                if owner is not None and not owner.is_dead:
                    target.execute_command("JSON.SET", key, "$", source.execute_command("JSON.GET", key))
            for command in self.definitions:
                with contextlib.suppress(redis.ResponseError):
                    target.execute_command(*command)
        return copy

    def describe(self, myself: SimulatedNode) -> str:
        """The reply to CLUSTER NODES."""
        lines = []
        for node in self.nodes:
            flags = ("myself," if node is myself else "") + "master" + (",fail" if node.is_dead else "")
            ranges = " ".join(f"{first}-{last}" if first < last else str(first) for first, last in node.ranges)
            moving = f" {node.moving}" if node is myself and node.moving else ""
            lines.append(
                f"{node.id} 127.0.0.1:{node.port}@1{node.port},,shard-id={node.id} {flags} - 0 0 {node.epoch} "
                f"connected {ranges}{moving}".rstrip()
            )
        return "\n".join(lines) + "\n"


class _Session:
    """One client's connection to a node, and the node's connection to the engine for it."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        node: SimulatedNode,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        port: int,
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._reader = reader
        self._writer = writer
        self._port = port
        self._is_asking = self._in_transaction = False
        self._protocol = 2

    async def run(self) -> None:
        self._upstream, self._down = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 26)
        try:
            while True:
                command = await self._command()
                while self._node.is_paused:  # noqa: ASYNC110 (set by another thread)
                    await asyncio.sleep(0.01)
                self._writer.write(await self._answer(command))
                await self._writer.drain()
        finally:
            self._down.close()

    async def _command(self) -> list[bytes]:
        count = int((await self._reader.readuntil(b"\r\n"))[1:])
        parts = []
        for _ in range(count):
            size = int((await self._reader.readuntil(b"\r\n"))[1:])
            parts.append((await self._reader.readexactly(size + 2))[:-2])
        return parts

    async def _answer(self, command: list[bytes]) -> bytes:
        name = command[0].upper()
        is_asking, self._is_asking = self._is_asking, False
        if name == b"ASKING":
            self._is_asking = True
            return b"+OK\r\n"
        if name == b"HELLO" and len(command) > 1:
            self._protocol = int(command[1])
        if name == b"CLUSTER":
            return self._cluster_command(command[1].upper())
        if name == b"INFO":
            return _bulk(
                f"# Server\r\nredis_version:{self._cluster.version}\r\n# Cluster\r\ncluster_enabled:1\r\n".encode()
            )
        if name == b"COMMAND" and len(command) > 2:
            known = [b"*-1\r\n", b"*1\r\n+ft.search\r\n"]
            return b"*2\r\n" + (known[1] if self._cluster.coordinator else known[0]) + known[1]
        if name in (*_DEFINITIONS, *_SEARCHES):
            return await self._search(name, command)
        if name == b"SCAN":
            return await self._scan(command)
        if name == b"DBSIZE":
            _, keys = _decoded(await self._forward([b"SCAN", b"0", b"COUNT", b"1000000000"]))
            return b":%d\r\n" % sum(self._cluster.owner(key) is self._node for key in keys)
        if name not in _KEYLESS and len(command) > 1:
            owner = self._cluster.owner(command[1])
            if owner is None:
                return b"-CLUSTERDOWN Hash slot not served\r\n"
            if owner is not self._node and not is_asking:
                return b"-MOVED %d 127.0.0.1:%d\r\n" % (redis.crc.key_slot(command[1]), owner.port)  # type: ignore[attr-defined]
        return await self._forward(command)

    def _cluster_command(self, name: bytes) -> bytes:
        if name == b"NODES":
            return _bulk(self._cluster.describe(self._node).encode())
        if name == b"SLOTS":
            ranges = [(each, part) for each in self._cluster.nodes for part in each.ranges]
            return b"*%d\r\n" % len(ranges) + b"".join(
                b"*3\r\n:%d\r\n:%d\r\n*3\r\n" % part
                + _bulk(b"127.0.0.1")
                + b":%d\r\n" % node.port
                + _bulk(node.id.encode())
                for node, part in ranges
            )
        if name == b"MYID":
            return _bulk(self._node.id.encode())
        if name == b"INFO":
            return _bulk(b"cluster_state:ok\r\n")
        return b"-ERR unknown subcommand\r\n"

    async def _search(self, name: bytes, command: list[bytes]) -> bytes:
        cluster, node = self._cluster, self._node
        if not cluster.coordinator:
            return b"-MOVED 1 127.0.0.1:%d\r\n" % cluster.nodes[0].port
        shards = [each for each in cluster.nodes if each.slots]
        if name in _DEFINITIONS:
            reply = await self._forward(command)
            if not reply.startswith(b"-"):
                cluster.definitions = [*cluster.definitions, command]
            if name == b"FT.CREATE":
                for each in cluster.nodes:
                    each.lacks -= {b"*", command[1]} if each.lacks == {b"*"} else {command[1]}
            return reply
        if name in (b"FT.SEARCH", b"FT.AGGREGATE"):
            cluster.searches += 1
            for each in shards:
                if each.lacks & {b"*", command[1]}:
                    return b"-No such index " + command[1] + b"\r\n"
        while cluster.is_stuck():  # noqa: ASYNC110 (set by another thread)
            await asyncio.sleep(0.01)
        if any(each.is_dead for each in shards):
            if not cluster.partial_answers:
                return b"-ERR Could not send query to cluster\r\n"
            cluster.partial_answers -= 1
            return await self._partial(command)
        if name == b"FT.CURSOR":
            if int(command[3]) not in node.cursors:
                return b"-ERR Cursor not found, id: " + command[3] + b"\r\n"
            return await self._forward(command)
        if name == b"FT.SEARCH" and self._protocol == 3 and b"LIMIT" in command:
            place = command.index(b"LIMIT")
            offset, number = int(command[place + 1]), int(command[place + 2])
            command = [*command[: place + 1], b"0", b"%d" % (offset + number), *command[place + 3 :]]
        reply = await self._forward(command)
        if name == b"FT.AGGREGATE" and b"WITHCURSOR" in command and not reply.startswith(b"-"):
            node.cursors.add(_decoded(reply)[1])
        old = tuple(int(part) for part in cluster.version.split(".")[:2]) < (8, 4)
        if old and name in (b"FT.SEARCH", b"FT.AGGREGATE") and any(len(each.ranges) > 1 for each in shards):
            return _doubled(reply)
        return reply

    async def _partial(self, command: list[bytes]) -> bytes:
        """The answer of a coordinator that does not know yet that a shard is dead."""
        with self._cluster.without_dead() as copy, serving_in_thread(copy) as endpoint:
            up, down = await asyncio.open_connection("127.0.0.1", int(endpoint.url.rpartition(":")[2].strip("/")))
            down.write(_packed([b"HELLO", b"%d" % self._protocol]))
            await _reply(up)
            down.write(_packed(command))
            reply = await _reply(up)
            down.close()
        return reply

    async def _scan(self, command: list[bytes]) -> bytes:
        cursor, keys = _decoded(await self._forward(command))
        mine = [key for key in keys if self._cluster.owner(key) is self._node]
        return b"*2\r\n" + _bulk(cursor) + b"*%d\r\n" % len(mine) + b"".join(map(_bulk, mine))

    async def _forward(self, command: list[bytes]) -> bytes:
        self._down.write(_packed(command))
        await self._down.drain()
        return await _reply(self._upstream)


async def _end_others() -> None:
    """Cancel all other tasks of the loop, and wait for their ends."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _packed(command: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(map(_bulk, command))


def _bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def _decoded(reply: bytes) -> Any:
    parser = hiredis.Reader()
    parser.feed(reply)
    return parser.gets()


def _doubled(reply: bytes) -> bytes:
    """An answer with its rows and counts twice (RESP3)."""
    parser = hiredis.Reader()
    parser.feed(reply)
    found = parser.gets()
    if isinstance(found, dict):
        rows = found[b"results"]
        found = {**found, b"results": [*rows, *rows], b"total_results": 2 * found[b"total_results"]}
    return b"".join(_encoded(found))


def _encoded(value: Any) -> Iterator[bytes]:
    if value is None:
        yield b"_\r\n"
    elif isinstance(value, bool):
        yield b"#t\r\n" if value else b"#f\r\n"
    elif isinstance(value, int):
        yield b":%d\r\n" % value
    elif isinstance(value, float):
        yield b",%s\r\n" % repr(value).encode()
    elif isinstance(value, dict):
        yield b"%%%d\r\n" % len(value)
        yield from itertools.chain.from_iterable(_encoded(part) for pair in value.items() for part in pair)
    elif isinstance(value, list):
        yield b"*%d\r\n" % len(value)
        yield from itertools.chain.from_iterable(map(_encoded, value))
    else:
        yield _bulk(value)


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """The bytes of one reply, RESP2 or RESP3."""
    line = await reader.readuntil(b"\r\n")
    kind, rest = line[:1], line[1:-2]
    if kind in b"$=!":
        return line if rest == b"-1" else line + await reader.readexactly(int(rest) + 2)
    if kind in b"*~>%|":
        count = max(0, int(rest)) * (2 if kind in b"%|" else 1)
        return line + b"".join([await _reply(reader) for _ in range(count)])
    return line
