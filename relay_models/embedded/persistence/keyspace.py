"""`FileKeyspace`: the keys of one database in the file, read on demand, kept in a bounded cache, written in batches."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, Final

from fakeredis._core import Item
from fakeredis.model import Hash

from relay_models.embedded.errors import DamagedFileError
from relay_models.embedded.json.value import JsonDocument
from relay_models.embedded.persistence.encoding import (
    HASH,
    JSON,
    LIST,
    SET,
    STREAM,
    STRING,
    ZSET,
    TrackedDict,
    key_checksum,
    kind_code,
    members,
    part_checksum,
    restore,
    whole,
)
from relay_models.embedded.persistence.parts import ListChange, Stored, delete_parts, write_list, write_members
from relay_models.embedded.persistence.redo_log import Change

__all__ = ["FileKeyspace", "begin"]

CACHED_KEYS: Final = 10_000
CACHED_BYTES: Final = 32 * 1024 * 1024
# Maximum that waits in memory for a commit before it is written into the open transaction.
UNWRITTEN_KEYS: Final = 1_000
UNWRITTEN_BYTES: Final = 16 * 1024 * 1024

# A batch that changed more keys than this is a transaction. Smaller ones share one, which then writes each page of an
# index once and not once for each batch.
LOGGED_KEYS: Final = 1_000

_INSERT: Final = "INSERT INTO keys (db, key, kind, expire, value, checksum) VALUES (?, ?, ?, ?, ?, ?)"
_UPSERT: Final = (
    f"{_INSERT}"
    " ON CONFLICT (db, key) DO UPDATE SET"
    " kind = excluded.kind, expire = excluded.expire, value = excluded.value, checksum = excluded.checksum"
)

# For values without parts there is nothing more to know.
_BLOB: Final = {kind: Stored(0, kind, None, None) for kind in (STRING, JSON)}


class FileKeyspace(MutableMapping[bytes, Item]):
    """The mapping from key to item of database `number`.

    Changed keys are `mark`ed; `write` puts them into the connection's open transaction. Written keys may leave the
    cache and are read again when needed, so memory holds what is in use and not everything.
    """

    def __init__(self, connection: sqlite3.Connection, number: int) -> None:
        self._connection = connection
        self.number = number
        self._cache: OrderedDict[bytes, Item | None] = OrderedDict()
        self._sizes: dict[bytes, int] = {}
        self._cached_bytes = 0
        # The size at which keys are evicted again. It is beyond the limits while unwritten keys fill the cache: looking
        # through all of them at each key would make one command over many keys far too slow.
        self._cut_at = (CACHED_KEYS, CACHED_BYTES)
        self._stored: dict[bytes, Stored] = {}
        self._absent: set[bytes] = set()  # keys looked for and not found since the last write
        self._waiting: dict[bytes, ListChange | None] = {}
        self._waiting_bytes = 0
        self._count: int | None = None
        self._fresh: set[bytes] = set()  # keys changed since the last commit
        self._beyond_log = False  # something changed that is more than a list of keys

    # Reading

    def __getitem__(self, key: bytes) -> Item:
        item: Item | None = self.get(key)
        if item is None:
            raise KeyError(key)
        return item

    def get(self, key: bytes, default: Any = None) -> Any:
        cache = self._cache
        if key in cache:
            cache.move_to_end(key)
            item = cache[key]
        elif key in self._absent:
            return default
        else:
            item = self._load(key)
        return default if item is None else item

    def _load(self, key: bytes) -> Item | None:
        row = self._connection.execute(
            "SELECT id, kind, expire, value, checksum FROM keys WHERE db = ? AND key = ?", (self.number, key)
        ).fetchone()
        if row is None:
            if len(self._absent) > CACHED_KEYS:
                self._absent.clear()
            self._absent.add(key)
            return None
        id, kind, expire, content, checksum = row
        if key_checksum(key, kind, expire, content) != checksum:
            raise _damaged(key)
        rows: list[tuple[Any, ...]] = []
        if kind not in (STRING, JSON):
            order = "part" if kind == LIST else "number"
            rows = self._connection.execute(
                f"SELECT part, value, expire, checksum FROM parts WHERE id = ? ORDER BY {order}", (id,)
            ).fetchall()
            if any(part_checksum(*part) != noted for *part, noted in rows):
                raise _damaged(key)
        item = Item(restore(kind, content, [row[:3] for row in rows]))
        item.expireat = expire
        start = rows[0][0] if kind == LIST and rows else 0
        self._stored[key] = Stored(id, kind, item.value, expire, start, len(rows))
        self._keep(key, item)
        return item

    def _keep(self, key: bytes, item: Item) -> None:
        self._cache[key] = item
        self._weigh(key, item)
        keys, size = self._cut_at
        if len(self._cache) > keys or self._cached_bytes > size:
            self._evict()

    def _weigh(self, key: bytes, item: Item | None) -> None:
        size = 0 if item is None else _size(key, item.value)
        self._cached_bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def _forget(self, key: bytes) -> None:
        self._cache.pop(key, None)
        self._stored.pop(key, None)
        self._cached_bytes -= self._sizes.pop(key, 0)

    def _evict(self) -> None:
        """Evict the least recently used keys, except unwritten ones."""
        for key in list(self._cache):
            if len(self._cache) <= CACHED_KEYS * 9 // 10 and self._cached_bytes <= CACHED_BYTES * 9 // 10:
                break
            if key not in self._waiting:
                self._forget(key)
        keys, size = len(self._cache), self._cached_bytes
        self._cut_at = (max(CACHED_KEYS, keys * 5 // 4), max(CACHED_BYTES, size * 5 // 4))

    def __contains__(self, key: object) -> bool:
        try:
            return self._cache[key] is not None  # type: ignore[index]
        except KeyError:
            if key in self._absent:
                return False
            found = self._connection.execute("SELECT 1 FROM keys WHERE db = ? AND key = ?", (self.number, key))
            return found.fetchone() is not None

    def __iter__(self) -> Iterator[bytes]:
        return self.keys_from(b"")

    def keys_from(self, prefix: bytes) -> Iterator[bytes]:
        """The keys that begin with `prefix`, sorted, read in batches so that changes in between are harmless."""
        self.write()
        after, condition = prefix, ">="
        while True:
            batch = self._connection.execute(
                f"SELECT key FROM keys WHERE db = ? AND key {condition} ? ORDER BY key LIMIT 1000",
                (self.number, after),
            ).fetchall()
            for (key,) in batch:
                if not key.startswith(prefix):
                    return
                yield key
            if len(batch) < 1000:
                return
            after, condition = batch[-1][0], ">"

    def scan(self, after: int, count: int) -> tuple[int, list[bytes]]:
        """Up to `count` keys created after the cursor, and the next cursor: 0 at the end."""
        self.write()
        rows = self._connection.execute(
            "SELECT id, key FROM keys WHERE db = ? AND id > ? ORDER BY id LIMIT ?", (self.number, after, count)
        ).fetchall()
        return (rows[-1][0] if len(rows) == count else 0), [key for _, key in rows]

    def __len__(self) -> int:
        if self._count is None:
            self.write()
            (self._count,) = self._connection.execute(
                "SELECT count(*) FROM keys WHERE db = ?", (self.number,)
            ).fetchone()
        return self._count

    def random_key(self) -> bytes | None:
        """Some key, or None where there are none."""
        self.write()
        row = self._connection.execute(
            "SELECT key FROM keys WHERE db = ?1 LIMIT 1"
            " OFFSET (SELECT abs(random()) % max(1, count(*)) FROM keys WHERE db = ?1)",
            (self.number,),
        ).fetchone()
        return None if row is None else row[0]

    def expired(self, now: float) -> list[bytes]:
        """Some of the keys that expired before `now`."""
        self.write()
        rows = self._connection.execute(
            "SELECT key FROM keys WHERE expire < ? AND db = ? LIMIT 1000", (now, self.number)
        ).fetchall()
        return [key for (key,) in rows]

    def next_expiry(self) -> float | None:
        """When the next key expires, in seconds since the epoch."""
        self.write()
        row = self._connection.execute(
            "SELECT min(expire) FROM keys WHERE expire IS NOT NULL AND db = ?", (self.number,)
        ).fetchone()
        return row[0]  # type: ignore[no-any-return]

    def count_expiring(self) -> int:
        """The number of keys with a TTL."""
        self.write()
        (count,) = self._connection.execute(
            "SELECT count(*) FROM keys WHERE expire IS NOT NULL AND db = ?", (self.number,)
        ).fetchone()
        return count  # type: ignore[no-any-return]

    def expiring_fields(self) -> list[tuple[int, bytes]]:
        """The hashes of which a field expires: when the first one does, in ms since the epoch, and the key."""
        self.write()
        return self._connection.execute(
            "SELECT min(p.expire), k.key FROM parts p JOIN keys k USING (id)"
            " WHERE p.expire IS NOT NULL AND k.db = ? AND k.kind = ? GROUP BY p.id",
            (self.number, HASH),
        ).fetchall()

    # Changing

    def __setitem__(self, key: bytes, item: Item) -> None:
        if self._count is not None and key not in self:
            self._count += 1
        self._cache[key] = item
        self._cache.move_to_end(key)
        self._waiting[key] = None
        self._fresh.add(key)

    def __delitem__(self, key: bytes) -> None:
        if key not in self:
            raise KeyError(key)
        self._cache[key] = None
        if self._count is not None:
            self._count -= 1
        self._waiting[key] = None
        self._fresh.add(key)

    def mark(self, key: bytes, change: tuple[int, int] | None) -> None:
        """Record that the item at `key` changed: how, where it is a list changed at its ends, else None."""
        self._fresh.add(key)
        stored = self._stored.get(key)
        if change is None or stored is None or stored.kind != LIST:
            self._waiting[key] = None
        else:
            known = self._waiting.get(key, False)
            if known is False:
                known = self._waiting[key] = ListChange(stored.length)
            if known is not None:
                known.note(*change)  # type: ignore[union-attr]
        item = self._cache.get(key)
        if item is not None:
            value = item.value
            if type(value) is JsonDocument:
                self._waiting_bytes += len(value.text)
            elif type(value) is bytes:
                self._waiting_bytes += len(value)
        if len(self._waiting) > UNWRITTEN_KEYS or self._waiting_bytes > UNWRITTEN_BYTES:
            self.write()

    def with_changed_members(self, names: Iterable[bytes]) -> list[bytes]:
        """The keys of `names` whose members changed. fakeredis does not report every such change."""
        return [name for name in names if (item := self._cache.get(name)) is not None and _members_changed(item.value)]

    def clear(self) -> None:
        """Delete every key of this database."""
        self._beyond_log = True
        for held in (self._cache, self._sizes, self._stored, self._waiting, self._absent, self._fresh):
            held.clear()
        self._cached_bytes = self._waiting_bytes = 0
        self._count = 0
        begin(self._connection)
        execute = self._connection.execute
        execute("DELETE FROM parts WHERE id IN (SELECT id FROM keys WHERE db = ?)", (self.number,))
        execute("DELETE FROM keys WHERE db = ?", (self.number,))

    def renumber(self, number: int) -> None:
        """Change the number of this keyspace. Everything has been written, and is moved in the file."""
        begin(self._connection)
        self._beyond_log = True
        self._connection.execute("UPDATE keys SET db = ? WHERE db = ?", (number, self.number))
        self.number = number

    def changes(self) -> list[Change] | None:
        """The changes since the last commit, for the redo log; None where they are too many or not only of keys."""
        if self._beyond_log or len(self._fresh) > LOGGED_KEYS:
            return None
        found: list[Change] = []
        for key in self._fresh:
            if key not in self._cache:
                return None
            item = self._cache[key]
            if item is None:
                found.append(Change(self.number, key))
                continue
            value = item.value
            if type(value) is JsonDocument:
                found.append(Change(self.number, key, JSON, item.expireat, value.text))
            elif type(value) is bytes:
                found.append(Change(self.number, key, STRING, item.expireat, value))
            else:
                return None
        return found

    def committed(self) -> None:
        """Record that everything changed is durable now."""
        if self._fresh:
            self._fresh.clear()
        self._beyond_log = False

    def replay(self, change: Change) -> None:
        """Apply a change from the redo log."""
        if change.content is None:
            self.pop(change.key, None)
            return
        expire: Any = change.expire
        item = Item(restore(change.kind, change.content, ()))
        item.expireat = expire
        self[change.key] = item

    def write(self) -> None:
        """Put what changed into the open transaction."""
        if not self._waiting:
            return
        begin(self._connection)
        waiting, self._waiting = self._waiting, {}
        self._waiting_bytes = 0
        rows: list[tuple[Any, ...]] = []
        fresh: list[tuple[Any, ...]] = []
        absent = self._absent
        for key, change in waiting.items():
            item = self._cache.get(key)
            if item is None:
                self._delete(key)
                continue
            kind = kind_code(item.value)
            self._weigh(key, item)
            if kind in (STRING, JSON):
                self._replace_parts(key, kind)
                content = item.value if kind == STRING else item.value.text
                row = (self.number, key, kind, item.expireat, content, key_checksum(key, kind, item.expireat, content))
                (fresh if key in absent else rows).append(row)
            elif kind is not None:
                self._write_parted(key, item, kind, change)
        if fresh:
            self._connection.executemany(_INSERT, fresh)
        if rows:
            self._connection.executemany(_UPSERT, rows)
        absent.clear()
        if len(self._cache) > CACHED_KEYS or self._cached_bytes > CACHED_BYTES:
            self._evict()

    def _replace_parts(self, key: bytes, kind: int) -> None:
        """Delete the parts of a former list or hash from a key that is a plain blob now."""
        stored = self._stored.get(key)
        if stored is None:
            if key not in self._absent:
                self._delete_leftovers(key)
        elif stored.kind not in (STRING, JSON):
            delete_parts(self._connection, stored.id)
        if stored is None or stored.kind != kind:
            self._stored[key] = _BLOB[kind]

    def _delete(self, key: bytes) -> None:
        stored = self._stored.get(key)
        if stored is None or stored.kind not in (STRING, JSON):
            self._delete_leftovers(key)
        self._connection.execute("DELETE FROM keys WHERE db = ? AND key = ?", (self.number, key))
        self._forget(key)

    def _delete_leftovers(self, key: bytes) -> None:
        self._connection.execute(
            "DELETE FROM parts WHERE id = (SELECT id FROM keys WHERE db = ? AND key = ? AND kind NOT IN (?, ?))",
            (self.number, key, STRING, JSON),
        )

    def _write_parted(self, key: bytes, item: Item, kind: int, change: ListChange | None) -> None:
        value = item.value
        content = whole(kind, value)
        stored = self._stored.get(key)
        same = stored is not None and stored.value is value and stored.kind == kind
        if stored is None or not same or kind == STREAM or stored.expire != item.expireat:
            if not same:
                self._delete_leftovers(key)
            checksum = key_checksum(key, kind, item.expireat, content)
            self._connection.execute(_UPSERT, (self.number, key, kind, item.expireat, content, checksum))
        if not same:
            (id,) = self._connection.execute(
                "SELECT id FROM keys WHERE db = ? AND key = ?", (self.number, key)
            ).fetchone()
            stored = self._stored[key] = Stored(id, kind, value, item.expireat)
        assert stored is not None
        stored.expire = item.expireat
        if kind == LIST:
            write_list(self._connection, stored, value, change if same else None)
        else:
            write_members(self._connection, stored, value, same)


def _damaged(key: bytes) -> DamagedFileError:
    return DamagedFileError(f"the file is damaged: the value of {key!r} is not what was written")


def _members_changed(value: Any) -> bool:
    if kind_code(value) not in (SET, ZSET, HASH, STREAM):
        return False
    held = members(value)
    times = value._expirations if type(value) is Hash else None
    return (type(held) is TrackedDict and bool(held.changed)) or (type(times) is TrackedDict and bool(times.changed))


def _size(key: bytes, value: Any) -> int:
    """Roughly the memory of an item, in bytes."""
    if type(value) is bytes:
        return 200 + len(key) + len(value)
    kind = kind_code(value)
    if kind == JSON:
        return 300 + len(key) + len(value.text)
    if kind == LIST:
        return 300 + len(key) + 100 * len(value)
    return 500 + len(key) + (0 if kind is None else 200 * len(members(value)))


def begin(connection: sqlite3.Connection) -> None:
    """Open a transaction unless one is open."""
    if not connection.in_transaction:
        connection.execute("BEGIN")
