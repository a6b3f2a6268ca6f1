"""`ResultLimit`: the maximum number of rows that a server puts in order for one query."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["LIMIT_COMMANDS", "ResultLimit"]

_REFUSED = re.compile(r"exceeds maximum of (\d+)", re.IGNORECASE)

# What reads the limit: of the search module, and of Redis 8 and of clusters.
LIMIT_COMMANDS = (
    ("FT.CONFIG", "GET", "MAXAGGREGATERESULTS"),
    ("CONFIG", "GET", "search-max-aggregate-results"),
)


class ResultLimit:
    """The LIMIT that a server accepts: unknown until it is read or a query is refused.

    Redis Stack as its own script starts it accepts 10,000, Redis 8 any number, hosted servers have limits of their
    own. Queries without an order, and groups, are read through cursors, for which there is no limit.
    """

    def __init__(self) -> None:
        self.is_known = False
        self._rows: int | None = None

    def clamp(self, rows: int) -> int:
        """`rows`, but not more than the server accepts."""
        return rows if self._rows is None else min(rows, self._rows)

    def read(self, reply: Any) -> bool:
        """Take the limit out of a reply to one of `LIMIT_COMMANDS`; False where it says nothing."""
        numbers = [value for value in _flat(reply) if value.lstrip(b"-").isdigit()]
        if not numbers and not any(value.lower() == b"unlimited" for value in _flat(reply)):
            return False
        self.is_known = True
        if numbers and int(numbers[0]) > 0:
            self._rows = int(numbers[0])
        return True

    def refused(self, error: Exception) -> bool:
        """Whether an error says that a query asked for too many rows, and how many are accepted is now known."""
        match = _REFUSED.search(str(error))
        if match is None:
            return False
        accepted, known = max(1, int(match[1])), self._rows
        self._rows = accepted if known is None else min(known, accepted)
        self.is_known = True
        return known is None or accepted < known


def _flat(reply: Any) -> Iterable[bytes]:
    if isinstance(reply, dict):
        reply = list(reply.items())
    if isinstance(reply, list | tuple):
        for item in reply:
            yield from _flat(item)
    elif isinstance(reply, bytes):
        yield reply
    elif reply is not None:
        yield str(reply).encode()
