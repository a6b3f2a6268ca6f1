"""Counting runs up by columns and spans of time: the conversation with the server, and the typed rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from relay_models._time import microseconds_of
from relay_models.columns.column import Column, Kind
from relay_models.columns.expressions import Expression
from relay_models.columns.tags import unescape_tag
from relay_models.errors import (
    CorruptDocumentError,
    CorruptDocumentsError,
    QueryError,
    UnknownColumnError,
    UnsupportedOperatorError,
)
from relay_models.query.aggregate.buckets import Buckets
from relay_models.query.aggregate.metrics import Metric, Tally, find_column, parse_metric
from relay_models.query.compiler import CompiledFilter, compile_filter
from relay_models.query.paging.pager import OnCorrupt, OnIncomplete
from relay_models.query.replies import check_complete, decode_cursor, decode_documents
from relay_models.query.rows import RowReader, row_reader
from relay_models.query.steps import Command, Steps
from relay_models.query.tag_values import value_steps

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["AggregateRow", "AggregateRows", "Aggregation", "aggregate_steps"]

_AT_ONCE = 5000
BUCKET = "bucket"


class AggregateRow(Mapping[str, Any]):
    """A row of an aggregate, a mapping: the bucket (where there is one), the groups, the metrics, in this order.

    A bucket is the aware datetime at which it begins. A group is a value of its column, None for runs without one.
    Metrics of durations are timedeltas, of times datetimes, counts and sums of integers exact integers.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(f"no column {name!r} in this row; it has {', '.join(self._values)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def to_dict(self) -> dict[str, Any]:
        """The row as a dict."""
        return dict(self._values)

    def __repr__(self) -> str:
        return f"AggregateRow({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"


class AggregateRows(list[AggregateRow]):
    """The rows of an aggregate. They know their columns, also where there is no row.

    Args:
        rows: The rows.
        kinds: What each column holds, by name, in the order of the columns.
    """

    __slots__ = ("kinds",)

    def __init__(self, rows: Iterable[AggregateRow] = (), kinds: Mapping[str, Kind] | None = None) -> None:
        super().__init__(rows)
        self.kinds: dict[str, Kind] = dict(kinds or {})


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What to count up, checked; see `aggregate_steps`."""

    groups: tuple[Column[Any], ...]
    metrics: tuple[Metric, ...]
    buckets: Buckets | None
    time: Column[Any]
    order_by: str | None
    descending: bool
    limit: int | None
    fill: bool
    bounds: tuple[int, int] | None = None
    names: tuple[str, ...] = field(default=())

    @classmethod
    def parse(
        cls,
        columns: dict[str, Column[Any]],
        *,
        by: Any = (),
        every: str | timedelta | None = None,
        metrics: Any = ("count",),
        time: Any = "started_at",
        tz: str | tzinfo | None = None,
        fill: bool | tuple[datetime, datetime] = False,
        order_by: str | None = None,
        limit: int | None = None,
    ) -> Aggregation:
        """Read what a user asks for; `QueryError` and its kin say what cannot be."""
        groups = tuple(dict.fromkeys(find_column(name, columns, "by") for name in _listed(by)))
        for column in groups:
            if column.kind not in (Kind.TAG, Kind.TAGS, Kind.COUNT):
                raise UnsupportedOperatorError(
                    f"by: {column!r} ({column.kind}) has too many values to group by; for times use every='1h'"
                )
        read = tuple(dict.fromkeys(parse_metric(text, columns) for text in _listed(metrics)))
        if not read:
            raise QueryError("metrics: ask for at least one, such as 'count'")
        time_column = find_column(time, columns, "time")
        if time_column.kind is not Kind.TIME:
            raise UnsupportedOperatorError(f"time: {time_column!r} ({time_column.kind}) holds no times")
        buckets = None if every is None else Buckets(every, tz)
        if buckets is None and fill:
            raise QueryError("fill: there are no buckets to fill without every='1h'")
        bounds = None
        if isinstance(fill, tuple) and buckets is not None:
            try:
                first, last = (microseconds_of(instant) for instant in fill)
            except (TypeError, ValueError):
                raise QueryError(f"fill is True, or two aware datetimes (from, to), not {fill!r}") from None
            bounds = buckets.start(first), buckets.start(max(first, last - 1))
        names = ([BUCKET] if buckets else []) + [column.name for column in groups] + [metric.name for metric in read]
        descending = isinstance(order_by, str) and order_by.startswith("-")
        order = None
        if order_by is not None:
            order = _output_name(
                order_by.lstrip("-+").strip() if isinstance(order_by, str) else order_by, names, columns
            )
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise QueryError(f"limit is a number of rows from 0 on, or None for all, not {limit!r}")
        return cls(groups, read, buckets, time_column, order, descending, limit, bool(fill), bounds, tuple(names))

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column of the rows holds, by name. A row has one value of a column of several texts."""
        found = {BUCKET: Kind.TIME} if self.buckets else {}
        found |= {column.name: Kind.TAG if column.kind is Kind.TAGS else column.kind for column in self.groups}
        return found | {metric.name: metric.kind for metric in self.metrics}


def aggregate_steps(
    document: type[Document],
    alias: str,
    filter: Expression,
    ask: Aggregation,
    *,
    limit_ms: int = 0,
    on_corrupt: OnCorrupt = "raise",
    on_incomplete: OnIncomplete = "raise",
) -> Steps[AggregateRows]:
    """Count up, with the same exact numbers from every server.

    Counts, sums, averages, minima and maxima of integer columns (durations and times included) are counted up by the
    server, group by group. A server rounds all other numbers to twelve digits and estimates percentiles, so for those
    the rows' columns are streamed with a cursor and counted up here; so are sums beyond 2**53, where the server's
    doubles end. A run with several values in a group column counts in each group.
    """
    compiled = compile_filter(filter, (yield from value_steps(alias, filter, limit_ms)))
    groups: _Groups | None = _Groups(ask)
    if not compiled.nothing:
        partial = on_incomplete == "partial"
        groups = None
        if all(metric.summable for metric in ask.metrics):
            groups = yield from _on_server(alias, compiled, ask, limit_ms, partial)
        if groups is None:
            groups = yield from _streamed(document, alias, compiled, ask, limit_ms, partial, on_corrupt)
    assert groups is not None
    return groups.rows()


def _on_server(
    alias: str, compiled: CompiledFilter, ask: Aggregation, limit_ms: int, partial: bool
) -> Steps[_Groups | None]:
    """Groups that the server counted up; None where a number is not exact or a span is in two buckets."""
    loads: list[str] = []
    keys: list[str] = []
    for index, column in enumerate(ask.groups):
        if column.kind is Kind.TAGS:
            # The whole list as JSON text: a server by itself sees only the first text.
            loads += [f"$.{column.name}", "AS", f"g{index}"]
            keys.append(f"g{index}")
        else:
            keys.append(column.name)
    command: Command = ["FT.AGGREGATE", alias, compiled.query]
    command += ["LOAD", len(loads), *loads] if loads else []
    unit = 0
    if ask.buckets is not None:
        unit = ask.buckets.unit
        command += ["APPLY", f"floor(@{ask.time.name}/{unit})", "AS", "span"]
        keys.append("span")
    command += ["GROUPBY", len(keys), *(f"@{key}" for key in keys), "REDUCE", "COUNT", 0, "AS", "n"]
    columns = list(dict.fromkeys(metric.column for metric in ask.metrics if metric.column is not None))
    for index, column in enumerate(columns):
        if column.nullable:
            # Rows without a value count as nothing in a sum, but have no part in an average.
            command[command.index("GROUPBY") : command.index("GROUPBY")] = [
                "APPLY",
                f"exists(@{column.name})",
                "AS",
                f"has{index}",
            ]
            command += ["REDUCE", "SUM", 1, f"@has{index}", "AS", f"n{index}"]
        for reducer in ("SUM", "MIN", "MAX"):
            command += ["REDUCE", reducer, 1, f"@{column.name}", "AS", f"{reducer.lower()}{index}"]
    groups = _Groups(ask)
    exact = True
    answered = yield from _cursor_steps(command, alias, compiled, limit_ms, partial)
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


def _streamed(
    document: type[Document],
    alias: str,
    compiled: CompiledFilter,
    ask: Aggregation,
    limit_ms: int,
    partial: bool,
    on_corrupt: OnCorrupt,
) -> Steps[_Groups]:
    """Groups counted up here, from the columns of every row."""
    columns = {*ask.groups, *(metric.column for metric in ask.metrics if metric.column is not None)}
    if ask.buckets is not None:
        columns.add(ask.time)
    reader: RowReader | _ColumnReader
    if any(column.kind is Kind.NUMBER for column in columns):
        reader = row_reader(document, False)
    else:
        reader = _ColumnReader(columns)
    at_once = False
    while True:
        before = decode_documents((yield ["FT.INFO", alias]).reply)
        try:
            groups = yield from _stream_with(
                reader, alias, compiled, ask, limit_ms, partial, on_corrupt, before.count * 2 if at_once else 0
            )
        except OverflowError:
            reader = row_reader(document, False)
            continue
        if at_once or decode_documents((yield ["FT.INFO", alias]).reply).replaced == before.replaced:
            return groups
        # A run that is replaced while a cursor is read comes twice or not at all.
        at_once = True


class _ColumnReader:
    """Only the columns that matter, straight from the index: fast, and exact for texts and integers below 2**53."""

    def __init__(self, columns: Iterable[Column[Any]]) -> None:
        self.fields: list[tuple[bytes, str, Callable[[bytes], Any], Any]] = []
        self.load: list[str] = []
        for column in columns:
            name = f"$.{column.name}" if column.kind is Kind.TAGS else column.name
            self.load.append(name if column.kind is Kind.TAGS else f"@{name}")
            self.fields.append(
                (name.encode(), column.name, _READ[column.kind], [] if column.kind is Kind.TAGS else None)
            )

    def values(self, row: dict[bytes, Any]) -> dict[str, Any]:
        """The values by column name; OverflowError where a number has lost digits."""
        values: dict[str, Any] = {}
        for field_name, name, read, empty in self.fields:
            raw = row.get(field_name)
            values[name] = empty if raw is None else read(raw)
        return values


def _whole(raw: bytes) -> int:
    try:
        return _exact(raw)
    except ValueError:
        raise OverflowError from None


def _texts(raw: bytes) -> list[str]:
    return [unescape_tag(text) for text in from_json(raw)]


_READ: dict[Kind, Callable[[bytes], Any]] = {
    Kind.TAG: lambda raw: unescape_tag(raw.decode()),
    Kind.TAGS: _texts,
    Kind.COUNT: _whole,
    Kind.TIME: _whole,
    Kind.DURATION: _whole,
}


def _stream_with(
    reader: RowReader | _ColumnReader,
    alias: str,
    compiled: CompiledFilter,
    ask: Aggregation,
    limit_ms: int,
    partial: bool,
    on_corrupt: OnCorrupt,
    at_once: int = 0,
) -> Steps[_Groups]:
    """Groups of the rows as the cursor finds them, or, where `at_once` is the most there can be, as they all are now.

    Rows that are sorted have all been read when the first is given, which stops the server for as long.
    """
    command: Command = ["FT.AGGREGATE", alias, compiled.query]
    command += ["LOAD", len(reader.load), *reader.load] if reader.load else []
    command += ["SORTBY", 2, "@agent_id", "ASC", "MAX", at_once, "LIMIT", 0, at_once] if at_once else []
    groups = _Groups(ask)
    corrupt: dict[str, CorruptDocumentError] = {}
    cursor: int | None = None
    while cursor != 0:
        if cursor is None:
            answer = yield [*command, *_cursor_options(compiled, limit_ms)]
        else:
            answer = yield ["FT.CURSOR", "READ", alias, cursor, "COUNT", _AT_ONCE]
        found, cursor = decode_cursor(answer.reply)
        check_complete(found.warnings, answer, limit_ms, partial)
        for row in found.present():
            try:
                values = reader.values(row)
            except CorruptDocumentError as error:
                corrupt[error.key] = error
                continue
            start = None
            if ask.buckets is not None:
                instant = values[ask.time.name]
                start = None if instant is None else ask.buckets.start(instant)
            for tallies in groups.at(start, [values[column.name] for column in ask.groups]):
                tallies.count += 1
                for column, tally in tallies.each:
                    tally.add(values[column.name])
    if corrupt and on_corrupt == "raise":
        raise CorruptDocumentsError(tuple(corrupt.values()), groups.rows())
    return groups


def _cursor_steps(
    command: Command, alias: str, compiled: CompiledFilter, limit_ms: int, partial: bool
) -> Steps[list[dict[bytes, Any]]]:
    rows: list[dict[bytes, Any]] = []
    answer = yield [*command, *_cursor_options(compiled, limit_ms)]
    while True:
        found, cursor = decode_cursor(answer.reply)
        check_complete(found.warnings, answer, limit_ms, partial)
        rows += found.present()
        if not cursor:
            return rows
        answer = yield ["FT.CURSOR", "READ", alias, cursor, "COUNT", _AT_ONCE]


def _cursor_options(compiled: CompiledFilter, limit_ms: int) -> Command:
    return ["WITHCURSOR", "COUNT", _AT_ONCE, *compiled.arguments(), "TIMEOUT", limit_ms, "DIALECT", 2]


class _Tallies:
    """One group: how many rows, and a tally for each column that a metric is about."""

    __slots__ = ("count", "each")

    def __init__(self, columns: Sequence[tuple[Column[Any], bool]]) -> None:
        self.count = 0
        self.each = [(column, Tally(keep)) for column, keep in columns]

    def of(self, column: Column[Any]) -> Tally:
        return next(tally for known, tally in self.each if known is column)


class _Groups:
    """All groups so far, by bucket and values."""

    def __init__(self, ask: Aggregation) -> None:
        self.ask = ask
        keep: dict[Column[Any], bool] = {}
        for metric in ask.metrics:
            if metric.column is not None:
                keep[metric.column] = keep.get(metric.column, False) or not metric.summable
        self.columns = list(keep.items())
        self.found: dict[tuple[Any, ...], _Tallies] = {}

    def at(self, start: int | None, values: Sequence[Any]) -> Iterator[_Tallies]:
        """The groups that a row is in: one for each combination of its values."""
        keys: list[tuple[Any, ...]] = [(start,)]
        for value in values:
            options = (value or [None]) if isinstance(value, list) else [value]
            keys = [(*key, option) for key in keys for option in options]
        for key in keys:
            tallies = self.found.get(key)
            if tallies is None:
                tallies = self.found[key] = _Tallies(self.columns)
            yield tallies

    def rows(self) -> AggregateRows:
        """The rows, sorted and cut."""
        ask = self.ask
        if not self.found and not ask.groups and ask.buckets is None:
            self.found[(None,)] = _Tallies(self.columns)
        if ask.fill and ask.buckets is not None:
            self._fill(ask.buckets)
        rows = [self._row(key, tallies) for key, tallies in self.found.items()]
        default = ([BUCKET] if ask.buckets else []) + [column.name for column in ask.groups]
        for name in reversed(default):
            rows.sort(key=lambda row, name=name: _sort_key(row[name]))  # type: ignore[misc]
        if ask.order_by is not None:
            name = ask.order_by
            known = [row for row in rows if row[name] is not None]
            known.sort(key=lambda row: row[name], reverse=ask.descending)
            rows = known + [row for row in rows if row[name] is None]
        return AggregateRows(rows if ask.limit is None else rows[: ask.limit], ask.kinds)

    def _fill(self, buckets: Buckets) -> None:
        starts = [key[0] for key in self.found if key[0] is not None]
        if self.ask.bounds is not None:
            starts += self.ask.bounds
        groups = {key[1:] for key in self.found} or (set() if self.ask.groups else {()})
        if not starts:
            return
        for start in buckets.between(min(starts), max(starts)):
            for group in groups:
                self.found.setdefault((start, *group), _Tallies(self.columns))

    def _row(self, key: tuple[Any, ...], tallies: _Tallies) -> AggregateRow:
        values: dict[str, Any] = {}
        if self.ask.buckets is not None:
            values[BUCKET] = None if key[0] is None else self.ask.buckets.label(key[0])
        values.update(zip((column.name for column in self.ask.groups), key[1:], strict=True))
        for metric in self.ask.metrics:
            values[metric.name] = tallies.count if metric.column is None else tallies.of(metric.column).result(metric)
        return AggregateRow(values)


def _sort_key(value: Any) -> tuple[bool, Any]:
    return value is None, 0 if value is None else value


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


def _listed(given: Any) -> Iterable[Any]:
    return (given,) if isinstance(given, str | Column) else tuple(given or ())


def _output_name(name: Any, names: Sequence[str], columns: dict[str, Column[Any]]) -> str:
    if name in names:
        return str(name)
    try:
        found = parse_metric(name, columns).name
    except QueryError:
        try:
            found = find_column(name, columns, "order_by").name
        except UnknownColumnError:
            found = ""
    if found not in names:
        raise UnknownColumnError(f"order_by: there is no {name!r} in the rows; there are {', '.join(names)}")
    return found
