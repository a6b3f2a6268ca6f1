"""`Landmarks`: how far the first pages of questions reached, so that the next time nothing beyond is looked at."""

from __future__ import annotations

import threading

__all__ = ["Landmarks"]

_KEPT = 512


class Landmarks:
    """Of each question the value that the last row of its first page is sorted by, from the last time it was asked.

    A server puts all documents that match in order to give the first fifty. Asked only for those up to the landmark, it
    looks at little more than these; and if they are still enough, they are the first ones, whatever has been written
    since. If they are not, the question is asked in full. Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[int, int | float] = {}

    def get(self, question: int) -> int | float | None:
        """The landmark of a question, given as its hash: a wrong one costs time, but never a row."""
        return self._values.get(question)

    def put(self, question: int, value: int | float | None) -> None:
        """Remember it; None forgets it."""
        with self._lock:
            self._values.pop(question, None)
            if value is not None:
                while len(self._values) >= _KEPT:
                    del self._values[next(iter(self._values))]
                self._values[question] = value
