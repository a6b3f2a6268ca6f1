"""Coordinator: puts the answers to searches on a simulated cluster together from its shards, as its node knows them.

Documents are copied from the engines of the shards into an engine of the coordinator's own, which answers. Copies of
all shards are kept and follow what is written; where something is missing, a copy without it is made for that answer.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import redis
import redis.crc
from redis.client import Pipeline

from relay_models.embedded import EmbeddedServer, serving
from tests.servers.resp import array, bulk, decoded, encoded

if TYPE_CHECKING:
    from tests.servers.simulated_cluster import SimulatedCluster, SimulatedNode
    from tests.servers.simulated_session import Session

__all__ = ["Coordinator", "Indexes"]

_DEFINITIONS = (b"FT.CREATE", b"FT.ALTER", b"FT.DROPINDEX", b"FT.ALIASADD", b"FT.ALIASUPDATE", b"FT.ALIASDEL")


class Indexes:
    """The names of the indexes that a shard has, and their aliases."""

    def __init__(self) -> None:
        self.names: set[bytes] = set()
        self._aliases: dict[bytes, bytes] = {}

    def has(self, name: bytes) -> bool:
        """Whether there is an index or an alias of that name."""
        return self.resolve(name) in self.names

    def resolve(self, name: bytes) -> bytes:
        """The index that an alias stands for; other names are those of indexes."""
        return self._aliases.get(name, name)

    def apply(self, command: list[bytes]) -> bytes:
        """Carry out a definition; returns the error, if there is one."""
        kind, name = command[0].upper(), command[1]
        if kind == b"FT.CREATE":
            if name in self.names:
                return b"Index already exists"
            self.names.add(name)
        elif kind == b"FT.DROPINDEX":
            if name not in self.names:
                return name + b": no such index"
            self.names.discard(name)
            self._aliases = {alias: index for alias, index in self._aliases.items() if index != name}
        elif kind == b"FT.ALIASDEL":
            if self._aliases.pop(name, None) is None:
                return b"Alias does not exist"
        elif kind == b"FT.ALTER":
            return b"" if self.has(name) else b"Unknown index name"
        elif command[2] not in self.names:
            return b"Unknown index name (or name is an alias itself)"
        elif kind == b"FT.ALIASADD" and name in self._aliases:
            return b"Alias already exists"
        else:
            self._aliases[name] = command[2]
        return b""


class _Copy:
    """Documents of several shards in one engine.

    Attributes:
        shards: the shards.
        port: where the engine listens.
        touched: keys that were written since they were copied.
    """

    def __init__(self, port: int, engine: EmbeddedServer) -> None:
        self.shards: list[SimulatedNode] = []
        self.port = port
        self._client = engine.client()
        self.touched: set[bytes] = set()

    def take(self, keys: Iterable[bytes], shards: list[SimulatedNode]) -> None:
        """Copy keys from the shard that has them; one that none has is deleted."""
        left = set(keys)
        by_owner: dict[int, set[bytes]] = {}
        for key in left:
            slot = redis.crc.key_slot(key)  # type: ignore[attr-defined]
            owner = next((number for number, shard in enumerate(shards) if slot in shard.slots), -1)
            by_owner.setdefault(owner, set()).add(key)
        with self._client.pipeline(transaction=False) as target:
            for number, shard in enumerate(shards):
                left -= self._take_from(shard, by_owner.get(number, set()), target)
            for shard in shards:  # what is where its slot is not, while slots are being moved
                left -= self._take_from(shard, left, target)
            if left:
                target.delete(*left)
            target.execute()

    def _take_from(self, shard: SimulatedNode, keys: Iterable[bytes], target: Pipeline) -> set[bytes]:
        """Copy those of the keys that a shard has; returns them."""
        asked = list(keys)
        if not asked:
            return set()
        with shard.client.pipeline(transaction=False) as source:
            for key in asked:
                source.execute_command("DUMP", key)
                source.execute_command("PEXPIRETIME", key)
            replies = source.execute()
        taken = set()
        for key, value, expiry in zip(asked, replies[::2], replies[1::2], strict=True):
            if value is not None:
                target.execute_command("RESTORE", key, max(0, expiry), value, "REPLACE", "ABSTTL")
                taken.add(key)
        return taken

    def define(self, command: list[bytes]) -> bytes:
        """Carry out a definition of an index; returns the error, if there is one."""
        try:
            self._client.execute_command(*command)
        except redis.ResponseError as error:
            return str(error).encode()
        return b""


class Coordinator:
    """The search of a cluster."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._definitions: list[list[bytes]] = []
        self._whole: _Copy

    async def open(self, stack: AsyncExitStack) -> None:
        """Start; the stack closes what this makes."""
        self._stack = stack
        self._whole = await self._new_copy()

    def touch(self, *keys: bytes) -> None:
        """Keys have been written."""
        self._whole.touched.update(keys)

    async def _keep_busy(self, shards: list[SimulatedNode]) -> None:
        for shard in shards:
            shard.is_paused = True
        await asyncio.sleep(self._cluster.busy_seconds)
        for shard in shards:
            shard.is_paused = False

    async def answer(self, session: Session, node: SimulatedNode, command: list[bytes]) -> bytes:
        """The reply to a command of the search, through a node."""
        cluster, name = self._cluster, command[0].upper()
        if not cluster.has_coordinator:
            return b"-MOVED 1 127.0.0.1:%d\r\n" % cluster.nodes[0].port
        if name in _DEFINITIONS:
            return self._define(command)
        if name == b"SEARCH.CLUSTERINFO":
            return self._describe(node)
        if name == b"FT._LIST":
            return array(map(bulk, node.indexes.names), len(node.indexes.names))
        if name == b"FT.CONFIG":
            return b"-ERR unknown command 'FT.CONFIG'\r\n"
        shards = node.known
        while cluster.is_stuck(shards):  # noqa: ASYNC110 (set by another thread)
            await asyncio.sleep(0.005)
        if name == b"FT.CURSOR":
            return await self._read_cursor(session, node, command)
        index = command[2] if name == b"FT.PROFILE" else command[1]
        indexed = [shard for shard in shards if shard.indexes.has(index)]
        is_search = name in (b"FT.SEARCH", b"FT.AGGREGATE", b"FT.PROFILE")
        if is_search:
            cluster.searches += 1
            if cluster.busy_seconds:
                await self._keep_busy(shards)
            if len(indexed) < len(shards):
                return _error(b"No such index " + index)
        elif not indexed:
            return _error(index + b": no such index")
        dead = [shard for shard in shards if shard.is_dead]
        moving = {slot for shard in shards for slot in shard.migrating}
        if (dead or moving) and is_search:
            if cluster.partial_answers <= 0:
                text = b"Could not send query to cluster" if dead else b"Query requires unavailable slots"
                return _error(b"ERR " + text)
            cluster.partial_answers -= 1
        filling = [shard for shard in indexed if shard.filling]
        for shard in filling:
            shard.filling -= 1
        asked = [shard for shard in indexed if not shard.is_dead and shard not in filling]
        copy = await self._copy(asked, moving)
        reply = await self._ask(session, copy, command, is_filling=bool(filling))
        if name == b"FT.AGGREGATE" and b"WITHCURSOR" in command and not reply.startswith(b"-"):
            node.cursors[decoded(reply)[1]] = copy
        if name == b"FT.AGGREGATE" and b"SORTBY" in command:
            reply = _merged(command, reply, self._texts(node.indexes.resolve(index)))
        if self._is_before_8_4() and is_search and any(len(shard.ranges) > 1 for shard in shards):
            return _doubled(command, reply)
        return reply

    def _describe(self, node: SimulatedNode) -> bytes:
        """The shards that a coordinator knows, as its release names them."""
        known = node.known_ranges.items()
        if len(known) == 1:  # an only shard's coordinator is never used
            return encoded({b"num_partitions": 0, b"slots" if self._is_before_8_4() else b"shards": None})
        if self._is_before_8_4():
            parts = [
                {
                    b"start": first,
                    b"end": last,
                    b"nodes": [{b"id": shard, b"host": b"", b"port": 0, b"role": b"master"}],
                }
                for shard, ranges in known
                for first, last in ranges
            ]
            return encoded({b"num_partitions": len(known), b"slots": parts})
        return encoded(
            {
                b"shards": [
                    {b"id": shard, b"slots": [slot for part in ranges for slot in part]} for shard, ranges in known
                ]
            }
        )

    def _texts(self, index: bytes) -> set[bytes]:
        """The attributes of an index that hold texts: shards say of each value whether it is a number."""
        made = [command for command in self._definitions if command[1] == index]
        found = {command[place - 1] for command in made for place, word in enumerate(command) if word == b"TAG"}
        return {*found, b"__key"}

    def _is_before_8_4(self) -> bool:
        return tuple(int(part) for part in self._cluster.module.split(".")[:2]) < (8, 4)

    def _define(self, command: list[bytes]) -> bytes:
        """Define an index on every shard that can; the first error is the answer."""
        refusal = self._whole.define(command)
        if refusal and not any(word in refusal.lower() for word in (b"exist", b"no such", b"unknown index")):
            return _error(refusal)
        refusals = [node.indexes.apply(command) for node in self._cluster.nodes if not node.is_dead]
        self._definitions.append(command)
        return next((_error(refusal) for refusal in refusals if refusal), b"+OK\r\n")

    async def _copy(self, shards: list[SimulatedNode], moving: set[int]) -> _Copy:
        """The documents of shards, without those of slots that are being moved."""
        everything = {id(shard.engine) for shard in self._cluster.primaries}
        if not moving and {id(shard.engine) for shard in shards} == everything:
            copy, keys = self._whole, self._whole.touched
            self._whole.touched = set()
        else:
            copy = await self._new_copy()
            keys = {
                key
                for shard in shards
                for key in shard.keys
                if redis.crc.key_slot(key) not in moving  # type: ignore[attr-defined]
            }
            for definition in self._definitions:
                copy.define(definition)
        copy.shards = shards
        copy.take(keys, shards)
        return copy

    async def _new_copy(self) -> _Copy:
        engine = EmbeddedServer()
        endpoint = await self._stack.enter_async_context(serving(engine))
        self._stack.callback(engine.close)
        return _Copy(endpoint.port, engine)

    async def _read_cursor(self, session: Session, node: SimulatedNode, command: list[bytes]) -> bytes:
        cursor = int(command[3])
        copy = node.cursors.get(cursor)
        if copy is None:
            return b"-ERR Cursor not found, id: " + command[3] + b"\r\n"
        if command[1].upper() == b"READ" and any(shard.is_dead or not shard.slots for shard in copy.shards):
            del node.cursors[cursor]
            return encoded([{b"results": [], b"total_results": 0, b"warning": []}, 0])
        return await session.forward(command, copy.port)

    async def _ask(self, session: Session, copy: _Copy, command: list[bytes], *, is_filling: bool) -> bytes:
        name = command[0].upper()
        if name == b"FT.SEARCH" and session.protocol == 3 and b"LIMIT" in command:
            # The offset is not taken off (8.0 to 8.9).
            place = command.index(b"LIMIT")
            offset, number = int(command[place + 1]), int(command[place + 2])
            command = [*command[: place + 1], b"0", b"%d" % (offset + number), *command[place + 3 :]]
        reply = await session.forward(command, copy.port)
        if name == b"FT.TAGVALS" and not reply.startswith(b"-"):
            return encoded([value for value in decoded(reply) if value])
        if name == b"FT.INFO" and not reply.startswith(b"-"):
            found = decoded(reply)
            fields = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
            # The greatest number of any shard, and the sum of what all have indexed.
            fields |= {b"max_doc_id": 10**6, b"num_records": fields[b"max_doc_id"]}
            if is_filling:
                fields |= {b"indexing": 1, b"percent_indexed": b"0.5"}
            return encoded(fields if isinstance(found, dict) else [part for pair in fields.items() for part in pair])
        return reply


