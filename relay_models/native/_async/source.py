"""`NativeSource`: read a NeMo Relay deployment's Redis in batches, with MGET and SCAN, without writing to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from relay_models._checks import shown
from relay_models.errors import InvalidRecordError
from relay_models.native.layout import DEFAULT_PREFIX, RECORD_TYPES, NativeKey, NativeKeys
from relay_models.records import RunRecord, from_json
from relay_models.records.mending import read_run
from relay_models.transport import ConnectionOptions, Transport, open_client, open_url, translate

__all__ = ["NativeSource", "open_native"]

# Ids per LRANGE (36 bytes each), values per MGET (some kilobytes each), COUNT of SCAN.
IDS_PER_PAGE, VALUES_PER_BATCH, KEYS_PER_SCAN = 2000, 200, 5000


class NativeSource:
    """NeMo Relay's state in a Redis, read as NeMo Relay stores it. It connects on first use.

    Args:
        source: A ``redis://``, ``rediss://`` or ``unix://`` URL (any database), or a redis-py client, which stays open.
        native_prefix: NeMo Relay's key prefix.
        timeout: How long to wait for a reply (seconds); None for no limit.
        connect_timeout: How long to wait for a connection (seconds).
        retries: Maximum number of attempts to restore a lost connection, with backoff.
        redis_options: Other options of redis-py.

    Raises:
        InvalidConfigurationError: The URL or the prefix is invalid.
    """

    def __init__(
        self,
        source: str | Any,
        native_prefix: str = DEFAULT_PREFIX,
        *,
        timeout: float | None = 30.0,
        connect_timeout: float | None = 5.0,
        retries: int = 5,
        **redis_options: Any,
    ) -> None:
        self.keys = NativeKeys(native_prefix)
        options = ConnectionOptions(
            timeout=timeout, connect_timeout=connect_timeout, retries=retries, max_connections=10
        )
        self._transport = open_native(source, options, redis_options)
        self.label = self._transport.target.label
        self.cache_entries = 0
        """Entries of NeMo Relay's response and tool caches that the last scan found, and left out."""

    @property
    def reconnects(self) -> int:
        """How many times a lost connection was restored."""
        return self._transport.reconnects

    async def scan(self) -> list[NativeKey]:
        """Return every run list and artifact of the deployment, sorted. Scans all keys, and counts `cache_entries`."""
        found: set[NativeKey] = set()
        cached: set[bytes] = set()
        for pattern in self.keys.patterns():
            cursor: bytes | int = 0
            while True:
                cursor, keys = await self._transport.execute("SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_PER_SCAN)
                cached.update(key for key in keys if self.keys.is_cache_entry(key))
                parsed = (self.keys.parse(key) for key in keys)
                found.update(key for key in parsed if key is not None and key.kind != "run")
                if int(cursor) == 0:
                    break
        self.cache_entries = len(cached)
        return sorted(found)

    async def agents(self) -> list[str]:
        """Return the agents that have runs, sorted."""
        return [key.agent_id for key in await self.scan() if key.kind == "run_index"]

    async def ends(self, agent_ids: Sequence[str]) -> tuple[int, list[tuple[int, str | None] | None]]:
        """Return the number of keys, and the length and last entry of agents' run lists, in one round trip.

        None stands for a key that is not a list.
        """
        keys = [self.keys.run_index(agent_id) for agent_id in agent_ids]
        commands = [command for key in keys for command in (("LLEN", key), ("LINDEX", key, -1))]
        total, *replies = await self._transport.pipeline([("DBSIZE",), *commands])
        if isinstance(total, Exception):
            raise translate(total, self._transport.target, ("DBSIZE",)) from None
        found: list[tuple[int, str | None] | None] = []
        for length, last in zip(replies[::2], replies[1::2], strict=True):
            if isinstance(length, Exception):
                if not str(length).startswith("WRONGTYPE"):
                    raise translate(length, self._transport.target, ("LLEN",)) from None
                found.append(None)
            else:
                text = last.decode("utf-8", "backslashreplace") if isinstance(last, bytes) else None
                found.append((length, text))
        return total, found

    async def run_ids(self, agent_id: str, first: int = 0, last: int = -1) -> list[str]:
        """Return entries of an agent's run list, `first` and `last` included, as stored (an id may occur twice)."""
        reply = await self._transport.execute("LRANGE", self.keys.run_index(agent_id), first, last)
        return [entry.decode("utf-8", "backslashreplace") for entry in reply]

    async def texts(self, keys: Sequence[bytes]) -> list[bytes | Exception | None]:
        """Return the values of keys, with one MGET; None for a missing key, an error for one that is not a string."""
        values: list[Any] = await self._transport.execute("MGET", *keys) if keys else []
        gone = [index for index, value in enumerate(values) if value is None]
        if gone:
            types = await self._transport.pipeline([("TYPE", keys[index]) for index in gone])
            for index, kind in zip(gone, types, strict=True):
                if kind not in (b"none", b"string"):
                    name = kind.decode() if isinstance(kind, bytes) else str(kind)
                    values[index] = InvalidRecordError(f"the key holds a {name}, not a string")
        return values

    async def iter_texts(self, agent_id: str, run_ids: Sequence[str]) -> AsyncIterator[list[tuple[str, Any]]]:
        """Yield the values of runs in batches; the next batch is fetched while one is processed."""
        batches = [run_ids[start : start + VALUES_PER_BATCH] for start in range(0, len(run_ids), VALUES_PER_BATCH)]
        async with self._transport.conversation() as pipeline:
            for number in range(-1, len(batches)):
                if number + 1 < len(batches):
                    ahead = [self.keys.run(agent_id, run_id) for run_id in batches[number + 1]]
                    await pipeline.send([("MGET", *ahead)])
                if number < 0:
                    continue
                (values,) = await pipeline.receive()
                if isinstance(values, Exception):
                    raise translate(values, self._transport.target, ("MGET",)) from None
                ids = batches[number]
                if None in values:
                    gone = [index for index, value in enumerate(values) if value is None]
                    again = await self.texts([self.keys.run(agent_id, ids[index]) for index in gone])
                    for index, value in zip(gone, again, strict=True):
                        values[index] = value
                yield list(zip(ids, values, strict=True))

    async def iter_runs(self, agent_id: str) -> AsyncIterator[RunRecord]:
        """Yield an agent's runs, each once with its latest content, in the order in which they were first stored.

        Raises:
            InvalidRecordError: a value cannot be read; the message names the key.
        """
        seen: set[str] = set()
        start = 0
        while ids := await self.run_ids(agent_id, start, start + IDS_PER_PAGE - 1):
            start += len(ids)
            new = [run_id for run_id in dict.fromkeys(ids) if run_id not in seen]
            seen.update(new)
            async for batch in self.iter_texts(agent_id, new):
                for run_id, text in batch:
                    if text is not None:
                        yield self.read_run(agent_id, run_id, text)[0]

    async def list_runs(self, agent_id: str) -> list[RunRecord]:
        """Return what `iter_runs` yields as a list."""
        return [run async for run in self.iter_runs(agent_id)]

    async def load(self, kind: str, agent_id: str) -> Any:
        """Return an artifact ("plan", "trie", "accumulators", "observations" or "stability"), or None.

        Raises:
            InvalidRecordError: its value cannot be read.
        """
        key = self.keys.artifact(kind, agent_id)
        (text,) = await self.texts([key])
        return None if text is None else self.read(NativeKey(kind, agent_id), text)

    def read_run(self, agent_id: str, run_id: str, text: Any) -> tuple[RunRecord, bytes, list[str]]:
        """Decode a run; InvalidRecordError if it is invalid, or not the run that its key names.

        Returns:
            The run, its JSON text, and what of it was not understood.
        """
        if isinstance(text, Exception):
            raise text
        record, data, notes = read_run(text)
        if record.agent_id != agent_id or str(record.id) != run_id:
            try:
                same = record.agent_id == agent_id and record.id == UUID(run_id)
            except ValueError:
                same = False
            if not same:
                raise InvalidRecordError(f"the run in it is {record.id} of the agent {shown(record.agent_id)}", "id")
        return record, data, notes

    def read(self, key: NativeKey, text: Any) -> Any:
        """Decode a record; InvalidRecordError if it is invalid."""
        if isinstance(text, Exception):
            raise text
        return from_json(RECORD_TYPES[key.kind], text)

    async def close(self) -> None:
        """Close the connections, unless a client was passed in."""
        await self._transport.close()

    async def __aenter__(self) -> NativeSource:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label} native_prefix={self.keys.prefix!r}>"


def open_native(source: str | Any, options: ConnectionOptions, redis_options: Mapping[str, Any]) -> Transport:
    """Make a transport to a plain Redis, with any of its databases, from a URL or a redis-py client.

    Raises:
        InvalidConfigurationError: the URL, the client or an option cannot work.
    """
    if isinstance(source, str):
        # RESP2 is what the oldest servers speak; nothing here needs more.
        return open_url(source, options, any_database=True, protocol=2, redis_options=redis_options)
    return open_client(source, retries=options.retries, any_database=True)
