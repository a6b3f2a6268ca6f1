"""Finding documents: the query a user writes, and the conversation that answers it page by page."""

from __future__ import annotations

import base64
import binascii
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeGuard

from pydantic_core import from_json, to_json

from relay_models.errors import (
    CorruptDocumentError,
    CorruptDocumentsError,
    QueryError,
    UnknownColumnError,
    UnsupportedMethodError,
)

from .columns import Column, Kind
from .compile import Values, compile_filter, escape_tag, needed_values
from .expression import Compare, Equal, Everything, Expression, Missing, Pattern, Words, all_of, any_of, as_double
from .filters import as_expression
from .replies import check_complete, decode_attributes, decode_rows, decode_total, decode_values
from .steps import Command, Steps

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = [
    "OnCorrupt",
    "OnIncomplete",
    "Order",
    "RowReader",
    "RunPage",
    "RunQuery",
    "count_steps",
    "find_steps",
    "value_steps",
]

OnCorrupt = Literal["raise", "skip"]
OnIncomplete = Literal["raise", "partial"]

# The most values that a pattern is spelled out to in one query; the server reads so many in a fifth of a second.
_MOST_VALUES = 100_000


@dataclass(frozen=True, slots=True)
class Order:
    """By which column rows are sorted; ties by run id (or agent) ascending, rows without a value last."""

    column: Column[Any]
    descending: bool

    @classmethod
    def parse(cls, text: Any, columns: dict[str, Column[Any]]) -> Order:
        """Read ``"started_at"``, ``"-started_at"`` (descending) or a column such as ``Run.started_at``.

        Raises:
            UnknownColumnError: there is no such column.
            QueryError: it is a column that rows cannot be sorted by.
        """
        name = text.name if isinstance(text, Column) else text
        if not isinstance(name, str):
            raise QueryError(f"order_by is the name of a column, with - in front for descending, not {text!r}")
        descending = name.startswith("-")
        column = columns.get(name.lstrip("+-").strip())
        sortable = [known.name for known in columns.values() if known.ordered or known.kind is Kind.TAG]
        if column is None:
            raise UnknownColumnError(f"order_by: there is no column {name!r}; rows are sorted by {', '.join(sortable)}")
        if column.name not in sortable:
            raise QueryError(
                f"order_by: {column!r} ({column.kind}) has no order; rows are sorted by {', '.join(sortable)}"
            )
        return cls(column, descending)

    def __str__(self) -> str:
        return f"{'-' if self.descending else ''}{self.column.name}"


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs, in which order; made by ``Run.find(…)`` and run by a backend: ``backend.find_runs(query)``.

    Every method gives a new query. Printed, it shows the filter and the command that is sent.
    """

    filter: Expression = field(default_factory=Everything)
    order: str = "-started_at"
    count: int | None = None

    @classmethod
    def of(cls, expressions: Sequence[Any]) -> RunQuery:
        """A query for what meets all `expressions`."""
        return cls(all_of([as_expression(expression) for expression in expressions]))

    def find(self, *expressions: Any) -> RunQuery:
        """The query narrowed by more expressions."""
        return replace(self, filter=all_of([self.filter, *map(as_expression, expressions)]))

    def order_by(self, column: Any) -> RunQuery:
        """Sorted by a column: ``"-duration"``."""
        from relay_models.documents.run import Run

        return replace(self, order=str(Order.parse(column, Run.columns())))

    sort_by = order_by

    def limit(self, count: int) -> RunQuery:
        """At most so many runs."""
        return replace(self, count=count)

    def all(self, backend: Any = None) -> Any:
        """All runs that it finds: ``await query.all(backend)``, or ``query.all(backend)`` with a sync backend."""
        return self._bound("all", backend).find_runs(self.filter, order_by=self.order, limit=self.count)

    def page(self, backend: Any = None, **options: Any) -> Any:
        """`RedisBackend.find_runs` with this query."""
        return self._bound("page", backend).find_runs(self.filter, order_by=self.order, **options)

    def count_all(self, backend: Any = None) -> Any:
        """How many runs it finds: `RedisBackend.count_runs`."""
        return self._bound("count_all", backend).count_runs(self.filter)

    def _bound(self, method: str, backend: Any) -> Any:
        if backend is None:
            raise UnsupportedMethodError(
                f"a query is tied to no server: query.{method}(backend), or backend.find_runs(query)"
            )
        return backend

    def __iter__(self) -> Iterator[NoReturn]:
        self._bound("all", None)
        yield from ()

    def __str__(self) -> str:
        lines = [f"filter:  {self.filter}", f"order:   {self.order}"]
        if self.count is not None:
            lines.append(f"limit:   {self.count}")
        return "\n".join([*lines, f"command: {show_command(self)}"])

    def __repr__(self) -> str:
        return f"<RunQuery {self.filter}>"


def show_command(query: RunQuery, alias: str = "…@run") -> str:
    """The command for the first page as a person reads it; where values must be listed first, that command."""
    from relay_models.documents.run import Run

    command = next(find_steps(Run, alias, query.filter, order_by=query.order, limit=query.count or 50), None)
    if command is None:
        return "(none: no run can meet the filter)"
    return " ".join(part if isinstance(part, str) and part and part.isprintable() and " " not in part else repr(part)
                    if isinstance(part, str | bytes) else str(part) for part in command)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunPage(Sequence["Document"]):
    """Rows of an answer, a sequence of them, and how to go on."""

    rows: list[Any]
    next: str | None = None
    """The cursor for the rows after these (``after=page.next``); None at the end."""
    complete: bool = True
    """False where the server cut its answer short and a partial one was welcome."""
    warnings: tuple[str, ...] = ()
    corrupt: tuple[CorruptDocumentError, ...] = ()
    """Documents that could not be read and were skipped."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    @property
    def records(self) -> list[Any]:
        """The records of the rows, where they were fetched."""
        return [row.record for row in self.rows]


