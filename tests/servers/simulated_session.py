"""Session: one client's connection to a node of a simulated cluster, which answers as a node of Redis Cluster does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import redis.crc

from tests.servers.resp import CommandReader, array, bulk, packed, read_reply

if TYPE_CHECKING:
    from tests.servers.simulated_cluster import SimulatedCluster, SimulatedNode

__all__ = ["Session"]

_KEYLESS = frozenset(
    b"HELLO AUTH CLIENT PING TIME CONFIG ECHO SELECT ROLE WAIT READONLY ACL MODULE SCAN DBSIZE COMMAND MULTI EXEC "
    b"DISCARD".split()
)
_SEVERAL_KEYS = frozenset(b"MGET DEL EXISTS UNLINK JSON.MGET".split())
_PAIRS = frozenset(b"RENAME RENAMENX".split())
_SCRIPTS = frozenset(b"EVAL EVALSHA".split())
_READS = frozenset(
    b"JSON.GET JSON.MGET JSON.TYPE JSON.STRLEN JSON.ARRLEN JSON.OBJKEYS GET MGET EXISTS TTL PTTL PEXPIRETIME TYPE "
    b"LRANGE LLEN DUMP STRLEN".split()
)


class Session:
    """One client's connection to a node, and the connections to engines that are made for it."""

    def __init__(
        self, cluster: SimulatedCluster, node: SimulatedNode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._commands = CommandReader(reader)
        self._writer = writer
        self._engines: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self._is_asking = self._was_asking = False
        self._queued: list[bytes] | None = None
        self._is_aborted = False
        self.protocol = 2

    async def run(self) -> None:
        """Answer until the client leaves."""
        try:
            while True:
                command = await self._commands.read()
                await self._cluster.count_down()
                while self._node.is_paused:  # noqa: ASYNC110 (set by another thread)
                    await asyncio.sleep(0.005)
                self._writer.write(await self._answer(command))
                await self._writer.drain()
        finally:
            for _, writer in self._engines.values():
                writer.close()

    async def forward(self, command: list[bytes], port: int = 0) -> bytes:
        """The reply of an engine: the node's own, or the one behind a port."""
        port = port or self._node.engine_port
        if port not in self._engines:
            self._engines[port] = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
            if port != self._node.engine_port or self.protocol != 2:
                await self.forward([b"HELLO", b"%d" % self.protocol], port)
        reader, writer = self._engines[port]
        writer.write(packed(command))
        await writer.drain()
        return await read_reply(reader)

    async def _answer(self, command: list[bytes]) -> bytes:
        name = command[0].upper()
        is_asking = self._is_asking
        if self._queued is None and name != b"MULTI":
            self._is_asking = False
        if name == b"ASKING":
            self._is_asking = True
            return b"+OK\r\n"
        if name == b"HELLO" and len(command) > 1:
            self.protocol = int(command[1])
        if name == b"CLUSTER":
            return self._cluster_command(command[1].upper())
        if name == b"INFO":
            return bulk(self._cluster.info.encode())
        if name == b"COMMAND" and len(command) > 2 and command[1].upper() == b"INFO":
            known = [b"*-1\r\n", b"*1\r\n+ft.search\r\n"]
            return b"*2\r\n" + (known[1] if self._cluster.has_coordinator else known[0]) + known[1]
        if name.startswith((b"FT.", b"SEARCH.")):
            if self._queued is not None:
                self._is_aborted = True
                return b"-ERR Cannot perform `" + name + b"`: Cannot block\r\n"
            return await self._cluster.coordinator.answer(self, self._node, command)
        if name in (b"MULTI", b"EXEC", b"DISCARD"):
            return await self._transaction(name, command)
        keys = _keys(name, command)
        refusal = self._refusal(name, keys, is_asking)
        if refusal:
            self._is_aborted = True
            return refusal
        reply = await self.forward(command)
        if self._queued is not None:
            self._queued += keys
        elif keys and name not in _READS:
            self._cluster.coordinator.touch(*keys)
        return reply

    async def _transaction(self, name: bytes, command: list[bytes]) -> bytes:
        queued, is_aborted = self._queued, self._is_aborted
        if name == b"MULTI":
            self._queued, self._is_aborted = [], False
            return await self.forward(command)
        self._queued = None
        self._is_asking = False
        if name == b"EXEC" and is_aborted:
            await self.forward([b"DISCARD"])
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        reply = await self.forward(command)
        self._cluster.coordinator.touch(*(queued or []))
        return reply

    def _refusal(self, name: bytes, keys: list[bytes], is_asking: bool) -> bytes:
        """The redirection or error that a command with keys gets; empty where it is carried out here."""
        if not keys:
            return b""
        slots = {redis.crc.key_slot(key) for key in keys}  # type: ignore[attr-defined]
        if len(slots) > 1 and name != b"JSON.MGET":
            return b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
        slot = min(slots)
        owner = self._cluster.owner(keys[0])
        if owner is None:
            return b"-CLUSTERDOWN Hash slot not served\r\n"
        node = self._node
        present = len(keys)
        if node.migrating or node.importing:
            present = sum(node.client.exists(key) for key in keys)
        if owner is node:
            target = node.migrating.get(slot)
            if target is None or present == len(keys):
                return b""
            if present:
                return b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
            return b"-ASK %d 127.0.0.1:%d\r\n" % (slot, target.port)
        if is_asking and slot in node.importing:
            if len(keys) > 1 and present < len(keys):
                return b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
            return b""
        return b"-MOVED %d 127.0.0.1:%d\r\n" % (slot, owner.port)

    def _cluster_command(self, name: bytes) -> bytes:
        if name == b"NODES":
            return bulk(self._cluster.describe(self._node).encode())
        if name == b"SLOTS":
            ranges = [(each, part) for each in self._cluster.nodes for part in each.ranges]
            parts = [
                b"*3\r\n:%d\r\n:%d\r\n*3\r\n" % part
                + bulk(b"127.0.0.1")
                + b":%d\r\n" % node.port
                + bulk(node.id.encode())
                for node, part in ranges
            ]
            return array(parts, len(parts))
        if name == b"MYID":
            return bulk(self._node.id.encode())
        if name == b"INFO":
            return bulk(b"cluster_state:ok\r\n")
        return b"-ERR unknown subcommand\r\n"


def _keys(name: bytes, command: list[bytes]) -> list[bytes]:
    if name in _KEYLESS or len(command) < 2:
        return []
    if name in _SCRIPTS:
        return command[3 : 3 + int(command[2])]
    if name in _PAIRS:
        return command[1:3]
    if name == b"JSON.MGET":
        return command[1:-1]
    return command[1:] if name in _SEVERAL_KEYS else command[1:2]
