"""`Completion`: the columns, operators and values that can follow in the filter box."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from relay_models._checks import shown
from relay_models.columns.column import OPERATORS, find_column
from relay_models.columns.kind import Kind
from relay_models.columns.scores import ScoreColumn, ScoreColumns
from relay_models.errors import UnknownColumnError
from relay_models.web.recent import recent_filter

__all__ = ["Completion"]

MOST_VALUES = 200
MOST_COUNTED = 20_000
"""Maximum number of the newest documents whose values are counted."""
MOST_SCORED = 200
"""Maximum number of the newest documents whose scores are read."""
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
        self._known: dict[str, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def columns(self) -> list[dict[str, Any]]:
        """All columns, with their meaning and their operators; among them the scores of the newest documents."""
        found = [_described(name, column) for name, column in self._columns.items()]
        for column in self._scores:
            found += [_described(member.name, member) for member, _ in self._score_values(column)]
        return found

    def values(self, name: str) -> list[str]:
        """The most frequent values of a column among the newest documents, or examples of what it takes.

        Raises:
            UnknownColumnError: there is no such column.
        """
        column = find_column(self._columns, name)
        if column is None:
            known = ", ".join(self._columns)
            raise UnknownColumnError(f"there is no column {shown(name)}; there are {known}", name, self._columns)
        if isinstance(column, ScoreColumn):
            return next((values for each, values in self._score_values(column.family) if each.key == column.key), [])
        if column.choices or column.type.members:
            return list(column.choices or column.type.members)
        if column.kind not in (Kind.TAG, Kind.TAGS) or column.is_uuid:
            return _EXAMPLES.get(column.kind, [])
        counted: list[str] = self._kept(column.name, lambda: self._count(column))
        return counted

    @property
    def _scores(self) -> list[ScoreColumns]:
        return [column for column in self._columns.values() if isinstance(column, ScoreColumns)]

    def _count(self, column: Any) -> list[str]:
        recent = recent_filter(self._collection, MOST_COUNTED, whole=True)
        rows = self._collection.aggregate(
            by=column.name, filter=recent or None, order_by="-count", limit=MOST_VALUES
        )  # fmt: skip
        return [str(row[column.name]) for row in rows if row[column.name] is not None]

    def _score_values(self, column: ScoreColumns) -> list[tuple[ScoreColumn, list[str]]]:
        """The scores that the newest documents have, each with its least, middle and greatest value."""

        def read() -> list[tuple[ScoreColumn, list[str]]]:
            found: dict[str, set[float]] = {}
            page = self._collection.find(column.present(), limit=MOST_SCORED, columns=True, on_corrupt="skip")
            for item in page:
                for name, value in (getattr(item, column.name) or {}).items():
                    found.setdefault(name, set()).add(value)
            return [(column[name], _spread(sorted(found[name]))) for name in sorted(found)[:MOST_VALUES]]

        values: list[tuple[ScoreColumn, list[str]]] = self._kept(column.name, read)
        return values

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            made, value = self._known.get(name, (-MAX_AGE, None))
            if time.monotonic() - made >= MAX_AGE:
                value = make()
                self._known[name] = time.monotonic(), value
        return value


def _described(name: str, column: Any) -> dict[str, Any]:
    operators = [text for known in OPERATORS.values() if column.kind in known.kinds for text in known.texts]
    return {
        "name": name, "aliases": list(column.aliases), "kind": str(column.kind), "about": column.about,
        "operators": operators,
    }  # fmt: skip


def _spread(values: list[float]) -> list[str]:
    """The least, the middle and the greatest of sorted numbers."""
    chosen = (values[0], values[len(values) // 2], values[-1])
    return [f"{value:g}" for value in dict.fromkeys(chosen)]