def value_steps(alias: str, expression: Expression, limit_ms: int = 0) -> Steps[Values]:
    """Ask for the values that patterns of an expression are applied to."""
    searched = {node.column.name for node in expression.walk() if _about_words(node)}
    if searched:
        # A server takes a column that its index does not have as one that nothing matches.
        indexed = decode_attributes((yield ["FT.INFO", alias]).reply)
        if not searched <= indexed:
            raise QueryError(
                f"the words of runs are not indexed here, so {', '.join(searched)} cannot be searched: "
                "open the store with index_text=True"
            )
    values: dict[str, list[str]] = {}
    for name, starts in needed_values(expression).items():
        if not starts:
            values[name] = decode_values((yield ["FT.TAGVALS", alias, name]).reply)
            continue
        # Run ids are many: only those that begin so. The texts are hexadecimal, or nothing begins so.
        fits = " || ".join(f'(@{name} >= "{start}" && @{name} < "{start}~")' for start in starts if _hexadecimal(start))
        if not fits:
            values[name] = []
            continue
        command: Command = ["FT.AGGREGATE", alias, "*", "FILTER", fits, "GROUPBY", 1, f"@{name}"]
        command += ["LIMIT", 0, _MOST_VALUES + 1, "TIMEOUT", limit_ms, "DIALECT", 2]
        answer = yield command
        found = decode_rows(answer.reply)
        check_complete(found.warnings, answer, limit_ms, False)
        values[name] = [row[name.encode()].decode() for row in found.rows]
    for name, known in values.items():
        if len(known) > _MOST_VALUES and _too_many(expression, name, known):
            raise QueryError(f"more than {_MOST_VALUES:,} values of {name} fit the pattern: give more of it")
    return values


def _about_words(node: Expression) -> TypeGuard[Words | Missing]:
    return isinstance(node, Words | Missing) and node.column.kind is Kind.WORDS


def _too_many(expression: Expression, name: str, known: Sequence[str]) -> bool:
    """Whether a pattern on the column fits more values than one query may name."""
    return any(
        sum(map(node.fits, known)) > _MOST_VALUES
        for node in expression.walk()
        if isinstance(node, Pattern) and node.column.name == name
    )


def _hexadecimal(text: str) -> bool:
    return len(text) <= 36 and all(character in "0123456789abcdef-" for character in text)


def count_steps(alias: str, filter: Expression, *, limit_ms: int = 0, partial: bool = False) -> Steps[int]:
    """How many documents meet the filter, exactly."""
    compiled = compile_filter(filter, (yield from value_steps(alias, filter, limit_ms)))
    if compiled.nothing:
        return 0
    command: Command = ["FT.SEARCH", alias, compiled.query, "NOCONTENT", "LIMIT", 0, 0, *compiled.arguments()]
    answer = yield [*command, "TIMEOUT", limit_ms, "DIALECT", 2]
    total, warnings = decode_total(answer.reply)
    check_complete(warnings, answer, limit_ms, partial, total)
    return total


