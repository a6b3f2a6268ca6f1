"""`HitFinder`: the documents of one page of FT.SEARCH, in the order of their scores or of a field."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.scoring import scores
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.execute.sorting import compare_rows
from relay_models.embedded.search.index.documents import FieldReader, Value
from relay_models.embedded.search.index.schema import FieldSpec
from relay_models.embedded.search.index.tables import sort_column
from relay_models.embedded.search.syntax.request import Arrangement, QueryRequest

__all__ = ["DEFAULT_LIMIT", "Hit", "HitFinder"]

# Rows of a page where there is no LIMIT.
DEFAULT_LIMIT: Final = 10

Hit: TypeAlias = tuple[int, bytes, float]
"""(docid, key, score)"""


class HitFinder:
    """Finds the documents of a page. The constructor raises `SearchError` where SORTBY names an unknown field."""

    def __init__(
        self, selection: Selection, request: QueryRequest, arrangement: Arrangement, reader: FieldReader
    ) -> None:
        self._selection = selection
        self._request = request
        self._arrangement = arrangement
        self._reader = reader
        self.sort_field = self._sorted_by()
        self.sort_values: dict[int, Value] = {}
        """The sort key of each document from its column, if it is asked for."""

    def find(self, offset: int, limit: int) -> tuple[int, list[Hit]]:
        """The number of all documents, and the hits of the page."""
        return self._sorted(offset, limit) if self.sort_field else self._scored(offset, limit)

    def _sorted_by(self) -> FieldSpec | None:
        if not self._arrangement.sorted:
            return None
        name = self._arrangement.keys[0][0]
        field = self._selection.spec.field(name)
        if field is None:
            raise SearchError(f"Property `{display(name)}` not loaded nor in schema")
        return field

    def _scored(self, offset: int, limit: int) -> tuple[int, list[Hit]]:
        found = scores(self._selection, self._request)
        # Python's sort is stable and the hits come by docid, so equal scores keep that order.
        order = sorted(found, key=lambda hit: -hit[2] if hit[2] == hit[2] else 0.0)
        return len(found), order[offset : offset + limit]

    def _sorted(self, offset: int, limit: int) -> tuple[int, list[Hit]]:
        field = self.sort_field
        assert field is not None
        ascending = self._arrangement.keys[0][1]
        column = sort_column(field)
        if column is not None:
            self._selection.combine(column)
        total = self._selection.count()
        if offset >= total:
            return total, []
        if column is not None:
            sorted_by = [f"d.{column}"] if self._request.with_sort_keys else []
            rows = self.page(column, ascending, ("d.docid", "d.key", "0.0", *sorted_by), offset, limit)
            hits: list[Hit] = [row[:3] for row in rows]
            if sorted_by:
                self.sort_values = {row[0]: row[-1] for row in rows}
        else:
            hits = self._sorted_by_loading(field, ascending)[offset : offset + limit]
        if self._request.with_scores:
            known = {docid: score for docid, _, score in scores(self._selection, self._request)}
            hits = [(docid, key, known[docid]) for docid, key, _ in hits]
        return total, hits

    def page(self, column: str, ascending: bool, wanted: Iterable[str], offset: int, limit: int) -> list[Any]:
        """Columns of the rows of the page, in order."""
        assert self.sort_field is not None
        self._selection.prepare_sort(self.sort_field)
        order = f"d.{column} ASC NULLS LAST, d.docid" if ascending else f"d.{column} DESC, d.docid DESC"
        found = self._selection.rows(", ".join(wanted), f"ORDER BY {order} LIMIT ? OFFSET ?", (limit, offset))
        return found.fetchall()

    def _sorted_by_loading(self, field: FieldSpec, ascending: bool) -> list[Hit]:
        put = self._reader.field(field.name, field.name)
        rows: list[tuple[dict[bytes, Value], Hit]] = []
        for docid, key in self._selection.rows("d.docid, d.key", "ORDER BY d.docid"):
            row: dict[bytes, Value] = {}
            document = self._reader.document(key)
            if document is not None:
                put(key, document, row)
            rows.append((row, (docid, key, 0.0)))
        compare = compare_rows([(field.name, ascending)])

        def order(left: tuple[dict[bytes, Value], Hit], right: tuple[dict[bytes, Value], Hit]) -> int:
            result = compare(left[0], right[0])
            if result:
                return result
            return (left[1][0] - right[1][0]) * (1 if ascending else -1)

        rows.sort(key=functools.cmp_to_key(order))
        return [hit for _, hit in rows]
