"""`Table`: turn records, `Run` documents and aggregate rows into table rows, as dicts of Python values."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Real
from typing import TYPE_CHECKING, Any
from uuid import UUID

from relay_models._checks import check_choice
from relay_models.columns.column import Kind
from relay_models.columns.info import ColumnInfo
from relay_models.documents import Document, Run, record_of
from relay_models.errors import InvalidConfigurationError, InvalidRecordError
from relay_models.export.columns import (
    CALL_COLUMNS,
    TableColumn,
    TableRows,
    document_columns,
    python_type,
    score_column,
    select_columns,
)
from relay_models.query.aggregate.groups import AggregateRow, AggregateRows
from relay_models.records import RunRecord

if TYPE_CHECKING:
    from relay_models.records import CallRecord, Record, Timestamp

__all__ = ["RowsOf", "Table", "is_aggregate", "table_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Table(ABC):
    """The columns of a table, and how its rows come from the items it is made of.

    Args:
        columns: The columns, in order.
    """

    def __init__(self, columns: tuple[TableColumn, ...]) -> None:
        self.columns = columns
        self.names = tuple(column.name for column in columns)

    @abstractmethod
    def rows(self, item: Any) -> Iterator[dict[str, Any]]:
        """Yield the rows of one item. They have at least the table's columns.

        Raises:
            InvalidConfigurationError: The table is not made of such items, or the item lacks the record it needs.
        """


class _RunTable(Table):
    """One row per run.

    Args:
        columns: The columns, in order.
        document: The class of the runs.
    """

    def __init__(self, columns: tuple[TableColumn, ...], document: type[Run]) -> None:
        super().__init__(columns)
        self._document = document
        self._columns = document.columns()
        self._own = frozenset(document.own_columns)

    def rows(self, item: Any) -> Iterator[dict[str, Any]]:
        if isinstance(item, RunRecord):
            stored = self._document.column_values(item)
            yield {
                name: _value(self._columns[name], stored.get(name)) if name in self._columns else None
                for name in self.names
            }
        elif isinstance(item, Run):
            row = {name: _run_value(item, name) for name in self.names}
            if self._own:
                row |= _own_values(item, self._own & row.keys())
            yield row
        else:
            raise InvalidConfigurationError(f"expected a RunRecord or a Run, not {type(item).__name__}")


class _ItemTable(Table):
    """One row per document of an own model: its columns, not its other fields."""

    def rows(self, item: Any) -> Iterator[dict[str, Any]]:
        if not isinstance(item, Document):
            raise InvalidConfigurationError(f"expected a document, not {type(item).__name__}")
        row = {name: _read(item, name) for name in self.names}
        yield row | _own_values(item, row.keys() & set(item.own_columns))


class RowsOf:
    """Documents with their class, for an iterator that does not tell it.

    Args:
        document: The class of the documents.
        items: The documents.
    """

    def __init__(self, document: type[Document], items: Iterable[Any]) -> None:
        self.document = document
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


class _CallTable(Table):
    """One row per call."""

    def rows(self, item: Any) -> Iterator[dict[str, Any]]:
        record = record_of(item)
        wanted = frozenset(self.names)
        for index, call in enumerate(record.calls, 1):
            yield _call(record, call, index, wanted)


class _AggregateTable(Table):
    """One row per row of an aggregate; instants in UTC."""

    def rows(self, item: Any) -> Iterator[dict[str, Any]]:
        if not isinstance(item, AggregateRow):
            raise InvalidConfigurationError(f"expected a row of an aggregate, not {type(item).__name__}")
        yield {name: _plain(item[name]) for name in self.names}


def table_of(source: Any, rows: TableRows, columns: Sequence[str] | None) -> Table:
    """Choose the table for what is to be exported.

    Args:
        source: An iterable of runs, or the rows of `aggregate_runs`.
        rows: ``runs`` or ``calls``, for runs.
        columns: The columns to write; None for the default ones.

    Raises:
        InvalidConfigurationError: `rows` is neither, does not apply to aggregates, or `columns` is no list of names.
        UnknownColumnError: The table has no such column.
    """
    check_choice("rows", rows, ("runs", "calls"))
    kinds = _aggregate_kinds(source)
    if kinds is not None:
        if rows == "calls":
            raise InvalidConfigurationError("an aggregate has no calls; leave `rows` out")
        columns_of = getattr(source, "columns", {})
        known = [
            TableColumn(
                name,
                kind,
                "",
                signed=kind is Kind.COUNT and any((_plain(row[name]) or 0) < 0 for row in source),
                python=python_type(columns_of[name]) if name in columns_of else None,
            )
            for name, kind in kinds.items()
        ]
        return _AggregateTable(select_columns(known, columns, "these aggregates"))
    if rows == "calls":
        return _CallTable(select_columns(CALL_COLUMNS, columns, rows))
    document = _document_of(source)
    if document.is_own_model():
        return _ItemTable(select_columns(document_columns(document), columns, document.__name__))
    assert issubclass(document, Run)
    return _RunTable(select_columns(document_columns(document), columns, rows), document)


def _document_of(source: Any) -> type[Document]:
    """The class of what is to be exported: as the source tells it, or as its first item does."""
    told = getattr(source, "document", None)
    if told is None and isinstance(source, Sequence) and not isinstance(source, str) and source:
        told = type(source[0])
    if isinstance(told, type) and issubclass(told, Document) and (issubclass(told, Run) or told.is_own_model()):
        return told
    return Run


def _own_values(item: Document, names: Iterable[str]) -> dict[str, Any]:
    """Values of columns that a user declared as tables hold them: an enum's value, a UUID as text."""
    stored, columns = item.stored_values(), item.columns()
    return {name: _value(columns[name], stored[name]) for name in names}


