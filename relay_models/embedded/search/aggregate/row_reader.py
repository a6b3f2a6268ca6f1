"""`RowReader`: the rows that FT.AGGREGATE begins with, read from an index's columns and from its documents."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from relay_models.embedded.search.aggregate.properties import Properties, Put
from relay_models.embedded.search.aggregate.stages import Row, Stage, Total
from relay_models.embedded.search.execute.planner import ALL
from relay_models.embedded.search.execute.scoring import scores
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.index.documents import FieldReader
from relay_models.embedded.search.index.schema import FieldSpec
from relay_models.embedded.search.index.tables import sort_column
from relay_models.embedded.search.syntax.request import QueryRequest

__all__ = ["CHUNK", "RowReader", "SqlOrder"]

# Rows read with one SQL statement.
CHUNK: Final = 1000

# Maximum number of documents that are found again, and sorted, for each of their chunks.
FEW: Final = 10_000


@dataclass(frozen=True, slots=True)
class SqlOrder:
    """A SORTBY that SQL carries out, so that only the documents of the first rows are read."""

    keys: list[tuple[FieldSpec, bool]]
    """(field, ascending)"""
    most: int
    """How many rows are probably asked for; of a cursor, how many there are at most."""
    of_cursor: bool
    """Whether a cursor reads the rows, each when it is asked for."""

    def sql(self, keys: int | None = None) -> str:
        """The ORDER BY of all keys, or of the first ones."""
        used = self.keys[:keys]
        order = [f"d.{sort_column(field)} {'ASC NULLS LAST' if up else 'DESC'}" for field, up in used]
        order.append("d.docid" if used[-1][1] else "d.docid DESC")
        return f"ORDER BY {', '.join(order)}"


class RowReader:
    """Reads the rows of one aggregation, counting them in `total`."""

    def __init__(
        self, selection: Selection, request: QueryRequest, reader: FieldReader, properties: Properties, total: Total
    ) -> None:
        self.selection = selection
        self.reader = reader
        self.properties = properties
        self._request = request
        self._total = total

    def by_document(self) -> Iterator[Row]:
        """The rows in the order of the documents' numbers."""
        selection = self.selection
        if selection.empty:
            return
        scored: dict[int, float] | None = None
        if self._request.add_scores:
            scored = {docid: score for docid, _, score in scores(selection, self._request)}
        last = -1
        # Left to itself SQLite goes through all documents for any condition, since these are in order. With the plus it
        # finds the documents by an index, and sorts them.
        number = "+d.docid" if selection.finds_few(FEW) else "d.docid"
        after = f"{number} > ?"
        selection.condition = after if selection.condition == ALL else f"({selection.condition}) AND {after}"
        while True:
            # In chunks, so that a cursor that is read on later does not keep a statement open.
            chunk = self._chunk(f"ORDER BY {number} LIMIT ?", last, CHUNK)
            for docid, key, row in chunk:
                if scored is not None:
                    row[b"__score"] = scored[docid]
                if self.complete(key, row):
                    self._total.number += 1
                    yield row
            if len(chunk) < CHUNK:
                return
            last = chunk[-1][0]

    def in_order(self, order: SqlOrder) -> Iterator[Row]:
        """The rows in an order, read as far as they are asked for."""
        if self.selection.empty:
            return
        tail = f"{self.prepare_order(order)} LIMIT ? OFFSET ?"
        size, offset = min(order.most, 100), 0
        while True:
            chunk = self._chunk(tail, size, offset)
            for _, key, row in chunk:
                if self.complete(key, row):
                    yield row
                else:
                    self._total.number -= 1
            if len(chunk) < size:
                return
            # Growing, since each chunk passes over those before it.
            size, offset = size * 4, offset + size

    def for_cursor(self, order: SqlOrder, stages: Sequence[Stage]) -> Iterator[Row | None]:
        """The first rows in the order as it is now, of which only the documents' numbers are held.

        Each is read when it is asked for: None where it was replaced or deleted since. Where there are stages (FILTER),
        the rows go through them then, so the numbers of all rows are held.
        """
        if self.selection.empty:
            return
        tail = f"{self.prepare_order(order)} LIMIT {-1 if stages else order.most}"
        docids = array("q", (docid for (docid,) in self.selection.rows("d.docid", tail)))
        given = 0
        read: dict[int, tuple[bytes, Row]] = {}
        connection = self.selection.connection
        end, changes = 0, -1
        for position, docid in enumerate(docids):
            if position == end or changes != connection.total_changes:
                end, changes = position + CHUNK, connection.total_changes
                read = {number: (key, row) for number, key, row in self._numbered(docids[position:end].tolist())}
            key, row = read.get(docid, (b"", None))
            if row is not None and not self.complete(key, row):
                row = None
            rows: Iterator[Row | None] = iter((row,))
            for stage in stages if row is not None else ():
                rows = stage.run(rows)
            for passed in rows:
                yield passed
                given += 1
                if given == order.most:
                    return

    def prepare_order(self, order: SqlOrder) -> str:
        """Create what sorting needs, set the total, and return the ORDER BY."""
        field = order.keys[0][0]
        column = sort_column(field)
        assert column is not None
        self.selection.combine(column)
        # WITHOUTCOUNT: only the rows given are counted.
        self._total.number = 0 if self._request.with_count is False else self.selection.count()
        self.selection.prepare_sort(field)
        return order.sql()

    def _chunk(self, tail: str, *arguments: int) -> list[tuple[int, bytes, Row]]:
        """Number, key and columns of rows, all read at once so that no statement stays open."""
        return self._read(self.selection.rows(self._selected(), tail, arguments))

    def _numbered(self, docids: list[int]) -> list[tuple[int, bytes, Row]]:
        """The same of the documents that have these numbers."""
        table = self.selection.tables.docs
        sql = f"SELECT {self._selected()} FROM {table} d WHERE d.docid IN (SELECT value FROM json_each(?))"
        return self._read(self.selection.connection.execute(sql, (json.dumps(docids),)))

    def _selected(self) -> str:
        return "d.docid, d.key" + "".join(f", d.{column}" for column in self.properties.columns.values())

    def _read(self, found: sqlite3.Cursor) -> list[tuple[int, bytes, Row]]:
        names = list(self.properties.columns)
        return [
            (
                docid,
                key,
                {name: value for name, value in zip(names, values, strict=True) if value is not None}
                if None in values
                else dict(zip(names, values, strict=True)),
            )
            for docid, key, *values in found
        ]

    def complete(self, key: bytes, row: Row) -> bool:
        """Add to a row what only the document has. Returns False where that was deleted."""
        doubts = self._doubts(row) if self.properties.doubtful else ()
        if self.properties.puts or doubts:
            document = self.reader.document(key)
            if document is None:
                return False
            for _, put in self.properties.puts:
                put(key, document, row)
            for put in doubts:
                put(key, document, row)
        return True

    def _doubts(self, row: Row) -> list[Put]:
        """What is to be read from the document because its column does not say."""
        found = []
        for name, (null_is_missing, put) in self.properties.doubtful.items():
            value = row.get(name)
            if value is None:
                if not null_is_missing:
                    found.append(put)
            elif value in (b"true", b"false"):
                found.append(put)
        return found
