"""`aggregate_steps`: the exchange with the server that computes an aggregate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from relay_models.columns.column import Column, Kind
from relay_models.columns.expressions import Expression
from relay_models.columns.tags import unescape_tag
from relay_models.errors import CorruptDocumentError, CorruptDocumentsError
from relay_models.query.aggregate.groups import AggregateRows, Groups
from relay_models.query.aggregate.request import Aggregation
from relay_models.query.compiler import CompiledFilter, compile_filter
from relay_models.query.limits import ResultLimit
from relay_models.query.options import OnCorrupt, OnIncomplete
from relay_models.query.order import Order
from relay_models.query.paging.pager import ROWS_PER_CURSOR, Pager, PagerState
from relay_models.query.replies import decode_index_info
from relay_models.query.rows import DocumentReader
from relay_models.query.server_cursor import ROWS_PER_READ, cursor_steps
from relay_models.query.steps import Command, Steps
from relay_models.query.tag_values import value_steps

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["aggregate_steps"]


def aggregate_steps(
    document: type[Document],
    alias: str,
    filter: Expression,
    ask: Aggregation,
    *,
    limit_ms: int = 0,
    on_corrupt: OnCorrupt = "raise",
    on_incomplete: OnIncomplete = "raise",
    limit: ResultLimit | None = None,
) -> Steps[AggregateRows]:
    """Compute an aggregate, with the same exact numbers from every server.

    Counts, sums, averages, minima and maxima of integer columns (durations and times included) are computed by the
    server, group by group. A server rounds all other numbers to twelve digits and estimates percentiles, so for those
    the rows' columns are read through a cursor and the metrics computed here; so are sums beyond 2**53, where the
    server's doubles end. A run with several values in a group column counts in each group.
    """
    compiled = compile_filter(filter, (yield from value_steps(alias, filter, limit_ms)))
    groups: Groups | None = Groups(ask)
    if not compiled.nothing:
        partial = on_incomplete == "partial"
        groups = None
        if all(metric.summable for metric in ask.metrics):
            groups = yield from _on_server(alias, compiled, ask, limit_ms, partial)
        if groups is None:
            groups = yield from _on_client(
                document, alias, filter, compiled, ask, limit_ms, on_corrupt, on_incomplete, limit
            )
    assert groups is not None
    return groups.rows()


def _on_server(
    alias: str, compiled: CompiledFilter, ask: Aggregation, limit_ms: int, partial: bool
) -> Steps[Groups | None]:
    """Groups computed by the server; None where a number is not exact or a unit of time is in two buckets."""
    loads: list[str] = []
    keys: list[str] = []
    for index, column in enumerate(ask.groups):
        if column.kind is Kind.TAGS:
            # The whole list as JSON text: a server alone sees only the first text.
            loads += [column.member_path, "AS", f"g{index}"]
            keys.append(f"g{index}")
        else:
            keys.append(column.index_name)
    command: Command = ["FT.AGGREGATE", alias, compiled.query]
    command += ["LOAD", len(loads), *loads] if loads else []
    unit = 0
    if ask.buckets is not None:
        unit = ask.buckets.unit
        command += ["APPLY", f"floor(@{ask.time.index_name}/{unit})", "AS", "span"]
        keys.append("span")
    command += ["GROUPBY", len(keys), *(f"@{key}" for key in keys), "REDUCE", "COUNT", 0, "AS", "n"]
    columns = list(dict.fromkeys(metric.column for metric in ask.metrics if metric.column is not None))
    for index, column in enumerate(columns):
        if column.nullable:
            # Rows without a value count as nothing in a sum, but have no part in an average.
            command[command.index("GROUPBY") : command.index("GROUPBY")] = [
                "APPLY",
                f"exists(@{column.index_name})",
                "AS",
                f"has{index}",
            ]
            command += ["REDUCE", "SUM", 1, f"@has{index}", "AS", f"n{index}"]
        for reducer in ("SUM", "MIN", "MAX"):
            command += ["REDUCE", reducer, 1, f"@{column.index_name}", "AS", f"{reducer.lower()}{index}"]
    groups = Groups(ask)
    exact = True
    answered = yield from cursor_steps(command, compiled, limit_ms, partial=partial)
    for row in answered:
        try:
            number = _exact(row[b"n"])
            merged = []
            for index, column in enumerate(columns):
                count = _exact(row[b"n%d" % index]) if column.nullable else number
                numbers = (
                    [_exact(row[b"%s%d" % (name, index)]) for name in (b"sum", b"min", b"max")]
                    if count
                    else [0, None, None]
                )
                merged.append((column, count, *numbers))
            start = None
            if ask.buckets is not None:
                begin = _exact(row[b"span"]) * unit
                if not ask.buckets.whole(begin, unit):
                    return None
                start = ask.buckets.start(begin)
        except (KeyError, ValueError, TypeError, OverflowError):
            exact = False
            break
        values = [_group_value(column, row.get(key.encode())) for column, key in zip(ask.groups, keys, strict=False)]
        for tallies in groups.at(start, values):
            tallies.count += number
            for column, count, total, low, high in merged:
                if count:
                    tallies.of(column).merge(count, total, low, high)
    return groups if exact else None


def _on_client(
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
    """Groups computed here, from the columns of every row."""
    columns = {*ask.groups, *(metric.column for metric in ask.metrics if metric.column is not None)}
    if ask.buckets is not None:
        columns.add(ask.time)
    reader: _ValuesReader | _ColumnReader
    reader = _ValuesReader(document, False) if any(map(_is_rounded, columns)) else _ColumnReader(columns)
    groups, corrupt = Groups(ask), dict[str, CorruptDocumentError]()

    def add(rows: list[dict[bytes, Any]]) -> None:
        for row in rows:
            try:
                _add(groups, reader.decode(row))
            except CorruptDocumentError as error:
                corrupt[error.key] = error

    before = decode_index_info((yield ["FT.INFO", alias]).reply)
    command: Command = ["FT.AGGREGATE", alias, compiled.query]
    command += ["LOAD", len(reader.load), *reader.load] if reader.load else []
    try:
        yield from cursor_steps(command, compiled, limit_ms, partial=on_incomplete == "partial", each=add)
        is_exact = decode_index_info((yield ["FT.INFO", alias]).reply).replaced == before.replaced
    except _LostDigitsError:
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
            _add(groups, values)
    return groups, pager.corrupt


def _add(groups: Groups, values: Mapping[str, Any]) -> None:
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


class _LostDigitsError(Exception):
    """A number of an answer has fewer digits than are stored."""


def _is_rounded(column: Column[Any]) -> bool:
    """Whether the index gives a column's numbers in fewer digits than are stored."""
    return column.kind is Kind.NUMBER


