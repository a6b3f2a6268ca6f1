"""`RowReader`: rows of answers as documents."""

from __future__ import annotations

import functools
import operator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from relay_models.columns.column import Kind
from relay_models.errors import CorruptDocumentError
from relay_models.query.paging.order import Order
from relay_models.query.replies import decode_values

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["RowReader", "row_reader"]

_decode_row = msgspec.json.Decoder(list[Any]).decode


class RowReader:
    """Rows of answers as documents. It holds nothing of them, so all questions about a document type share one."""

    def __init__(self, document: type[Document], bodies: bool) -> None:
        self.document = document
        columns = document.columns()
        self.names = document.row_columns
        self._required = [name for name in self.names if not columns[name].nullable]
        self._pick_required = operator.itemgetter(*(self.names.index(name) for name in self._required), 0)
        self._times = [name for name in columns if name not in self.names and columns[name].kind is Kind.TIME]
        self._time_paths = [f"$.{name}".encode() for name in self._times]
        self._make = document.maker((*self.names, *self._times))
        self.ties = ("run_id", "agent_id") if document.kind == "run" else ("agent_id",)
        self.bodies = bodies
        # By path: a sortable column that is loaded by its name is put into every row that is sorted, not only these.
        self.load = ["@__key", "$.row", *(f"$.{name}" for name in self._times), *(["$.record"] if bodies else [])]

    def document_of(self, row: dict[bytes, Any]) -> Any:
        """The document of a row; `CorruptDocumentError` where it is none of ours, or lacks its record."""
        try:
            found = self._columns(row)
            for path in self._time_paths:
                raw = row.get(path)
                found.append(None if raw is None else int(raw))
            if not self.bodies:
                return self._make(found, None)
            body = row.get(b"$.record")
            if body is None:
                raise ValueError("it has no record text")
            return self._make(found, body.decode())
        except (ValueError, TypeError, AttributeError) as error:
            raise self.corrupt(row, error) from None

    def values(self, row: dict[bytes, Any]) -> dict[str, Any]:
        """Stored values by column name; `CorruptDocumentError` where the row is of no document of ours."""
        try:
            values = dict(zip(self.names, self._columns(row), strict=True))
            for name, path in zip(self._times, self._time_paths, strict=True):
                raw = row.get(path)
                values[name] = None if raw is None else int(raw)
        except ValueError as error:
            raise self.corrupt(row, error) from None
        return values

    def _columns(self, row: dict[bytes, Any]) -> list[Any]:
        """The values of the columns that come from the record, in order."""
        try:
            found = _decode_row(row.get(b"$.row") or b"")
        except msgspec.MsgspecError:
            raise ValueError("its row is no list of columns") from None
        # A later release adds columns at the end, which mean nothing here; an earlier one has fewer.
        width = len(self.names)
        if len(found) != width:
            found = found[:width] + [None] * (width - len(found))
        required = self._pick_required(found)
        if None in required:
            raise ValueError(f"it has no {self._required[required.index(None)]}")
        return found

    def sorted_by(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """By what the server sorted a row that cannot be read, so that the next page begins after it."""
        with suppress(CorruptDocumentError):
            return self.values(row)
        values: dict[str, Any] = {}
        for name in (order.column.name, *self.ties):
            raw = row.get(name.encode())
            if raw is not None:
                values[name] = (
                    float(raw) if name == order.column.name and order.column.ordered else decode_values([raw])[0]
                )
        return values

    @staticmethod
    def corrupt(row: dict[bytes, Any], reason: object) -> CorruptDocumentError:
        """The error for a row, with the key of its document."""
        return CorruptDocumentError(row.get(b"__key", b"?").decode("utf-8", "backslashreplace"), str(reason))


@functools.lru_cache(maxsize=32)
def row_reader(document: type[Document], bodies: bool) -> RowReader:
    """The reader of rows with columns, and with records where there are `bodies`."""
    return RowReader(document, bodies)
