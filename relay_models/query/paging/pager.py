"""`Pager`: keyset pagination over FT.AGGREGATE, right whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from relay_models.columns.expressions import Expression, all_of
from relay_models.errors import CorruptDocumentError, CorruptDocumentsError
from relay_models.query.compiler import CompiledFilter, Fitting, compile_filter, fitting_values
from relay_models.query.limits import ResultLimit
from relay_models.query.options import OnCorrupt, OnIncomplete
from relay_models.query.order import Order, is_grouped
from relay_models.query.paging.page import Page
from relay_models.query.paging.position import Position
from relay_models.query.replies import Rows, check_complete, decode_rows, decode_values
from relay_models.query.rows import RowReader
from relay_models.query.server_cursor import ROWS_PER_READ, ServerCursor
from relay_models.query.steps import Answer, Command, Steps, aggregate_command
from relay_models.query.tag_values import value_steps

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["ROWS_PER_CURSOR", "Pager", "PagerState"]

# Maximum rows per cursor, whose order the server keeps (about 80 bytes each); the rest is ordered by another query.
ROWS_PER_CURSOR = 200_000

D = TypeVar("D", bound="Document")
T = TypeVar("T")


class PagerState(Enum):
    """What a pager does next."""

    READY = auto()
    """`Pager.request` asks for the rows after the position."""
    READING = auto()
    """`Pager.read` asks the cursor for the next rows of the order that the server has made."""
    FULL = auto()
    """The caller has as many rows as it wanted, and there are more."""
    CUT = auto()
    """The server cut its answer short, and a partial one was allowed."""
    END = auto()
    """There are no more rows."""


@dataclass(slots=True)
class _Request:
    """The query that is being answered: where it began, how many rows it may have, and how many have been seen."""

    start: Position
    most: int
    is_ties: bool = False
    seen: int = 0
    is_first_answer: bool = True


class Pager(Generic[T]):
    """Reads the documents that meet a filter, in a total order.

    It does no I/O: the caller sends the command of `request` or `read`, gives the answer to `receive`, and gets the
    rows from `rows`, until `state` says that it is done.

    Every query begins after the sort value and the id of the last row, never at an offset. A cursor may give its rows
    in several reads, so that the server orders them once. That order is of the moment at which it was made, but a
    cursor gives nothing for a document that was replaced or deleted since: then, when the cursor is lost, and when the
    server accepts no larger result, another query goes on after the last row.

    Args:
        alias: the index to query.
        filter: which documents.
        order: the order of the rows.
        reader: decodes the rows.
        after: the cursor of a page to go on after.
        limit_ms: the time limit of each command (milliseconds), 0 for none.
        limit: the size of results that the server accepts.
        on_incomplete: whether a partial answer is allowed.

    Raises:
        QueryError: `after` is no cursor, or one of another order.
    """

    def __init__(
        self,
        alias: str,
        filter: Expression,
        order: Order,
        reader: RowReader[T],
        *,
        after: str | None = None,
        limit_ms: int = 0,
        limit: ResultLimit | None = None,
        on_incomplete: OnIncomplete = "raise",
    ) -> None:
        self.alias = alias
        self.filter = filter
        self.limit = ResultLimit() if limit is None else limit
        self.order = replace(order, is_merged=self.limit.is_merged)
        self.reader = reader
        self.state = PagerState.READY
        self.cut: str | None = None
        """Why the server's last answer may be incomplete."""
        self.corrupt: dict[str, CorruptDocumentError] = {}
        self.cursor = ServerCursor(alias)
        self._limit_ms = limit_ms
        self._partial = on_incomplete == "partial"
        self._values: dict[str, Sequence[str]] = {}
        self._fitting: Fitting = {}
        self._position: Position | None = Position() if after is None else Position.decode(after, order)
        self._last = self._position or Position()
        self._request = _Request(self._last, 0)
        self._found = Rows([])
        self._growth = 1
        # Rows that are gone are asked for once more, in case their documents were replaced in that moment.
        self._recheck_gone = True

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to ask for."""
        return self.state in (PagerState.FULL, PagerState.CUT, PagerState.END)

    @property
    def has_begun(self) -> bool:
        """Whether there is a last row, after which the next query begins."""
        return bool(self._last.ties)

    @property
    def is_at_start(self) -> bool:
        """Whether the next query begins with the first row of all."""
        return self._position == Position()

    @property
    def is_filled(self) -> bool:
        """Whether the last answer has as many rows as were asked for, each of them a document's."""
        return len(self._found.rows) == self._request.most and None not in self._found.rows

    def open(self) -> Steps[None]:
        """Ask for the values that patterns are applied to, and those of a text column to sort by."""
        column = self.order.column
        self._values = dict((yield from value_steps(self.alias, self.filter, self._limit_ms)))
        self._fitting = fitting_values(self.filter, self._values)
        name = column.index_name
        if is_grouped(column) and name not in self._values:
            self._values[name] = decode_values((yield ["FT.TAGVALS", self.alias, name]).reply)

    def request(self, most: int, *, per_read: int | None = None, within: Expression | None = None) -> Command | None:
        """The command for the rows after the position, or None at the end.

        Args:
            most: maximum number of rows; fewer where the server accepts fewer.
            per_read: through a cursor, with that many rows in each read.
            within: a further condition; its rows must be the first ones of the order.
        """
        wanted = self.limit.clamp(most * self._growth)
        if self._growth > 1 and wanted <= self._request.most:
            return self._request_ties()
        while self._position is not None:
            bounds = self._position.bounds(self.order, self._values)
            narrowed = bounds if within is None else [within] if self.is_at_start else [*bounds, within]
            compiled = self._compile(narrowed)
            if not compiled.nothing:
                break
            self._position = self._position.next_section(self.order)
        else:
            self.state = PagerState.END
            return None
        self._request = _Request(self._position, wanted)
        ties = self.reader.ties
        column = self.order.column
        load = self.reader.load_for(self.order)
        direction = "DESC" if self.order.descending else "ASC"
        sort = [part for name in self.order.names for part in (f"@{name}", direction)]
        steps = self.order.steps
        if steps and self._position.missing:
            sort, steps = [], []
        sort += [part for tie in ties if tie != column.name for part in (f"@{tie}", "ASC")]
        return [
            *aggregate_command(self.alias, compiled.query),
            *(*steps, *self._position.condition(self.order, ties)),
            *("SORTBY", len(sort), *sort, "MAX", wanted, "LIMIT", 0, wanted),
            *("LOAD", len(load), *load),
            *([] if per_read is None else ServerCursor.options(per_read)),
            *(*compiled.arguments(), "TIMEOUT", self._limit_ms),
        ]

    def probe(self, steps: Command, within: Expression | None = None) -> Command | None:
        """The command for an aggregate of the rows that meet the filter, by `steps`; None where there can be none."""
        if self._position is None:
            return None
        bounds = [] if self.is_at_start else self._position.bounds(self.order, self._values)
        narrowed = bounds if within is None else [*bounds, within]
        compiled = self._compile(narrowed)
        if compiled.nothing:
            return None
        arguments = [*compiled.arguments(), "TIMEOUT", self._limit_ms]
        return [*aggregate_command(self.alias, compiled.query), *steps, *arguments]

    def _compile(self, conditions: Sequence[Expression]) -> CompiledFilter:
        """The filter and further conditions."""
        return compile_filter(all_of([self.filter, *conditions]), self._values, self._fitting)

    def _request_ties(self) -> Command:
        """The command for all rows with the position's value, which are more than the server orders: sorted here."""
        assert self._position is not None
        compiled = self._compile(self._position.tied(self.order))
        self._request = _Request(self._position, 0, is_ties=True)
        # An order loads what it sorts by; without one, the rows would seem to have no value there.
        names = (self.order.column.index_name, *self.reader.ties)
        load = list(dict.fromkeys([*self.reader.load_for(self.order), *(f"@{name}" for name in names)]))
        return [
            *(*aggregate_command(self.alias, compiled.query), "LOAD", len(load), *load),
            *ServerCursor.options(ROWS_PER_READ),
            *(*compiled.arguments(), "TIMEOUT", self._limit_ms),
        ]

    def read(self, count: int) -> Command:
        """The command for the cursor's next rows. It must not be sent twice: each row is given once."""
        return self.cursor.read(count)

    def receive(self, answer: Answer, *, from_cursor: bool = False) -> None:
        """Take the answer to a command; `from_cursor` where the command was one of a cursor."""
        from_cursor = from_cursor or self._request.is_ties
        found = self.cursor.decode(answer.reply) if from_cursor else decode_rows(answer.reply)
        self.cut = check_complete(found.warnings, answer, self._limit_ms, self._partial)
        if self._request.is_ties:
            found.rows = [*self._found.rows, *found.rows]
        self._found = found
        self.state = PagerState.READING if self.cursor.is_open and self.cut is None else PagerState.READY

    def lose_cursor(self) -> None:
        """The cursor is lost: another query goes on after the last row."""
        self.cursor.lose()
        self._found = Rows([])
        if self.state is PagerState.READING:
            self.state = PagerState.READY

    @property
    def position(self) -> Position | None:
        """Where the next query begins; None at the end."""
        return self._position

    @property
    def position_value(self) -> Any:
        """The sort value of the position; None at the beginning."""
        return None if self._position is None else self._position.value

    @property
    def can_be_bounded(self) -> bool:
        """Whether the next rows have numbers to sort by, so that a bound can narrow the query."""
        position = self._position
        return self.order.column.ordered and position is not None and not position.missing and self._growth == 1

    def restart(self, position: Position | None) -> None:
        """Drop the answer to the last query and begin again where that began."""
        self._found = Rows([])
        self._position = position
        self.state = PagerState.READY

    def last_value(self) -> Any:
        """The sort value of the last row of the answer; None where there is none."""
        try:
            return self.order.column.read(self.reader.sort_values(self._found.rows[-1] or {}, self.order))
        except CorruptDocumentError:
            return None

    def rows(self, room: int | None = None) -> list[T]:
        """The rows of the last answer, at most `room` of them; the position moves after them."""
        request, position = self._request, self._position
        assert position is not None
        if request.is_ties:
            if self.state is PagerState.READING:
                return []
            self._found.rows.sort(key=self._tie_key)
        rows: list[T] = []
        reader = self.reader
        is_first, request.is_first_answer = request.is_first_answer, False
        # Once a row is after the position, all that follow are: only for the last one the position is computed.
        passed, is_broken, is_full = not is_first, False, False
        reached: dict[bytes, Any] | None = None
        for row in self._found.rows:
            request.seen += 1
            if row is None:
                # Replaced or deleted since the order was made. In a new order it is a key that has expired, but could
                # also be one that was replaced in that moment.
                if is_first and not passed and not self._recheck_gone:
                    continue
                is_broken = True
                break
            try:
                if not passed:
                    if position.after(reader.sort_values(row, self.order), self.order, reader.ties) is None:
                        continue
                    passed = True
                if len(rows) == room:
                    is_full = True
                    break
                rows.append(reader.decode(row))
                reached = row
            except CorruptDocumentError as error:
                self.corrupt[error.key] = error
                position, reached = self._after(position, reached), None
                position = position.after(reader.sorted_by(row, self.order), self.order, reader.ties) or position
        self._found = Rows([])
        self._position = self._after(position, reached)
        self._advance(is_broken, is_full)
        return rows

    def page(self, rows: list[T], on_corrupt: OnCorrupt = "raise") -> Page[T]:
        """`rows` as the answer to the user.

        Raises:
            CorruptDocumentsError: documents could not be read, and `on_corrupt` is ``"raise"``.
        """
        resume = self.state is PagerState.FULL or (self.cut is not None and self.has_begun)
        page = Page(
            rows,
            self._last.encode(self.order) if resume else None,
            self.cut is None,
            () if self.cut is None else (self.cut,),
            tuple(self.corrupt.values()) if on_corrupt == "skip" else (),
        )
        if self.corrupt and on_corrupt == "raise":
            raise CorruptDocumentsError(tuple(self.corrupt.values()), page)
        return page

    def take_corrupt(self) -> list[CorruptDocumentError]:
        """The documents that could not be read since the last call."""
        found, self.corrupt = list(self.corrupt.values()), {}
        return found

    def _after(self, position: Position, row: dict[bytes, Any] | None) -> Position:
        """The position after the last row that was read."""
        if row is not None:
            try:
                values = self.reader.sort_values(row, self.order)
            except CorruptDocumentError:
                values = self.reader.sorted_by(row, self.order)
            position = self._last = position.after(values, self.order, self.reader.ties) or position
        return position

    def _tie_key(self, row: dict[bytes, Any] | None) -> tuple[str, ...]:
        return tuple((row or {}).get(tie.encode(), b"").decode("utf-8", "replace") for tie in self.reader.ties)

    def _advance(self, is_broken: bool, is_full: bool) -> None:
        """Decide what is next: more rows of this order, another query for this section, or the next section."""
        request = self._request
        has_moved = self._position is not request.start
        if has_moved:
            self._recheck_gone = True
        if is_full or self.cut is not None:
            self.state = PagerState.FULL if is_full else PagerState.CUT
            return
        if is_broken:
            self.cursor.abandon()
            self._recheck_gone = has_moved
            self.state = PagerState.READY
        elif self.state is not PagerState.READING:
            assert self._position is not None
            if request.is_ties:
                self._position = self._position.after_ties(self.order)
            elif request.seen < request.most:
                self._position = self._position.next_section(self.order)
            # Where more rows share the last row's value than were asked for, ask for more.
            self._growth = self._growth * 2 if self._position is request.start else 1
        if self._position is None:
            self.state = PagerState.END
