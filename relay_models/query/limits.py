"""`ResultLimit`: the maximum number of rows that a server puts in order for one query."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["LIMIT_COMMANDS", "ResultLimit"]

_REFUSED = re.compile(r"limit exceeds maximum(?: of (\d+))?", re.IGNORECASE)

# What reads the limit: of the search module, and of Redis 8 and of clusters.
LIMIT_COMMANDS = (
    ("FT.CONFIG", "GET", "MAXAGGREGATERESULTS"),
    ("CONFIG", "GET", "search-max-aggregate-results"),
)
# Half of this is tried where a server refuses a query and does not say what it accepts.
_UNKNOWN = 200_000


class ResultLimit:
    """The number of ordered rows that a server gives for one query: unknown until it refuses one.

    Redis Stack as its own script starts it gives 10,000, Redis 8 any number, hosted servers have limits of their own. A
    refusal says the number; where it does not, `LIMIT_COMMANDS` read it. (They are not sent before: few users may.)
    Rows without an order, and groups, are read through cursors, for which there is no limit.

    Args:
        rows: the limit, as far as it is known.
        is_merged: whether the rows are those of several shards, which send the numbers to sort by in twelve digits.
    """

    def __init__(self, rows: int | None = None, *, is_merged: bool = False) -> None:
        self._rows = rows
        self.is_merged = is_merged

    @property
    def rows(self) -> int | None:
        """The limit, as far as it is known."""
        return self._rows

    def clamp(self, rows: int) -> int:
        """`rows`, but not more than the server accepts."""
        return rows if self._rows is None else min(rows, self._rows)

    def read(self, reply: object) -> bool:
        """Take the limit out of a reply to one of `LIMIT_COMMANDS`; False where it says nothing new."""
        numbers = [int(value) for value in _flat(reply) if value.isdigit()]
        return bool(numbers) and self._accept(numbers[0])

    @staticmethod
    def is_refusal(error: Exception) -> bool:
        """Whether an error says that a query asked for too many rows."""
        return _REFUSED.search(str(error)) is not None

    def refused(self, error: Exception) -> bool | None:
        """Whether an error says that a query asked for too many rows; None where it does not say how many it may."""
        match = _REFUSED.search(str(error))
        if match is None:
            return False
        return self._accept(int(match[1])) if match[1] else None

    def halve(self) -> bool:
        """Accept half as many rows; False where it is one already."""
        return self._accept((self._rows or _UNKNOWN) // 2)

    def _accept(self, rows: int) -> bool:
        """Note a limit; False where it was known, so that asking again would change nothing."""
        if rows < 1 or (self._rows is not None and rows >= self._rows):
            return False
        self._rows = rows
        return True


def _flat(reply: object) -> Iterable[bytes]:
    if isinstance(reply, dict):
        reply = list(reply.items())
    if isinstance(reply, list | tuple):
        for item in reply:
            yield from _flat(item)
    elif isinstance(reply, bytes):
        yield reply
    elif reply is not None:
        yield str(reply).encode()