def _error(text: bytes) -> bytes:
    return b"-" + text.replace(b"\r", b" ").replace(b"\n", b" ") + b"\r\n"


def _merged(command: list[bytes], reply: bytes, texts: set[bytes]) -> bytes:
    """Sorted rows (RESP2) as they are merged when each comes from a shard of its own, which sends twelve digits.

    Attributes in `texts` are compared as texts, also where they look like numbers.
    """
    found = decoded(reply)
    if not isinstance(found, list):
        return reply
    is_cursor = isinstance(found[0], list)
    number, *rows = found[0] if is_cursor else found
    place = command.index(b"SORTBY")
    keys = command[place + 2 : place + 2 + int(command[place + 1])]
    first, *others = [(name[1:], order == b"DESC") for name, order in zip(keys[::2], keys[1::2], strict=True)]
    merged = []
    for _, equal in itertools.groupby(rows, key=lambda row: _column(row, first[0])):
        some = list(equal)
        for name, is_descending in reversed(others):
            read = bytes if name in texts else _number
            some.sort(key=lambda row, name=name, read=read: read(_column(row, name)), reverse=is_descending)
        merged += some
    return encoded([[number, *merged], found[1]] if is_cursor else [number, *merged])


def _column(row: list[bytes], name: bytes) -> bytes:
    return row[row.index(name) + 1] if name in row[::2] else b""


