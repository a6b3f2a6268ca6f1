"""`RowReader`: decodes the rows of answers into documents; `RecordReader` into their records alone."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import msgspec

from relay_models.columns.column import Kind
from relay_models.columns.info import SORT_REST
from relay_models.columns.tags import unescape_tag
from relay_models.columns.types import rounded
from relay_models.documents.compression import PackedText, UnknownDictionaryError, is_packed
from relay_models.documents.item_codec import codec_of
from relay_models.documents.labels import Labels
from relay_models.errors import CorruptDocumentError, MissingDictionaryError
from relay_models.query.order import Order
from relay_models.query.replies import decode_values

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["DocumentReader", "ItemReader", "KeyReader", "RecordReader", "RowReader", "corrupt_document", "row_reader"]

D = TypeVar("D", bound="Document")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

LABEL_VALUES = ("labels_json", "tags", "notes", "scores")
"""What of a document comes from its labels."""

_decode_row = msgspec.json.Decoder(list[Any]).decode
_decode_own = msgspec.json.Decoder(dict[str, Any]).decode


class RowReader(Protocol[T_co]):
    """Decodes rows into objects of one type.

    Attributes:
        ties: the columns that order rows with the same sort value.
        may_be_compressed: records of these rows can be compressed.
    """

    ties: tuple[str, ...]
    may_be_compressed: bool

    def load_for(self, order: Order, /) -> list[str]:
        """The arguments of LOAD for rows in an order."""

    def decode(self, row: dict[bytes, Any], /) -> T_co:
        """Decode a row; `CorruptDocumentError` where it is none of ours."""

    def sort_values(self, row: dict[bytes, Any], order: Order, /) -> dict[str, Any]:
        """The values that order a row, by column name; `CorruptDocumentError` where the row has none."""

    def sorted_by(self, row: dict[bytes, Any], order: Order, /) -> dict[str, Any]:
        """The values by which the server sorted a row that cannot be read, as far as they are known."""


class DocumentReader(Generic[D]):
    """Decodes rows into documents. It holds nothing of them, so all queries for a document type share one."""

    may_be_compressed = True

    def __init__(self, document: type[D], bodies: bool) -> None:
        self.document = document
        columns = document.columns()
        self._is_model = document.is_own_model()
        self._width = len(document.row_columns)
        self._own = [columns[name].own_name for name in document.own_columns]
        self.bodies = bodies
        self.names = (*(["pk"] if self._is_model else document.row_columns), *document.own_columns)
        self._required = [name for name in self.names if not columns[name].nullable]
        self._pick_required = operator.itemgetter(*(self.names.index(name) for name in self._required), 0)
        self._times = [name for name in columns if name not in self.names and columns[name].kind is Kind.TIME]
        self._time_paths = [f"$.{name}".encode() for name in self._times]
        self.labelled = document.has_labels
        self._make = document.maker((*self.names, *self._times, *(LABEL_VALUES if self.labelled else ())))
        self.ties: tuple[str, ...] = ("run_id", "agent_id") if document._kind == "run" else ("agent_id",)
        if self._is_model:
            self.ties = ("pk",)
        # By path: a sortable column that is loaded by its name is put into every row that is sorted, not only these.
        self.load = [
            "@__key",
            *(["$.pk"] if self._is_model else ["$.row"]),
            *(["$.own_row"] if self._own else []),
            *(f"$.{name}" for name in self._times),
            *(["$.labels"] if self.labelled else []),
            *(["$.record"] if bodies else []),
        ]

    def decode(self, row: dict[bytes, Any]) -> D:
        """Decode a row; `CorruptDocumentError` where it is none of ours, or lacks its record."""
        try:
            found = self._columns(row)
            for path in self._time_paths:
                raw = row.get(path)
                found.append(None if raw is None else int(raw))
            if self.labelled:
                found += _label_values(row.get(b"$.labels"))
            if not self.bodies:
                return cast(D, self._make(found, None))
            return cast(D, self._make(found, _record_text(row).decode()))
        except (ValueError, TypeError, AttributeError) as error:
            raise _corrupt(row, error) from None

    def values(self, row: dict[bytes, Any]) -> dict[str, Any]:
        """Stored values by column name; `CorruptDocumentError` where the row is of no document of ours."""
        try:
            values = dict(zip(self.names, self._columns(row), strict=True))
            for name, path in zip(self._times, self._time_paths, strict=True):
                raw = row.get(path)
                values[name] = None if raw is None else int(raw)
            if self.labelled:
                values.update(zip(LABEL_VALUES, _label_values(row.get(b"$.labels")), strict=True))
        except ValueError as error:
            raise _corrupt(row, error) from None
        return values

    def _columns(self, row: dict[bytes, Any]) -> list[Any]:
        """The values of the columns that come from the record, in order."""
        if self._is_model:
            found: list[Any] = [_pk(row, b"$.pk")]
        else:
            try:
                found = _decode_row(row.get(b"$.row") or b"")
            except msgspec.MsgspecError:
                raise ValueError("its row is no list of columns") from None
            # A later release adds columns at the end, which mean nothing here; an earlier one has fewer.
            width = self._width
            if len(found) != width:
                found = found[:width] + [None] * (width - len(found))
        if self._own:
            own = _own_values(row)
            found += [own.get(name) for name in self._own]
        required = self._pick_required(found)
        if None in required:
            raise ValueError(f"it has no {self._required[required.index(None)]}")
        return found

    def load_for(self, order: Order) -> list[str]:
        """The arguments of LOAD."""
        return self.load

    def sort_values(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """The stored values by column name; `CorruptDocumentError` where the row is of no document of ours."""
        return self.values(row)

    def sorted_by(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """The values by which the server sorted a row that cannot be read."""
        with suppress(CorruptDocumentError):
            return self.values(row)
        return _sorted_by(row, order, self.ties)


class ItemReader(Generic[D]):
    """Decodes rows into items of an own model, which are made of their records."""

    may_be_compressed = False

    def __init__(self, document: type[D]) -> None:
        self.document = document
        self.ties: tuple[str, ...] = ("pk",)
        self._codec = codec_of(document)
        self._load = ["@__key", "@pk", "$.stored_at", "$.updated_at", "$.record"]

    def load_for(self, order: Order) -> list[str]:
        """The arguments of LOAD: for the sort value of an own column, what has all its digits, too."""
        return [*self._load, "$.own_row"] if order.column.own else self._load

    def decode(self, row: dict[bytes, Any]) -> D:
        """Decode a row; `CorruptDocumentError` where it is none of ours, or lacks its record."""
        try:
            stored, updated = row.get(b"$.stored_at"), row.get(b"$.updated_at")
            item = self._codec.decode(
                _pk(row, b"pk"),
                _record_text(row).decode(),
                None if stored is None else int(stored),
                None if updated is None else int(updated),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise _corrupt(row, error) from None
        return cast(D, item)

    def sort_values(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """The id and the stored value that order a row; `CorruptDocumentError` where it has none."""
        column, name = order.column, order.column.name
        try:
            values: dict[str, Any] = {"pk": _pk(row, b"pk")}
            if column.own:
                values[name] = _own_values(row).get(column.own_name)
            elif name not in values:
                raw = row.get(f"$.{name}".encode())
                values[name] = None if raw is None else int(raw)
            if values[name] is None and not column.nullable:
                raise ValueError(f"it has no {name}")
        except ValueError as error:
            raise _corrupt(row, error) from None
        return values

    def sorted_by(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """The values by which the server sorted a row that cannot be read."""
        return _sorted_by(row, order, self.ties)


class RecordReader(Generic[T]):
    """Decodes rows into records, without their columns.

    Args:
        parse: reads a record's text; ValueError where it is none.
    """

    may_be_compressed = True

    def __init__(self, parse: Callable[[bytes], T]) -> None:
        self._load = ["@__key", "$.record"]
        self.ties: tuple[str, ...] = ("run_id", "agent_id")
        self._parse = parse

    def load_for(self, order: Order) -> list[str]:
        """The arguments of LOAD."""
        return self._load

    def decode(self, row: dict[bytes, Any]) -> T:
        """Decode a row; `CorruptDocumentError` where it has no record that can be read."""
        try:
            return self._parse(_record_text(row))
        except ValueError as error:
            raise _corrupt(row, error) from None

    def sort_values(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """The values by which the server sorted the row."""
        return _sort_values(row, order, self.ties)

    def sorted_by(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """The values by which the server sorted a row that cannot be read."""
        return _sorted_by(row, order, self.ties)


class KeyReader:
    """Decodes rows into the keys of their documents."""

    may_be_compressed = False

    def __init__(self) -> None:
        self.ties: tuple[str, ...] = ("run_id", "agent_id")

    def load_for(self, order: Order) -> list[str]:
        """The arguments of LOAD."""
        return ["@__key"]

    def decode(self, row: dict[bytes, Any]) -> bytes:
        """The key."""
        return cast(bytes, row[b"__key"])

    def sort_values(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """The values by which the server sorted the row."""
        return _sort_values(row, order, self.ties)

    def sorted_by(self, row: dict[bytes, Any], order: Order) -> dict[str, Any]:
        """The values by which the server sorted a row that cannot be read."""
        return _sorted_by(row, order, self.ties)


def _pk(row: dict[bytes, Any], name: bytes) -> str:
    """The id of an own model's document; ValueError where the row has none."""
    raw = row.get(name)
    if raw is None:
        raise ValueError("it has no pk")
    return unescape_tag(raw.decode())