def is_aggregate(source: Any) -> bool:
    """Whether these are rows of an aggregate."""
    return _aggregate_kinds(source) is not None


def _aggregate_kinds(source: Any) -> Mapping[str, Kind] | None:
    """The columns of an aggregate; None where `source` is something else."""
    if isinstance(source, AggregateRows):
        return source.kinds
    if not isinstance(source, Sequence) or not source or not all(isinstance(row, AggregateRow) for row in source):
        return None
    names = dict.fromkeys(name for row in source for name in row)
    return {name: _guessed_kind([row.get(name) for row in source]) for name in names}


def _run_value(run: Run, name: str) -> Any:
    score = score_column(name)
    return _read(run, name) if score is None else score.read({score.stored_in: run.scores})


def _read(item: Document, name: str) -> Any:
    value = getattr(item, name, None)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _guessed_kind(values: Sequence[Any]) -> Kind:
    known = [value for value in values if value is not None]
    for type_, kind in ((datetime, Kind.TIME), (timedelta, Kind.DURATION), (int, Kind.COUNT), (Real, Kind.NUMBER)):
        if known and all(isinstance(value, type_) for value in known):
            return Kind.NUMBER if kind is Kind.COUNT and min(known) < 0 else kind
    return Kind.TAG


def _plain(value: Any) -> Any:
    """A value of an aggregate as tables hold it: instants in UTC, decimals as floats, enums and UUIDs as texts."""
    match value:
        case datetime():
            return value.astimezone(UTC)
        case Decimal():
            return float(value)
        case Enum():
            return value.value
        case UUID():
            return str(value)
        case _:
            return value


def _value(column: ColumnInfo, stored: Any) -> Any:
    if column.type.python in (bool, date) and column.type.load is not None and stored is not None:
        return column.type.load(stored)
    match column.kind:
        case Kind.TAGS:
            return [] if stored is None else list(stored)
        case Kind.SCORES:
            return json.dumps(stored or {}, ensure_ascii=False)
        case Kind.TIME if stored is not None:
            return _moment(stored)
        case Kind.DURATION if stored is not None:
            return timedelta(microseconds=stored)
        case Kind.NUMBER if stored is not None:
            return float(stored)
        case _:
            return stored


def _call(record: RunRecord, call: CallRecord, index: int, wanted: frozenset[str]) -> dict[str, Any]:
    response = call.annotated_response
    usage = None if response is None else response.usage
    cost = None if usage is None else usage.cost
    return {
        "agent_id": record.agent_id,
        "run_id": str(record.id),
        "call": index,
        "kind": str(call.kind),
        "name": call.name,
        "started_at": _instant(call.started_at),
        "ended_at": None if call.ended_at is None else _instant(call.ended_at),
        "duration": call.duration,
        "model": call.model_name,
        "finish_reason": None if response is None else response.finish_reason_text,
        "prompt_tokens": call.prompt_tokens,
        "output_tokens": call.output_tokens,
        "total_tokens": call.total_tokens,
        "cache_read_tokens": None if usage is None else usage.cache_read_tokens,
        "tool_call_count": call.tool_call_count,
        "cost": None if cost is None else cost.amount,
        "request": _text(call.annotated_request) if "request" in wanted else None,
        "response": _text(call.annotated_response) if "response" in wanted else None,
    }


def _text(part: Record | None) -> str | None:
    """A request or response as JSON."""
    return None if part is None else part.model_dump_json()


def _instant(timestamp: Timestamp) -> datetime:
    return _moment(timestamp.microseconds)


def _moment(microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise InvalidRecordError("a time is outside of the years 1 to 9999 in UTC", path="started_at") from None
