"""`row_steps`: an aggregate computed here, from the columns of every row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from relay_models.columns.column import Column, Kind
from relay_models.columns.expressions import Expression
from relay_models.errors import CorruptDocumentError, CorruptDocumentsError
from relay_models.query.aggregate.groups import Groups
from relay_models.query.aggregate.request import Aggregation
from relay_models.query.aggregate.server_groups import VALUE_READERS, InexactError
from relay_models.query.compiler import CompiledFilter
from relay_models.query.limits import ResultLimit
from relay_models.query.options import OnCorrupt, OnIncomplete
from relay_models.query.order import Order
from relay_models.query.paging.pager import ROWS_PER_CURSOR, Pager, PagerState
from relay_models.query.replies import decode_index_info
from relay_models.query.rows import DocumentReader
from relay_models.query.server_cursor import ROWS_PER_READ, cursor_steps
from relay_models.query.steps import Steps, aggregate_command

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["add_row", "row_steps"]


def row_steps(
    document: type[Document],
    alias: str,
    filter: Expression,
    compiled: CompiledFilter,
    ask: Aggregation,
    limit_ms: int,
    on_corrupt: OnCorrupt,
    on_incomplete: OnIncomplete,
    limit: ResultLimit | None,
) -> Steps[Groups]:
    """Compute the groups from the columns of every row.

    Raises:
        CorruptDocumentsError: documents cannot be read; ``good`` has the rows of the others.
    """
    columns = {*ask.groups, *(metric.column for metric in ask.metrics if metric.column is not None)}
    if ask.buckets is not None:
        columns.add(ask.time)
    reader: _ValuesReader | _ColumnReader
    reader = _ValuesReader(document, False) if any(map(_is_rounded, columns)) else _ColumnReader(columns)
    groups, corrupt = Groups(ask), dict[str, CorruptDocumentError]()

    def add(rows: list[dict[bytes, Any]]) -> None:
        for row in rows:
            try:
                add_row(groups, reader.decode(row))
            except CorruptDocumentError as error:
                corrupt[error.key] = error

    before = decode_index_info((yield ["FT.INFO", alias]).reply)
    command = aggregate_command(alias, compiled.query)
    command += ["LOAD", len(reader.load), *reader.load]
    try:
        yield from cursor_steps(command, compiled, limit_ms, partial=on_incomplete == "partial", each=add)
        is_exact = decode_index_info((yield ["FT.INFO", alias]).reply).replaced == before.replaced
    except InexactError:
        is_exact = False
    if not is_exact:
        # A cursor gives a document that is replaced while it is read twice or not at all, a keyset order gives it once.
        groups, corrupt = yield from _paged(document, alias, filter, ask, limit_ms, on_incomplete, limit)
    if corrupt and on_corrupt == "raise":
        raise CorruptDocumentsError(tuple(corrupt.values()), groups.rows())
    return groups


def _paged(
    document: type[Document],
    alias: str,
    filter: Expression,
    ask: Aggregation,
    limit_ms: int,
    on_incomplete: OnIncomplete,
    limit: ResultLimit | None,
) -> Steps[tuple[Groups, dict[str, CorruptDocumentError]]]:
    """Groups of the rows in the order of what identifies a document, which replacing it does not change."""
    reader = _ValuesReader(document, False)
    order = Order(document.columns()[reader.ties[0]])
    pager: Pager[dict[str, Any]] = Pager(
        alias, filter, order, reader, limit_ms=limit_ms, limit=limit, on_incomplete=on_incomplete
    )
    groups = Groups(ask)
    yield from pager.open()
    while not pager.is_done:
        if pager.state is PagerState.READING:
            pager.receive((yield pager.read(ROWS_PER_READ)), from_cursor=True)
        else:
            command = pager.request(ROWS_PER_CURSOR, per_read=ROWS_PER_READ)
            if command is None:
                break
            pager.receive((yield command), from_cursor=True)
        for values in pager.rows():
            add_row(groups, values)
    return groups, pager.corrupt


def add_row(groups: Groups, values: Mapping[str, Any]) -> None:
    """Count one document, by its stored values."""
    ask, start = groups.ask, None
    if ask.buckets is not None:
        instant = values[ask.time.name]
        start = None if instant is None else ask.buckets.start(instant)
    for tallies in groups.at(start, [column.read(values) for column in ask.groups]):
        tallies.count += 1
        for column, tally in tallies.each:
            tally.add(column.read(values))


class _ValuesReader(DocumentReader[Any]):
    """Decodes rows into their stored values, all digits of them."""

    def decode(self, row: dict[bytes, Any]) -> dict[str, Any]:
        """The stored values by column name."""
        return self.values(row)


def _is_rounded(column: Column[Any]) -> bool:
    """Whether the index gives a column's numbers in fewer digits than are stored."""
    return column.kind is Kind.NUMBER


class _ColumnReader:
    """Only the columns that matter, straight from the index: fast, and exact for texts and integers below 2**53."""

    def __init__(self, columns: Iterable[Column[Any]]) -> None:
        self.fields: list[tuple[bytes, str, Callable[[bytes], Any], Any]] = []
        # The key, too: a row without anything would be taken for one whose document is gone.
        self.load = ["@__key"]
        for column in columns:
            name = column.member_path if column.kind is Kind.TAGS else column.index_name
            self.load.append(name if column.kind is Kind.TAGS else f"@{name}")
            self.fields.append(
                (name.encode(), column.name, VALUE_READERS[column.kind], [] if column.kind is Kind.TAGS else None)
            )

    def decode(self, row: dict[bytes, Any]) -> dict[str, Any]:
        """The values by column name; `InexactError` where a number has lost digits."""
        values: dict[str, Any] = {}
        for field_name, name, read, empty in self.fields:
            raw = row.get(field_name)
            values[name] = empty if raw is None else read(raw)
        return values
