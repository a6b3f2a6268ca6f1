"""The parts of lists, hashes and sets in the file: `write_list` and `write_members` write those that changed."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from relay_models.embedded.persistence.encoding import HASH, TrackedDict, members, part_checksum, parts_of, track

__all__ = ["ListChange", "Stored", "delete_parts", "write_list", "write_members"]

_UPSERT_PART: Final = (
    "INSERT INTO parts (id, part, value, expire, checksum) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (id, part) DO UPDATE SET"
    " value = excluded.value, expire = excluded.expire, checksum = excluded.checksum"
)


class ListChange:
    """Which of a stored list's elements are left, contiguously, after pushes and pops at its ends."""

    __slots__ = ("first", "last", "offset")

    def __init__(self, length: int) -> None:
        self.first, self.last = 0, length
        """The stored elements that are kept, from the first to before the last."""
        self.offset = 0
        """The index of the first kept one in the current list."""

    def note(self, added_left: int, length: int) -> None:
        """Record that `added_left` elements came in at the left (negative: went out); the list is `length` long now."""
        self.offset += added_left
        if self.offset < 0:
            self.first = min(self.last, self.first - self.offset)
            self.offset = 0
        self.last = max(self.first, min(self.last, self.first + length - self.offset))


class Stored:
    """A key's rows: their id, the kind, the value they were written from, the first part of a list."""

    __slots__ = ("expire", "id", "kind", "length", "start", "value")

    def __init__(self, id: int, kind: int, value: Any, expire: float | None, start: int = 0, length: int = 0) -> None:
        self.id = id
        self.kind = kind
        self.value = value
        self.expire = expire
        self.start = start
        self.length = length


def delete_parts(connection: sqlite3.Connection, id: int) -> None:
    connection.execute("DELETE FROM parts WHERE id = ?", (id,))


def write_members(connection: sqlite3.Connection, stored: Stored, value: Any, same: bool) -> None:
    held = members(value)
    if not same or type(held) is not TrackedDict:
        if same:
            delete_parts(connection, stored.id)
        track(value)
        names = None
    else:
        names, held.changed = held.changed, set()
        if stored.kind == HASH:
            times = value._expirations
            if type(times) is TrackedDict:
                names, times.changed = names | times.changed, set()
        if not names:
            return
    upserts: list[tuple[Any, ...]] = []
    gone: list[tuple[Any, ...]] = []
    for part in parts_of(stored.kind, value, names):
        if len(part) == 1:
            gone.append((stored.id, part[0]))
        else:
            upserts.append((stored.id, *part, part_checksum(*part)))
    if gone:
        connection.executemany("DELETE FROM parts WHERE id = ? AND part = ?", gone)
    if upserts:
        connection.executemany(_UPSERT_PART, upserts)


def write_list(connection: sqlite3.Connection, stored: Stored, value: list[bytes], change: ListChange | None) -> None:
    execute, executemany = connection.execute, connection.executemany
    insert = "INSERT INTO parts (id, part, value, checksum) VALUES (?, ?, ?, ?)"

    def row(at: int, element: bytes) -> tuple[int, int, bytes, int]:
        return stored.id, at, element, part_checksum(at, element, None)

    if change is None or change.first >= change.last:
        delete_parts(connection, stored.id)
        executemany(insert, [row(at, element) for at, element in enumerate(value)])
        stored.start, stored.length = 0, len(value)
        return
    first, last = stored.start + change.first, stored.start + change.last
    if change.first > 0:
        execute("DELETE FROM parts WHERE id = ? AND part < ?", (stored.id, first))
    if change.last < stored.length:
        execute("DELETE FROM parts WHERE id = ? AND part >= ?", (stored.id, last))
    begin = first - change.offset
    head = [row(begin + at, value[at]) for at in range(change.offset)]
    kept = change.offset + change.last - change.first
    tail = [row(begin + at, value[at]) for at in range(kept, len(value))]
    executemany(insert, head + tail)
    stored.start, stored.length = begin, len(value)
