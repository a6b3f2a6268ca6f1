"""`Completion`: the columns, operators and values that can follow in the filter box."""

from __future__ import annotations

import threading
import time
from typing import Any

from relay_models.columns.column import OPERATORS, find_column
from relay_models.columns.kind import Kind
from relay_models.errors import UnknownColumnError
from relay_models.web.recent import recent_filter

__all__ = ["Completion"]

MOST_VALUES = 200
MOST_COUNTED = 20_000
"""Maximum number of the newest documents whose values are counted."""
MAX_AGE = 60.0
"""How long the values of a column are kept (seconds): counting them takes time in a large store."""
_EXAMPLES = {
    Kind.TIME: ["today", "yesterday", "-1h", "-24h", "-7d"],
    Kind.DURATION: ["100ms", "2s", "1m"],
    Kind.COUNT: ["1", "10", "10k"],
    Kind.NUMBER: ["0.01", "1"],
}


class Completion:
    """Answers what can be written, for the page's script.

    Args:
        collection: the documents that the filter is for.
    """

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self._columns = collection.document.columns()
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._lock = threading.Lock()

    def columns(self) -> list[dict[str, Any]]:
        """All columns, with their meaning and their operators."""
        return [
            {
                "name": name,
                "aliases": list(column.aliases),
                "kind": str(column.kind),
                "about": column.about,
                "operators": [
                    text for known in OPERATORS.values() if column.kind in known.kinds for text in known.texts
                ],
            }
            for name, column in self._columns.items()
        ]

    def values(self, name: str) -> list[str]:
        """The most frequent values of a column among the newest documents, or examples of what it takes.

        Raises:
            UnknownColumnError: there is no such column.
        """
        column = find_column(self._columns, name)
        if column is None:
            raise UnknownColumnError(f"there is no column {name!r}; there are {', '.join(self._columns)}")
        if column.choices:
            return list(column.choices)
        if column.kind not in (Kind.TAG, Kind.TAGS) or column.is_uuid:
            return _EXAMPLES.get(column.kind, [])
        with self._lock:
            made, values = self._known.get(column.name, (-MAX_AGE, []))
            if time.monotonic() - made >= MAX_AGE:
                recent = recent_filter(self._collection, MOST_COUNTED, whole=True)
                rows = self._collection.aggregate(
                    by=column.name, filter=recent or None, order_by="-count", limit=MOST_VALUES
                )
                values = [str(row[column.name]) for row in rows if row[column.name] is not None]
                self._known[column.name] = time.monotonic(), values
        return values