def _own_values(row: dict[bytes, Any]) -> dict[str, Any]:
    """The values of the columns that a user declared; ValueError where the row has something else there."""
    try:
        return _decode_own(row.get(b"$.own_row") or b"{}")
    except msgspec.MsgspecError:
        raise ValueError("its own_row is no object of columns") from None


def _label_values(text: bytes | None) -> list[Any]:
    """The values of `LABEL_VALUES`; ValueError where the text is none of ours."""
    if text is None:
        return [None] * len(LABEL_VALUES)
    values = Labels.parse(text).column_values()
    return [text.decode(), *(values[name] for name in LABEL_VALUES[1:])]


def _sort_values(row: dict[bytes, Any], order: Order, ties: tuple[str, ...]) -> dict[str, Any]:
    values = _sorted_by(row, order, ties)
    for name in (order.column.name, *ties):
        if name not in values:
            raise _corrupt(row, f"it has no {name}")
    return values


def _sorted_by(row: dict[bytes, Any], order: Order, ties: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    column = order.column
    for name, sort_name in ((column.name, column.sort_name), *zip(ties, ties, strict=True)):
        raw = row.get(sort_name.encode())
        if raw is not None:
            is_number = name == column.name and column.ordered
            values[name] = _number(raw) if is_number else decode_values([raw])[0]
    rest = row.get(SORT_REST.encode())
    if rest is not None and column.ordered and column.name in values:
        values[column.name] = rounded(values[column.name] + float(rest))
    return values


def _number(raw: bytes) -> int | float:
    try:
        return int(raw)
    except ValueError:
        return float(raw)


def _record_text(row: dict[bytes, Any]) -> bytes:
    """The text of a row's record; ValueError where it has none that can be read."""
    body: bytes | None = row.get(b"$.record")
    if body is None:
        raise ValueError("it has no record text")
    if is_packed(body):
        raise body.error if isinstance(body, PackedText) else ValueError("its record is compressed")
    return body


def corrupt_document(key: bytes, reason: object) -> CorruptDocumentError:
    """The error that names a document that cannot be read."""
    name = key.decode("utf-8", "backslashreplace")
    if isinstance(reason, UnknownDictionaryError):
        return MissingDictionaryError(name, str(reason), reason.dictionary)
    return CorruptDocumentError(name, str(reason))


def _corrupt(row: dict[bytes, Any], reason: object) -> CorruptDocumentError:
    return corrupt_document(row.get(b"__key", b"?"), reason)


@functools.lru_cache(maxsize=64)
def _shared_reader(document: type[Any], bodies: bool) -> RowReader[Any]:
    return ItemReader(document) if document.is_own_model() else DocumentReader(document, bodies)


def row_reader(document: type[D], bodies: bool) -> RowReader[D]:
    """The reader of rows with columns, and with records where there are `bodies`."""
    return _shared_reader(document, bodies)
