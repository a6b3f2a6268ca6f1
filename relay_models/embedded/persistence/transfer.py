"""`dump` and `restore`: every key of a server, real or embedded, to and from a file of JSON lines.

The file holds one JSON object a line, in UTF-8, gzip-compressed where its name ends in ``.gz``:

- first ``{"format": "relay-models-dump", "version": 1, "created": "<ISO 8601>"}``;
- then for every key ``{"key", "type", "value"}`` with ``"expires"`` (ms since the epoch) where it has a time to live.
  ``type`` is what the TYPE command says. ``value`` is a string (``string``, ``ReJSON-RL``: the JSON text), a list
  (``list``, ``set``), a list of pairs (``hash``: field and value, ``zset``: member and score, ``stream``: id and list
  of fields and values). A key too large for one line goes on in the next ones, which repeat ``key`` and ``type`` and
  say ``"part": 1``, ``2``, …; ``"field_expires"`` lists field and ms of a hash's own expirations, ``"groups"`` and
  ``"last"`` come with a stream's last line;
- last ``{"end": true, "keys": <number of keys>}``: a file without it was cut short.

Text that is UTF-8 is written as a JSON string, any other bytes as ``{"base64": "…"}``. Search indexes are not in it:
they belong to the programs that query them, which make them where they are missing.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final

import redis

from relay_models.embedded.errors import InvalidArgumentError, TransferError
from relay_models.embedded.persistence.dump_files import Target, reading, writing
from relay_models.embedded.persistence.transfer_calls import Calls, session

__all__ = ["DumpReport", "RestoreReport", "dump", "restore"]

FORMAT: Final = "relay-models-dump"
VERSION: Final = 1
BATCH: Final = 500
"""Elements of a list, set, … in one line and in one command."""
SCRATCH_MS: Final = 3_600_000
"""How long what a killed restore wrote of a key is kept (milliseconds)."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class DumpReport:
    """What `dump` wrote.

    Attributes:
        keys: The number of keys.
        left_out: The keys left out because of their type, each with the type.
    """

    keys: int
    left_out: list[tuple[bytes, str]] = field(default_factory=list)


@dataclass(frozen=True)
class RestoreReport:
    """What `restore` wrote.

    Attributes:
        keys: The number of keys written.
        expired: The number of keys that had expired since the dump, and were left out.
    """

    keys: int
    expired: int


def dump(
    client: redis.Redis,  # type: ignore[type-arg]
    target: Target,
    *,
    match: str | bytes = "*",
    leave_out_unknown: bool = False,
) -> DumpReport:
    """Write every key of the client's database to a file of JSON lines.

    A key that changes meanwhile is written as it was at some moment of the dump. A file given by its name appears, or
    changes, only when it is complete; it keeps its permissions, and a new one is for its owner alone. Links are
    followed, and pipes and devices are written as they are.

    Args:
        client: A client of any Redis server, real or embedded, or of a cluster.
        target: The file's name, gzip-compressed if it ends in ``.gz``, or a file open for writing bytes.
        match: Only keys that match this glob pattern.
        leave_out_unknown: Whether keys of types that only a module knows are left out instead of being an error.

    Returns:
        What was written.

    Raises:
        InvalidArgumentError: The client, the target or the pattern is of another type.
        TransferError: A key cannot be dumped.
        OSError: The file cannot be written.
        redis.RedisError: The server failed.
    """
    is_pattern = isinstance(match, str | bytes) and not (isinstance(match, str) and _SURROGATE.search(match))
    if not is_pattern:
        raise InvalidArgumentError("match is a pattern of keys, such as 'nemo_relay:*', without lone surrogates")
    with session(client) as call, writing(target) as file:
        return _Dump(call, file).run(match, leave_out_unknown)


def restore(client: redis.Redis, source: Target, *, replace: bool = False) -> RestoreReport:  # type: ignore[type-arg]
    """Write the keys of a dump into the client's database. Keys that have expired since are left out.

    Each key is written as a whole, with its time to live, or left as it was.

    Args:
        client: A client of any Redis server, real or embedded, or of a cluster.
        source: The dump's name, or a file open for reading bytes.
        replace: Whether existing keys are replaced instead of being an error.

    Returns:
        What was written.

    Raises:
        InvalidArgumentError: The client or the source is of another type.
        TransferError: A key exists already, or the file is no dump, damaged, or of a later version. The keys before it
            have been written.
        OSError: The file cannot be read.
        redis.RedisError: The server failed.
    """
    with session(client) as call, reading(source) as file:
        restoring = _Restore(call, replace)
        try:
            return restoring.run(file)
        except (TransferError, OSError):
            restoring.abandon()
            raise


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        return base64.b64decode(value["base64"], validate=True)
    raise TransferError(f"a text was expected, not {value!r}")