class _ColumnReader:
    """Only the columns that matter, straight from the index: fast, and exact for texts and integers below 2**53."""

    def __init__(self, columns: Iterable[Column[Any]]) -> None:
        self.fields: list[tuple[bytes, str, Callable[[bytes], Any], Any]] = []
        self.load: list[str] = []
        for column in columns:
            name = column.member_path if column.kind is Kind.TAGS else column.index_name
            self.load.append(name if column.kind is Kind.TAGS else f"@{name}")
            self.fields.append(
                (name.encode(), column.name, _READ[column.kind], [] if column.kind is Kind.TAGS else None)
            )

    def decode(self, row: dict[bytes, Any]) -> dict[str, Any]:
        """The values by column name; `_LostDigitsError` where a number has lost digits."""
        values: dict[str, Any] = {}
        for field_name, name, read, empty in self.fields:
            raw = row.get(field_name)
            values[name] = empty if raw is None else read(raw)
        return values


def _whole(raw: bytes) -> int:
    try:
        return _exact(raw)
    except ValueError:
        raise _LostDigitsError from None


def _texts(raw: bytes) -> list[str]:
    return [unescape_tag(text) for text in from_json(raw)]


_READ: dict[Kind, Callable[[bytes], Any]] = {
    Kind.TAG: lambda raw: unescape_tag(raw.decode()),
    Kind.TAGS: _texts,
    Kind.COUNT: _whole,
    Kind.TIME: _whole,
    Kind.DURATION: _whole,
}


def _exact(raw: Any) -> int:
    """An integer of an answer; ValueError where digits are lost."""
    number = int(raw)
    if abs(number) >= 2**53:
        raise ValueError(raw)
    return number


def _group_value(column: Column[Any], raw: bytes | None) -> Any:
    if raw is None:
        return [] if column.kind is Kind.TAGS else None
    return _READ[column.kind](raw)
