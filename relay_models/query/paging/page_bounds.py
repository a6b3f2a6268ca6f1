"""`Landmarks`: how far the first pages of questions reached, so that the next time nothing beyond is looked at."""

from __future__ import annotations

import threading

__all__ = ["Landmarks"]

_KEPT = 512
# From so many milliseconds on, putting everything that matches in order is worth avoiding by a guess.
_SLOW_MS = 3.0
# So many pages of a question that was answered are looked through for another one.
_PAGES = 16


class Landmarks:
    """Of each question the value that the last row of its first page is sorted by, from the last time it was asked.

    A server puts all documents that match in order to give the first fifty. Asked only for those up to the landmark, it
    looks at little more than these; and if they are still enough, they are the first ones, whatever has been written
    since. If they are not, the question is asked in full. Where that took long the last time, a question without a
    landmark is given a guess: some pages of what another question found in the same order.

    (``WITHOUTCOUNT`` asks a server to find such a place by itself. But RediSearch 8.0.2 then gives wrong rows for some
    filters, and 2.10.5 has crashed.)

    Questions and orders are given as hashes: a wrong landmark costs time, but never a row. Safe to use from many
    threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[int, float] = {}
        self._guesses: dict[int, float] = {}
        self._slow = False

    def get(self, question: int, order: int) -> float | None:
        """Where to look first, if anything is known."""
        value = self._values.get(question)
        if value is None and self._slow:
            value = self._guesses.get(order)
        return value

    def put(self, question: int, order: int, first: float, last: float) -> None:
        """Remember by what the first and the last row of a page are sorted."""
        with self._lock:
            for known, key, value in (
                (self._values, question, last),
                (self._guesses, order, last + (last - first) * _PAGES),
            ):
                known.pop(key, None)
                known[key] = value
                if len(known) > _KEPT:
                    del known[next(iter(known))]

    def forget(self, question: int) -> None:
        """There is no full page any more."""
        with self._lock:
            self._values.pop(question, None)

    def took(self, milliseconds: float) -> None:
        """So long it took to answer a question in full."""
        self._slow = milliseconds >= _SLOW_MS
