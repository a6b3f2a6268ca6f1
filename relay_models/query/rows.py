"""`RowReader`: rows of answers as documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from relay_models.errors import CorruptDocumentError

from .columns import Kind
from .places import Order
from .replies import decode_values

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["RowReader"]


class RowReader:
    """Rows of answers as documents."""

    def __init__(self, document: type[Document], bodies: bool) -> None:
        self.document = document
        columns = document.columns()
        self.names = document.row_columns
        self.required = [(index, name) for index, name in enumerate(self.names) if not columns[name].nullable]
        times = [name for name in columns if name not in self.names and columns[name].kind is Kind.TIME]
        self.times = [(name, f"$.{name}".encode()) for name in times]
        self.ties = ("run_id", "agent_id") if document.kind == "run" else ("agent_id",)
        self.bodies = bodies
        # By path: a sortable column that is loaded by its name is put into every row that is sorted, not only these.
        self.load = ["@__key", "$.row", *(f"$.{name}" for name in times), *(["$.record"] if bodies else [])]

    def values(self, row: dict[bytes, Any]) -> dict[str, Any]:
        """Stored values by column name; `CorruptDocumentError` where the row is of no document of ours."""
        try:
            found = from_json(row.get(b"$.row") or b"")
            names = self.names
            if type(found) is not list or len(found) > len(names):
                raise ValueError("its row is no list of columns")
            if len(found) < len(names):
                found.extend([None] * (len(names) - len(found)))
            for index, name in self.required:
                if found[index] is None:
                    raise ValueError(f"it has no {name}")
            values = dict(zip(names, found, strict=True))
            for name, path in self.times:
                raw = row.get(path)
                values[name] = None if raw is None else int(raw)
        except ValueError as error:
            raise self.corrupt(row, error) from None
        return values

    def sorted_by(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """By what the server sorted a row that cannot be read, so that the next page begins after it."""
        values: dict[str, Any] = {}
        for name in (order.column.name, *self.ties):
            raw = row.get(name.encode())
            if raw is not None:
                values[name] = (
                    float(raw) if name == order.column.name and order.column.ordered else decode_values([raw])[0]
                )
        return values

    def read(self, row: dict[bytes, Any], values: dict[str, Any]) -> Any:
        """The document of a row and its values."""
        body = row.get(b"$.record")
        if self.bodies and body is None:
            raise self.corrupt(row, "it has no record text")
        try:
            return self.document.from_stored(values, None if body is None else body.decode())
        except (ValueError, TypeError, AttributeError) as error:
            raise self.corrupt(row, error) from None

    @staticmethod
    def corrupt(row: dict[bytes, Any], reason: object) -> CorruptDocumentError:
        """The error for a row, with the key of its document."""
        return CorruptDocumentError(row.get(b"__key", b"?").decode("utf-8", "backslashreplace"), str(reason))