def _number(value: bytes) -> float:
    return float(value or 0)


def _doubled(command: list[bytes], reply: bytes) -> bytes:
    """An answer (RESP2) of a coordinator that asks each shard twice: it merges groups, but counts and rows double."""
    found = decoded(reply)
    if not isinstance(found, list):
        return reply
    is_cursor = isinstance(found[0], list)
    number, *rows = found[0] if is_cursor else found
    words = [part.upper() for part in command]
    if b"GROUPBY" in words:
        place = words.index(b"GROUPBY")
        if b"@__KEY" not in words[place : place + 2 + int(words[place + 1])]:
            summed = [
                command[index + 4 + int(command[index + 2])]
                for index, word in enumerate(words)
                if word == b"REDUCE" and words[index + 1] in (b"COUNT", b"SUM")
            ]
            rows = [_with_doubled(row, summed) for row in rows]
    elif words[0] == b"FT.SEARCH":
        number, rows = 2 * number, [*rows, *rows]
    else:
        rows = [row for row in rows for _ in range(2)]
    return encoded([[number, *rows], found[1]] if is_cursor else [number, *rows])


def _with_doubled(row: list[bytes], names: list[bytes]) -> list[bytes]:
    pairs = zip(row[::2], row[1::2], strict=True)
    return [part for name, value in pairs for part in (name, b"%d" % (2 * int(value)) if name in names else value)]
