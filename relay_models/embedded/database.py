"""One numbered database that notes every key that changes, however it changes."""

from __future__ import annotations

import heapq
import threading
from typing import Any

from fakeredis._core import Database

__all__ = ["TrackedDatabase"]


class TrackedDatabase(Database):
    """A fakeredis database that collects the keys written, deleted or expired since it was last asked.

    A command may change a key through its item, through the mapping, or by moving it from another database; each of
    these passes through one of the methods below. What became of a key is looked up only when the changes are taken.
    """

    def __init__(self, lock: threading.Lock | None, number: int) -> None:
        super().__init__(lock)
        self.number = number
        self.touched: dict[bytes, None] = {}
        self.emptied = False

    def notify_watch(self, key: bytes) -> None:
        self.touched[key] = None
        if self._watches:
            for sock in self._watches.get(key, ()):
                sock.notify_watch()
        self.wake_all()

    def __setitem__(self, key: bytes, value: Any) -> None:
        self.touched[key] = None
        super().__setitem__(key, value)

    def __delitem__(self, key: bytes) -> None:
        self.touched[key] = None
        super().__delitem__(key)

    def __getitem__(self, key: bytes) -> Any:
        item = self._dict[key]
        if item.expireat is not None and item.expireat < self.time:
            self.touched[key] = None
            del self._dict[key]
            raise KeyError(key)
        return item

    def _remove_expired(self) -> None:
        heap = self._expiry_heap
        while heap and heap[0][0] < self.time:
            _, key = heapq.heappop(heap)
            item = self._dict.get(key)
            if item is not None and self.expired(item):
                self.touched[key] = None
                del self._dict[key]

    def remove_expired(self) -> None:
        """Delete what has expired by now, so that nobody sees it."""
        self._remove_expired()

    def clear(self) -> None:
        super().clear()
        self.touched.clear()
        self.emptied = True

    def swap(self, other: Database) -> None:
        super().swap(other)
        for side in (self, other):
            assert isinstance(side, TrackedDatabase)
            side.touched.clear()
            side.emptied = True
            side.touched.update(dict.fromkeys(side._dict))
            side.wake_all()