def find_steps(
    document: type[Document],
    alias: str,
    filter: Expression,
    *,
    order_by: Any = "-started_at",
    limit: int | None = 50,
    after: str | None = None,
    bodies: bool = True,
    limit_ms: int = 0,
    on_corrupt: OnCorrupt = "raise",
    on_incomplete: OnIncomplete = "raise",
    page_size: int = 1000,
) -> Steps[RunPage]:
    """Find documents in an order that is total, so pages neither repeat nor lose a row while others are written.

    A page begins after the sort value and the id of the row before it, never at an offset. `limit` None is for all
    rows, fetched `page_size` at a time.

    Raises:
        QueryError: a limit below 0, a column that cannot be sorted by, or a cursor of another query.
        CorruptDocumentsError: documents that cannot be read (with ``on_corrupt="raise"``); ``good`` is the page.
        IncompleteAnswerError: the server stopped at its time limit (with ``on_incomplete="raise"``).
    """
    columns = document.columns()
    order = Order.parse(order_by, columns)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise QueryError(f"limit is a number of rows from 0 on, or None for all, not {limit!r}")
    place: _Place = _Place() if after is None else _Place.decode(after, order)
    last = place
    if limit == 0:
        return RunPage([], after)
    values = dict((yield from value_steps(alias, filter, limit_ms)))
    if _by_groups(order.column) and order.column.name not in values:
        values[order.column.name] = decode_values((yield ["FT.TAGVALS", alias, order.column.name]).reply)
    reader = RowReader(document, bodies)
    direction = "DESC" if order.descending else "ASC"
    sort = [f"@{order.column.name}", direction]
    sort += [part for tie in reader.ties if tie != order.column.name for part in (f"@{tie}", "ASC")]
    rows: list[Any] = []
    corrupt: dict[str, CorruptDocumentError] = {}
    cut: str | None = None
    stretch = 1
    more = False
    while not more and cut is None:
        room = None if limit is None else limit - len(rows)
        # The row at which the page begins comes again, and one row more tells whether there is a next page.
        wanted = stretch * (page_size if room is None else min(page_size, room + 2))
        compiled = compile_filter(all_of([filter, *place.bounds(order, values)]), values)
        answered: list[dict[bytes, Any]] = []
        if not compiled.nothing:
            answer = yield [
                *("FT.AGGREGATE", alias, compiled.query, *place.filter(order, reader.ties)),
                *("SORTBY", len(sort), *sort, "MAX", wanted, "LIMIT", 0, wanted),
                *("LOAD", len(reader.load), *reader.load),
                *(*compiled.arguments(), "TIMEOUT", limit_ms, "DIALECT", 2),
            ]
            found = decode_rows(answer.reply)
            answered = found.rows
            cut = check_complete(found.warnings, answer, limit_ms, on_incomplete == "partial")
        before = place
        for row in answered:
            try:
                read = reader.values(row)
            except CorruptDocumentError as error:
                corrupt[error.key] = error
                place = place.after(reader.sorted_by(row, order), order, reader.ties) or place
                continue
            reached = place.after(read, order, reader.ties)
            if reached is None:
                continue
            if len(rows) == limit:
                more = True
                break
            place = last = reached
            try:
                rows.append(reader.read(row, read))
            except CorruptDocumentError as error:
                corrupt[error.key] = error
        if more or cut is not None:
            break
        if len(answered) < wanted:
            further = place.further(order)
            if further is None:
                break
            place = further
        # Where more rows share the last row's value than were asked for, ask for more.
        stretch = stretch * 2 if place is before else 1
    resume = more or (cut is not None and bool(last.ties))
    page = RunPage(
        rows,
        last.encode(order) if resume else None,
        cut is None,
        () if cut is None else (cut,),
        tuple(corrupt.values()) if on_corrupt == "skip" else (),
    )
    if corrupt and on_corrupt == "raise":
        raise CorruptDocumentsError(tuple(corrupt.values()), page)
    return page


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the order a page begins: in which part of it, and after which row.

    The rows without a value are a part of their own, at the end. Texts have no ranges in an index: where rows are
    sorted by one, those with the text of the last row are a part, and those with the texts beyond it another.
    """

    missing: bool = False
    beyond: bool = False
    value: Any = None
    ties: tuple[str, ...] = ()

    def further(self, order: Order) -> _Place | None:
        """The part after this one, if there is any."""
        if self.missing:
            return None
        if self.value is not None and not self.beyond and _by_groups(order.column):
            return _Place(beyond=True, value=self.value)
        return _Place(missing=True) if order.column.nullable else None

    def bounds(self, order: Order, values: Values) -> list[Expression]:
        """What narrows the filter to this part, as far as an index can."""
        column = order.column
        if self.missing:
            return [Missing(column)]
        if self.value is None:
            return [~Missing(column)] if column.nullable else []
        if column.ordered:
            return [Compare(column, "<=" if order.descending else ">=", self.value)]
        if not _by_groups(column):
            return []
        if not self.beyond:
            return [Equal(column, self.value)]
        after = operator.lt if order.descending else operator.gt
        place = escape_tag(self.value)
        return [any_of([Equal(column, text) for text in values[column.name] if after(escape_tag(text), place)])]

    def filter(self, order: Order, ties: Sequence[str]) -> list[Any]:
        """``FILTER …``: among rows with the same value, those before the last row's run id are done."""
        if not self.ties or ties[0] != "run_id" or not _hexadecimal(self.ties[0]):
            return []
        if order.column.name == "run_id":
            return ["FILTER", f'@run_id {"<=" if order.descending else ">="} "{self.ties[0]}"']
        condition = f'@run_id >= "{self.ties[0]}"'
        if order.column.ordered and not self.missing:
            # All digits: conditions know no exponents.
            condition = f"@{order.column.name} != {Decimal(self.value):f} || {condition}"
        # A document without a run id, which is none of ours, would end the answer with an error.
        return ["FILTER", f"exists(@run_id) && ({condition})"]

    def after(self, values: dict[str, Any], order: Order, ties: Sequence[str]) -> _Place | None:
        """The place after a row, or None where the row is not after this place."""
        if any(name not in values for name in ties):
            return None
        value = None if self.missing else values.get(order.column.name)
        if isinstance(value, int) and abs(value) >= 2**53:
            # What the index compares is a double.
            value = as_double(value)
        found = _Place(self.missing, False, value, tuple(values[tie] for tie in ties))
        if (
            self.ties
            and value == self.value
            and tuple(map(escape_tag, found.ties)) <= tuple(map(escape_tag, self.ties))
        ):
            return None
        return found

    def encode(self, order: Order) -> str:
        """As an opaque text for users."""
        state = to_json([1, str(order), self.missing, self.value, list(self.ties)])
        return base64.urlsafe_b64encode(state).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order) -> _Place:
        """Read what `encode` wrote; QueryError where it is something else."""
        kinds = str if order.column.kind is Kind.TAG else (int, float)
        try:
            version, ordered, missing, value, ties = from_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if version != 1 or not isinstance(ties, list) or not all(isinstance(tie, str) for tie in ties):
                raise ValueError(text)
        except (ValueError, TypeError, binascii.Error):
            raise QueryError("after: this is no cursor; pass what a page gave as next") from None
        if ordered != str(order) or not isinstance(value, (type(None),) if missing else kinds):
            raise QueryError(f"after: this cursor is of a query ordered by {ordered!r}, not by {str(order)!r}")
        return cls(bool(missing), False, value, tuple(ties))


