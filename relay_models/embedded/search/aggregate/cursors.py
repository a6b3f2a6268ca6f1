"""`Cursors`: aggregations that are read in parts, FT.AGGREGATE WITHCURSOR and FT.CURSOR."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from relay_models.embedded.search.aggregate.pipeline import Pipeline
from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError

__all__ = ["Cursor", "Cursors"]


@dataclass(slots=True)
class Cursor:
    """An open cursor: the pipeline it reads from, the rows per read, and when (monotonic) it expires."""

    index: bytes
    pipeline: Pipeline
    count: int
    max_idle: int
    deadline: float = 0.0


class Cursors:
    """The open cursors of an engine, by number."""

    def __init__(self) -> None:
        self._open: dict[int, Cursor] = {}

    def add(self, cursor: Cursor, limit: int) -> int:
        """Keep a cursor and return its number. Raises `SearchError` where an index has too many."""
        self._expire()
        if sum(1 for other in self._open.values() if other.index == cursor.index) >= limit:
            raise SearchError(f"Too many cursors allocated for index `{display(cursor.index)}`")
        number = 0
        while number == 0 or number in self._open:
            number = random.getrandbits(31)
        self.put_back(number, cursor)
        return number

    def put_back(self, number: int, cursor: Cursor) -> None:
        cursor.deadline = time.monotonic() + cursor.max_idle / 1000
        self._open[number] = cursor

    def take(self, number: int) -> Cursor | None:
        self._expire()
        return self._open.pop(number, None)

    def drop_index(self, name: bytes) -> None:
        self._open = {number: cursor for number, cursor in self._open.items() if cursor.index != name}

    def counts(self, index: bytes) -> tuple[int, int]:
        """How many cursors are open in all, and how many on this index."""
        self._expire()
        return len(self._open), sum(1 for cursor in self._open.values() if cursor.index == index)

    def _expire(self) -> None:
        now = time.monotonic()
        for number in [number for number, cursor in self._open.items() if cursor.deadline < now]:
            del self._open[number]