def _pairs(flat: Any) -> list[tuple[Any, Any]]:
    """Pairs from a map, a flat list or a list of pairs, whichever the protocol has."""
    if isinstance(flat, dict):
        return list(flat.items())
    if flat and isinstance(flat[0], list):
        return [(name, value) for name, value in flat]
    return list(zip(flat[::2], flat[1::2], strict=True))


def _score(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else repr(float(value))


class _Dump:
    """A dump in progress."""

    def __init__(self, call: Calls, file: IO[bytes]) -> None:
        self._call = call
        self._file = file
        self._read = {
            "string": self._string,
            "ReJSON-RL": self._json,
            "list": self._list,
            "set": self._set,
            "zset": self._zset,
            "hash": self._hash,
            "stream": self._stream,
        }

    def run(self, match: str | bytes, leave_out_unknown: bool) -> DumpReport:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._line({"format": FORMAT, "version": VERSION, "created": now})
        keys, left_out = 0, []
        for key in self._keys(match):
            kind = self._call("TYPE", key).decode()
            if kind == "none":
                continue
            read = self._read.get(kind)
            if read is None:
                if not leave_out_unknown:
                    raise TransferError(f"the key {key!r} has the type {kind}, which cannot be moved")
                left_out.append((key, kind))
                continue
            keys += self._key(key, kind, read(key))
        self._line({"end": True, "keys": keys})
        return DumpReport(keys, left_out)

    def _keys(self, match: str | bytes) -> Iterator[bytes]:
        """Every key once: SCAN may name one twice."""
        seen: set[int] = set()
        for batch in self._call.pages(match):
            for key in batch:
                mark = hash(key)
                if mark not in seen:
                    seen.add(mark)
                    yield key

    def _key(self, key: bytes, kind: str, parts: Iterator[dict[str, Any]]) -> int:
        expires = self._expires(key)
        number = 0
        for part in parts:
            line: dict[str, Any] = {"key": _text(key), "type": kind, **part}
            if number:
                line["part"] = number
            elif expires is not None:
                line["expires"] = expires
            self._line(line)
            number += 1
        return number > 0

    def _expires(self, key: bytes) -> int | None:
        try:
            when = int(self._call("PEXPIRETIME", key))
        except redis.ResponseError:  # Redis before 7.0
            left = int(self._call("PTTL", key))
            seconds, micros = self._call("TIME")
            when = int(seconds) * 1000 + int(micros) // 1000 + left if left >= 0 else -1
        return when if when >= 0 else None

    def _line(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def _string(self, key: bytes) -> Iterator[dict[str, Any]]:
        value = self._call("GET", key)
        if value is not None:
            yield {"value": _text(value)}

    def _json(self, key: bytes) -> Iterator[dict[str, Any]]:
        value = self._call("JSON.GET", key)
        if value is not None:
            yield {"value": _text(value)}

    def _list(self, key: bytes) -> Iterator[dict[str, Any]]:
        start = 0
        while values := self._call("LRANGE", key, start, start + BATCH - 1):
            yield {"value": [_text(value) for value in values]}
            start += len(values)

    def _scan(self, name: str, key: bytes) -> Iterator[list[Any]]:
        cursor: Any = 0
        while True:
            cursor, batch = self._call(name, key, cursor, "COUNT", BATCH)
            if batch:
                yield batch
            if int(cursor) == 0:
                return

    def _set(self, key: bytes) -> Iterator[dict[str, Any]]:
        for batch in self._scan("SSCAN", key):
            yield {"value": [_text(member) for member in batch]}

    def _zset(self, key: bytes) -> Iterator[dict[str, Any]]:
        start = 0
        while reply := self._call("ZRANGE", key, start, start + BATCH - 1, "WITHSCORES"):
            pairs = _pairs(reply)
            yield {"value": [[_text(member), _score(score)] for member, score in pairs]}
            start += len(pairs)

    def _hash(self, key: bytes) -> Iterator[dict[str, Any]]:
        for batch in self._scan("HSCAN", key):
            pairs = _pairs(batch)
            line: dict[str, Any] = {"value": [[_text(name), _text(value)] for name, value in pairs]}
            names = [name for name, _ in pairs]
            try:
                times = self._call("HPEXPIRETIME", key, "FIELDS", len(names), *names)
            except redis.ResponseError:  # Redis before 7.4
                times = []
            expiring = [[_text(name), time] for name, time in zip(names, times, strict=False) if time and time > 0]
            if expiring:
                line["field_expires"] = expiring
            yield line

    def _stream(self, key: bytes) -> Iterator[dict[str, Any]]:
        start = b"-"
        while entries := self._call("XRANGE", key, start, "+", "COUNT", BATCH):
            yield {
                "value": [
                    [_text(id), [_text(item) for item in fields] if isinstance(fields, list) else _flat(fields)]
                    for id, fields in entries
                ]
            }
            start = b"(" + entries[-1][0]
        facts = dict(_pairs(self._call("XINFO", "STREAM", key)))
        yield {
            "value": [],
            "last": {
                "id": _text(facts[b"last-generated-id"]),
                "added": facts.get(b"entries-added"),
                "deleted": _text(facts.get(b"max-deleted-entry-id", b"0-0")),
            },
            "groups": [self._group(key, dict(_pairs(group))) for group in self._call("XINFO", "GROUPS", key)],
        }

    def _group(self, key: bytes, facts: dict[bytes, Any]) -> dict[str, Any]:
        name = facts[b"name"]
        pending: list[Any] = []
        start = b"-"
        while batch := self._call("XPENDING", key, name, start, "+", BATCH):
            pending += [[_text(id), _text(consumer), int(idle), int(times)] for id, consumer, idle, times in batch]
            start = b"(" + batch[-1][0]
        consumers = [dict(_pairs(one))[b"name"] for one in self._call("XINFO", "CONSUMERS", key, name)]
        return {
            "name": _text(name),
            "last": _text(facts[b"last-delivered-id"]),
            "read": facts.get(b"entries-read"),
            "consumers": [_text(consumer) for consumer in consumers],
            "pending": pending,
        }


def _flat(fields: Any) -> list[Any]:
    return [_text(item) for pair in fields.items() for item in pair]


class _Restore:
    """A restore in progress.

    A key is written under a name of its own, which expires, and takes its true name by RENAME, together with its last
    part and its time to live: whatever happens on the way, there is the old value or the whole new one.
    """

    def __init__(self, call: Calls, replace: bool) -> None:
        self._call = call
        self._replace = replace
        self._keys = self._expired = 0
        self._current: bytes | None = None
        self._skipping = False
        self._deadline: int | None = None
        self._scratch = b""
        # What is still to be written of the current key, and whether a part of it has been.
        self._commands: list[tuple[Any, ...]] = []
        self._has_parts = False

    def run(self, file: IO[bytes]) -> RestoreReport:
        lines = self._lines(file)
        header = next(lines, None)
        if header is None or header.get("format") != FORMAT:
            raise TransferError("not a dump: its first line does not say so")
        if not isinstance(header.get("version"), int) or header["version"] > VERSION:
            raise TransferError(f"the dump has version {header.get('version')}; this release reads up to {VERSION}")
        for line in lines:
            if line.get("end") is True:
                self._finish()
                if line.get("keys") != self._keys + self._expired:
                    raise TransferError(
                        f"the dump tells of {line.get('keys')} keys and holds {self._keys + self._expired}"
                    )
                return RestoreReport(self._keys, self._expired)
            try:
                self._line(line)
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, TransferError):
                    raise
                raise TransferError(f"a line of the dump cannot be read: {error!r}") from error
        raise TransferError("the dump is incomplete: its last line is missing")

    @staticmethod
    def _lines(file: IO[bytes]) -> Iterator[dict[str, Any]]:
        number = 0
        try:
            for number, raw in enumerate(file, start=1):
                line = json.loads(raw)
                if not isinstance(line, dict):
                    raise TransferError(f"line {number} of the dump is not an object")
                yield line
        except (json.JSONDecodeError, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise TransferError(f"the dump is damaged after line {number}: {error}") from error

    def _line(self, line: dict[str, Any]) -> None:
        key = _bytes(line["key"])
        if not line.get("part"):
            self._finish()
            self._begin(key, line.get("expires"))
        elif key != self._current:
            raise TransferError(f"a part of {key!r} is out of order")
        if self._skipping:
            return
        write = {
            "string": self._string,
            "ReJSON-RL": self._json,
            "list": self._list,
            "set": self._set,
            "zset": self._zset,
            "hash": self._hash,
            "stream": self._stream,
        }.get(line["type"])
        if write is None:
            raise TransferError(f"the key {key!r} has the type {line['type']!r}, which cannot be moved")
        if self._commands:
            self._has_parts = True
            self._call.together(key, [*self._commands, ("PEXPIRE", self._scratch, SCRATCH_MS)])
        self._commands = write(self._scratch, line)

    def _begin(self, key: bytes, expires: int | None) -> None:
        seconds, micros = self._call("TIME") if expires is not None else (0, 0)
        self._skipping = expires is not None and expires <= int(seconds) * 1000 + int(micros) // 1000
        self._current, self._deadline, self._commands, self._has_parts = key, expires, [], False
        self._scratch = self._call.scratch(key)
        if self._skipping:
            self._expired += 1
            return
        if not self._replace and self._call("EXISTS", key):
            raise self._exists(key)
        self._keys += 1

    def _finish(self) -> None:
        """Give the key its value."""
        key, self._current = self._current, None
        if key is None or self._skipping:
            return
        commands = list(self._commands)
        if self._deadline is not None:
            commands.append(("PEXPIREAT", self._scratch, self._deadline))
        elif self._has_parts:
            commands.append(("PERSIST", self._scratch))
        commands.append(("RENAME" if self._replace else "RENAMENX", self._scratch, key))
        if self._call.together(key, commands)[-1] == 0:
            raise self._exists(key)

    def abandon(self) -> None:
        """Delete what is written of a key that will not be finished."""
        if self._scratch:
            with contextlib.suppress(redis.RedisError, OSError):
                self._call("DEL", self._scratch)

    @staticmethod
    def _exists(key: bytes) -> TransferError:
        return TransferError(f"the key {key!r} exists already; pass replace=True (--replace), or delete it first")

    def _string(self, key: bytes, line: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [("SET", key, _bytes(line["value"]))]

    def _json(self, key: bytes, line: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [("JSON.SET", key, "$", _bytes(line["value"]))]

    def _list(self, key: bytes, line: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [("RPUSH", key, *map(_bytes, line["value"]))]

    def _set(self, key: bytes, line: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [("SADD", key, *map(_bytes, line["value"]))]

    def _zset(self, key: bytes, line: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [("ZADD", key, *[item for member, score in line["value"] for item in (score, _bytes(member))])]

    def _hash(self, key: bytes, line: dict[str, Any]) -> list[tuple[Any, ...]]:
        expirations = [
            ("HPEXPIREAT", key, time, "FIELDS", 1, _bytes(name)) for name, time in line.get("field_expires", ())
        ]
        return [("HSET", key, *[_bytes(item) for pair in line["value"] for item in pair]), *expirations]

    def _stream(self, key: bytes, line: dict[str, Any]) -> list[tuple[Any, ...]]:
        commands: list[tuple[Any, ...]] = [
            ("XADD", key, _bytes(id), *map(_bytes, fields)) for id, fields in line["value"]
        ]
        last = line.get("last")
        if last is None:
            return commands
        if not commands and not self._has_parts:  # a stream without entries
            commands += [("XGROUP", "CREATE", key, "\0", "0", "MKSTREAM"), ("XGROUP", "DESTROY", key, "\0")]
        added = (
            () if last["added"] is None else ("ENTRIESADDED", last["added"], "MAXDELETEDID", _bytes(last["deleted"]))
        )
        commands.append(("XSETID", key, _bytes(last["id"]), *added))
        for group in line.get("groups", ()):
            name = _bytes(group["name"])
            read = () if group["read"] is None else ("ENTRIESREAD", group["read"])
            commands.append(("XGROUP", "CREATE", key, name, _bytes(group["last"]), *read))
            commands += [("XGROUP", "CREATECONSUMER", key, name, _bytes(one)) for one in group["consumers"]]
            for id, consumer, idle, times in group["pending"]:
                options = ("IDLE", idle, "RETRYCOUNT", times, "FORCE", "JUSTID")
                commands.append(("XCLAIM", key, name, _bytes(consumer), 0, _bytes(id), *options))
        return commands