def _by_groups(column: Column[Any]) -> bool:
    """Rows are sorted by a text that several may share, with characters that no condition of a server can hold."""
    return column.kind is Kind.TAG and column.name != "run_id"


class RowReader:
    """Rows of answers as documents."""

    def __init__(self, document: type[Document], bodies: bool) -> None:
        self.document = document
        columns = document.columns()
        self.names = document.row_columns
        self.required = [self.names.index(name) for name in self.names if not columns[name].nullable]
        self.times = [name for name in columns if name not in self.names and columns[name].kind is Kind.TIME]
        self.ties = ("run_id", "agent_id") if document.kind == "run" else ("agent_id",)
        self.bodies = bodies
        # By path: a sortable column that is loaded by its name is put into every row that is sorted, not only these.
        self.load = ["@__key", "$.row", *(f"$.{name}" for name in self.times), *(["$.record"] if bodies else [])]

    def values(self, row: dict[bytes, Any]) -> dict[str, Any]:
        """Stored values by column name; `CorruptDocumentError` where the row is of no document of ours."""
        try:
            found = from_json(row.get(b"$.row") or b"")
            if not isinstance(found, list) or len(found) > len(self.names):
                raise ValueError("its row is no list of columns")
            found.extend([None] * (len(self.names) - len(found)))
            for index in self.required:
                if found[index] is None:
                    raise ValueError(f"it has no {self.names[index]}")
            values = dict(zip(self.names, found, strict=True))
            for name in self.times:
                raw = row.get(f"$.{name}".encode())
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
