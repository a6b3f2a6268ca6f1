"""`TrackedDatabase` and `FileDatabase`: numbered databases that record every change, in memory or in the file."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from typing import Any

from fakeredis._core import Database, Item

from relay_models.embedded.persistence.keyspace import FileKeyspace
from relay_models.embedded.persistence.redo_log import Change

__all__ = ["FileDatabase", "TrackedDatabase"]


class TrackedDatabase(Database):
    """A fakeredis database that collects the keys written, deleted or expired since it was last asked.

    A command may change a key through its item, through the mapping, or by moving it from another database; each of
    these passes through one of the methods below. The new value of a key is looked up only when the changes are taken.
    """

    def __init__(self, lock: threading.Lock | None, number: int) -> None:
        super().__init__(lock)
        self.number = number
        self.touched: dict[bytes, None] = {}
        self.expired_keys: list[bytes] = []
        """Those of the touched keys that have expired."""
        self.unborn: set[bytes] = set()
        """Watched keys that did not exist when they were said to change."""
        self.emptied = False
        self.created: set[bytes] = set()
        """The touched keys that are known not to have existed before."""
        self.exchanged: set[bytes] = set()
        """Keys that may have changed because their database was swapped. They need no writing."""

    def notify_watch(self, key: bytes) -> None:
        self.touched[key] = None
        if key in self._watches:
            if key in self._dict:
                self._tell_watchers(key)
            else:  # it may stay absent, where a command stores an empty result
                self.unborn.add(key)
        self.wake_all()

    def _tell_watchers(self, key: bytes) -> None:
        self.unborn.discard(key)
        for sock in self._watches.get(key, ()):
            sock.notify_watch()

    def wake_all(self) -> None:
        if self.condition._waiters:  # type: ignore[attr-defined]  # to find that out through notify_all costs far more
            self.condition.notify_all()
        if self._change_callbacks:
            for callback in list(self._change_callbacks):
                callback()

    def __setitem__(self, key: bytes, value: Any) -> None:
        self.touched[key] = None
        super().__setitem__(key, value)
        if key in self.unborn:
            self._tell_watchers(key)

    def __delitem__(self, key: bytes) -> None:
        self.touched[key] = None
        super().__delitem__(key)

    def __getitem__(self, key: bytes) -> Any:
        item = self.get(key)
        if item is None:
            raise KeyError(key)
        return item

    def get(self, key: bytes, default: Any = None) -> Any:
        item = self._dict.get(key)
        if item is None:
            return default
        if item.expireat is not None and item.expireat < self.time:
            self._expire(key)
            return default
        return item

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None  # type: ignore[arg-type]

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        item = self.get(key)
        if item is None:
            self[key] = item = default
        return item

    def _remove_expired(self) -> None:
        heap = self._expiry_heap
        while heap and heap[0][0] < self.time:
            _, key = heapq.heappop(heap)
            item = self._dict.get(key)
            if item is not None and self.expired(item):
                self._expire(key)

    def _expire(self, key: bytes) -> None:
        self.touched[key] = None
        self.expired_keys.append(key)
        del self._dict[key]

    def put(self, key: bytes, value: Any) -> None:
        """Store a value as a command does: watchers are notified, and the TTL stays."""
        item = self.get(key)
        if item is None and key not in self.touched:
            self.created.add(key)
        self.notify_watch(key)
        if item is None:
            item = Item(value)
            self.touched[key] = None
            self._dict[key] = item
            if key in self.unborn:
                self._tell_watchers(key)
        else:
            item.value = value

    def remove_expired(self) -> None:
        """Delete the keys that have expired."""
        self._remove_expired()

    def keys_from(self, prefix: bytes) -> Iterator[bytes]:
        """The keys that begin with `prefix`."""
        return iter([key for key in self if key.startswith(prefix)])

    def count_expiring(self) -> int:
        """The number of keys with a TTL."""
        return sum(item.expireat is not None for item in self._dict.values())

    def changed(self, key: bytes, change: tuple[int, int] | None) -> None:
        """Record that `key` was written. `change` is how, where it is a list changed at its ends."""

    def notice(self, names: list[bytes]) -> None:
        """Touch those of the keys named in a command that changed without being reported."""

    def write(self) -> None:
        """Put what changed into the open transaction, where there is a file."""

    def committed(self) -> None:
        """Record that everything changed is durable now."""

    def clear(self) -> None:
        for key in [key for key in self._watches if key in self._dict]:
            self.notify_watch(key)
        self.wake_all()
        self._dict.clear()
        self._expiry_heap.clear()
        self.touched.clear()
        self.created.clear()
        self.emptied = True

    def swap(self, other: Database) -> None:
        super().swap(other)
        for side in (self, other):
            assert isinstance(side, TrackedDatabase)
            side.touched.clear()
            side.created.clear()
            if side.number == 0:
                side.exchanged.update(self._dict, other._dict)
            for key in list(side._watches):
                if key in self._dict or key in other._dict:
                    side.touched[key] = None
                    side._tell_watchers(key)
            side.wake_all()


class FileDatabase(TrackedDatabase):
    """A database whose keys are in the file. Expired keys are found there too, not in a heap of every key."""

    _dict: FileKeyspace  # type: ignore[assignment]

    def __init__(self, lock: threading.Lock | None, number: int, keyspace: FileKeyspace) -> None:
        super().__init__(lock, number)
        self._dict = keyspace
        self._soonest: float | None = 0.0  # when to look for expired keys next; now, until the file was read

    def schedule_expiry(self, key: bytes, expireat: float | None) -> None:
        if expireat is not None and (self._soonest is None or expireat < self._soonest):
            self._soonest = expireat

    def _remove_expired(self) -> None:
        while self._soonest is not None and self._soonest < self.time:
            for key in self._dict.expired(self.time):
                self._expire(key)
            self._soonest = self._dict.next_expiry()

    def random_key(self) -> bytes | None:
        self._remove_expired()
        return self._dict.random_key()

    def keys_from(self, prefix: bytes) -> Iterator[bytes]:
        return self._dict.keys_from(prefix)

    def count_expiring(self) -> int:
        return self._dict.count_expiring()

    def expiring_fields(self) -> list[tuple[int, bytes]]:
        """The hashes of which a field expires: when the first one does, in ms since the epoch, and the key."""
        return self._dict.expiring_fields()

    def scan(self, after: int, count: int) -> tuple[int, list[bytes]]:
        """Up to `count` keys after the cursor, and the next cursor: 0 at the end."""
        self._remove_expired()
        return self._dict.scan(after, count)

    def changed(self, key: bytes, change: tuple[int, int] | None) -> None:
        self._dict.mark(key, change)

    def notice(self, names: list[bytes]) -> None:
        for name in self._dict.with_changed_members(names):
            self.touched[name] = None

    def write(self) -> None:
        self._dict.write()

    def changes(self) -> list[Change] | None:
        """The changes since the last commit, for the redo log; None where a transaction is needed."""
        return self._dict.changes()

    def committed(self) -> None:
        self._dict.committed()

    def reset(self, keyspace: FileKeyspace) -> None:
        """Take the keys that are in the file, after a change could not be written. Watchers are told."""
        self._dict = keyspace
        self._soonest = 0.0
        for key in list(self._watches):
            self.notify_watch(key)
        self.wake_all()
        for held in (self.touched, self.created, self.exchanged):
            held.clear()
        self.emptied = False

    def replay(self, change: Change) -> None:
        """Apply a change from the redo log."""
        self.touched[change.key] = None
        self._dict.replay(change)
        self.schedule_expiry(change.key, change.expire)

    def swap(self, other: Database) -> None:
        assert isinstance(other, FileDatabase)
        self.write()
        other.write()
        ours, theirs = self.number, other.number
        self._dict.renumber(-1)
        other._dict.renumber(ours)
        self._dict.renumber(theirs)
        super().swap(other)
        self._soonest, other._soonest = other._soonest, self._soonest
