"""Rows of documents in a total order: a page of them, or all, part after part, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from relay_models.columns.expressions import Compare, Expression, all_of
from relay_models.errors import CorruptDocumentError, CorruptDocumentsError, QueryError
from relay_models.query.compiler import compile_filter
from relay_models.query.paging.order import Order, Place, by_groups
from relay_models.query.paging.page_bounds import Landmarks
from relay_models.query.replies import Rows, check_complete, decode_cursor, decode_rows, decode_values
from relay_models.query.rows import row_reader
from relay_models.query.steps import Answer, Command, Steps
from relay_models.query.tag_values import value_steps

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["ORDERED_AT_ONCE", "OnCorrupt", "OnIncomplete", "RunPage", "Scan", "check_limit", "find_steps"]

OnCorrupt = Literal["raise", "skip"]
OnIncomplete = Literal["raise", "partial"]

# A server keeps the order of so many rows (some 80 bytes each) for one cursor; then the rest is put in order anew.
ORDERED_AT_ONCE = 200_000
# Milliseconds after which a server lets go of a cursor that nobody reads on from.
_CURSOR_IDLE_MS = 60_000


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
        from relay_models._gc import collector_paused

        with collector_paused():
            return [row.record for row in self.rows]


class Scan:
    """A walk over the documents that meet a filter, in an order that is total: whoever does the I/O asks `command`,
    gives the answer to `take`, and gets its rows from `rows`, until there is no command any more.

    A part begins after the sort value and the id of the row before it, never at an offset. Within a part a cursor may
    give the rows piece by piece, so that the server puts them in order once and not for each piece. Its order is that
    of the moment at which it was made, but it gives nothing for a document that was replaced or deleted since: then,
    or when the cursor is lost, what is left is put in order anew, after the last row.

    Raises:
        QueryError: a column that cannot be sorted by, or a cursor of another query.
    """

    def __init__(
        self,
        document: type[Document],
        alias: str,
        filter: Expression,
        *,
        order_by: Any = "-started_at",
        after: str | None = None,
        bodies: bool = True,
        limit_ms: int = 0,
        on_incomplete: OnIncomplete = "raise",
    ) -> None:
        self.order = Order.parse(order_by, document.columns())
        self.more = False
        """There are rows after the last one given; known where fewer were asked for than there are."""
        self.cut: str | None = None
        """Why the server's last answer may lack something."""
        self.corrupt: dict[str, CorruptDocumentError] = {}
        self._alias = alias
        self._filter = filter
        self._limit_ms = limit_ms
        self._partial = on_incomplete == "partial"
        self._reader = row_reader(document, bodies)
        self._values: dict[str, Sequence[str]] = {}
        self._place: Place | None = Place() if after is None else Place.decode(after, self.order)
        self._last: Place = self._place or Place()
        self._before = self._place
        self._found = Rows([])
        self._most = self._answered = 0
        self._stretch = 1
        self._fresh = self._patient = True
        self._cursor = 0
        self._stale = 0
        self._question: tuple[int, int] | None = None
        self._narrowed = self._in_full = False

    @property
    def begun(self) -> bool:
        """Whether there is a last row, after which the walk goes on."""
        return bool(self._last.ties)

    def open(self) -> Steps[None]:
        """Ask for the values that patterns are applied to, and those of a text to sort by."""
        column = self.order.column
        self._values = dict((yield from value_steps(self._alias, self._filter, self._limit_ms)))
        if by_groups(column) and column.name not in self._values:
            self._values[column.name] = decode_values((yield ["FT.TAGVALS", self._alias, column.name]).reply)

    def command(self, most: int, at_once: int | None = None, landmarks: Landmarks | None = None) -> Command | None:
        """What asks for the next `most` rows, through a cursor if only some are wanted `at_once`; None at the end.

        With `landmarks` the first page is only looked for where it was the last time: see `is_enough`.
        """
        while self._place is not None:
            bounds = self._place.bounds(self.order, self._values)
            self._question, self._narrowed = None, False
            if landmarks is not None and self.order.column.ordered and self._place == Place():
                order = (self._alias, str(self.order), most)
                self._question = hash((order, self._filter)), hash(order)
                reached = None if self._in_full else landmarks.get(*self._question)
                if reached is not None:
                    bounds = [Compare(self.order.column, ">=" if self.order.descending else "<=", reached)]
                    self._narrowed = True
            compiled = compile_filter(all_of([self._filter, *bounds]), self._values)
            if not compiled.nothing:
                break
            self._place = self._place.further(self.order)
        else:
            return None
        self._before, self._fresh, self._answered = self._place, True, 0
        self._most = most = most * self._stretch
        reader = self._reader
        sort = [f"@{self.order.column.name}", "DESC" if self.order.descending else "ASC"]
        sort += [part for tie in reader.ties if tie != self.order.column.name for part in (f"@{tie}", "ASC")]
        cursor = [] if at_once is None else ["WITHCURSOR", "COUNT", at_once, "MAXIDLE", _CURSOR_IDLE_MS]
        return [
            *("FT.AGGREGATE", self._alias, compiled.query, *self._place.filter(self.order, reader.ties)),
            *("SORTBY", len(sort), *sort, "MAX", most, "LIMIT", 0, most),
            *("LOAD", len(reader.load), *reader.load, *cursor),
            *(*compiled.arguments(), "TIMEOUT", self._limit_ms, "DIALECT", 2),
        ]

    def take(self, answer: Answer, cursor: bool = False) -> None:
        """Note the answer to a command; `cursor` says that it came through one."""
        if cursor:
            self._found, self._cursor = decode_cursor(answer.reply)
        else:
            self._found = decode_rows(answer.reply)
        self.cut = check_complete(self._found.warnings, answer, self._limit_ms, self._partial)

    def is_enough(self, landmarks: Landmarks, elapsed_ms: float) -> bool:
        """Whether the answer is that to the whole question: not if it was narrowed and has fewer rows than it may.

        Notes in `landmarks` where it ends, and how long it took.
        """
        if self._question is None or self.cut is not None:
            return True
        rows = self._found.rows
        if not self._narrowed:
            landmarks.took(elapsed_ms)
        landmarks.forget(self._question[0])
        if len(rows) == self._most and None not in rows:
            name = self.order.column.name
            with suppress(CorruptDocumentError):
                first, last = (self._reader.values(rows[place] or {})[name] for place in (0, -1))
                if first is not None and last is not None:
                    landmarks.put(*self._question, first, last)
        self._in_full = self._narrowed and len(rows) < self._most
        return not self._in_full

    def reading_on(self, at_once: int) -> Command | None:
        """What asks the cursor for its next rows, if there are more. It must not be sent twice: each is given once."""
        if not self._cursor or self.cut is not None:
            return None
        return ["FT.CURSOR", "READ", self._alias, self._cursor, "COUNT", at_once]

    def lose(self) -> None:
        """The cursor is lost: go on after the last row, by a new one."""
        self._cursor = 0

    def forget(self) -> Command | None:
        """What deletes a cursor that is not read to its end, if there is one."""
        cursor, self._cursor, self._stale = self._cursor or self._stale, 0, 0
        return ["FT.CURSOR", "DEL", self._alias, cursor] if cursor else None

    def rows(self, room: int | None = None) -> list[Any]:
        """The rows of the answer taken last, but at most `room`; the walk goes on after them."""
        rows: list[Any] = []
        reader, place = self._reader, self._place
        assert place is not None
        fresh, self._fresh = self._fresh, False
        # Once a row is after the place, all that follow are: where they end is only worked out for the last one.
        passed = not fresh
        broken = False
        reached: dict[bytes, Any] | None = None
        for row in self._found.rows:
            self._answered += 1
            if row is None:
                # Replaced or deleted since the order was made. In a new order it is a key that has expired, but could
                # also be one that was replaced in that moment, so it is asked for once more.
                if fresh and not passed and not self._patient:
                    continue
                broken = True
                break
            try:
                if not passed:
                    if place.after(reader.values(row), self.order, reader.ties) is None:
                        continue
                    passed = True
                if len(rows) == room:
                    self.more = True
                    break
                rows.append(reader.document_of(row))
                reached = row
            except CorruptDocumentError as error:
                self.corrupt[error.key] = error
                place, reached = self._after(place, reached), None
                place = place.after(reader.sorted_by(row, self.order), self.order, reader.ties) or place
        self._found = Rows([])
        self._place = self._after(place, reached)
        self._go_on(broken)
        return rows

    def page(self, rows: list[Any], on_corrupt: OnCorrupt = "raise") -> RunPage:
        """`rows` as the answer to the user. Raises `CorruptDocumentsError` for documents that cannot be read."""
        resume = self.more or (self.cut is not None and self.begun)
        page = RunPage(
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
        """The documents that could not be read since this was asked last."""
        found, self.corrupt = list(self.corrupt.values()), {}
        return found

    def _after(self, place: Place, row: dict[bytes, Any] | None) -> Place:
        """The place after the last row that was read."""
        if row is not None:
            values = self._reader.values(row)
            place = self._last = place.after(values, self.order, self._reader.ties) or place
        return place

    def _go_on(self, broken: bool) -> None:
        """Decide what is next: more of this order, a new one of the rest of this part, or the next part."""
        moved = self._place is not self._before
        if moved:
            self._patient = True
        if self.more or self.cut is not None:
            return
        if broken:
            self._stale, self._cursor = self._cursor, 0
            self._patient = moved
        elif not self._cursor:
            if self._answered < self._most and self._place is not None:
                self._place = self._place.further(self.order)
            # Where more rows share the last row's value than were asked for, ask for more.
            self._stretch = self._stretch * 2 if self._place is self._before else 1


def check_limit(limit: int | None) -> None:
    """Raise `QueryError` for what is no limit."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise QueryError(f"limit is a number of rows from 0 on, or None for all, not {limit!r}")


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
    landmarks: Landmarks | None = None,
) -> Steps[RunPage]:
    """A page of a `Scan`, by commands that may all be sent twice; `limit` None is for all rows.

    With `landmarks`, a first page that has been asked for before is looked for where it was then.

    Raises:
        QueryError: a limit below 0, a column that cannot be sorted by, or a cursor of another query.
        CorruptDocumentsError: documents that cannot be read (with ``on_corrupt="raise"``); ``good`` is the page.
        IncompleteAnswerError: the server stopped at its time limit (with ``on_incomplete="raise"``).
    """
    check_limit(limit)
    scan = Scan(
        document,
        alias,
        filter,
        order_by=order_by,
        after=after,
        bodies=bodies,
        limit_ms=limit_ms,
        on_incomplete=on_incomplete,
    )
    if limit == 0:
        return RunPage([], after)
    yield from scan.open()
    rows: list[Any] = []
    while not scan.more and scan.cut is None:
        room = None if limit is None else limit - len(rows)
        # One row more tells whether there is a next page, and the row after which this one begins comes again.
        most = page_size if room is None else min(page_size, room + (2 if scan.begun else 1))
        command = scan.command(most, landmarks=None if room is None else landmarks)
        if command is None:
            break
        answer = yield command
        scan.take(answer)
        if landmarks is None or scan.is_enough(landmarks, answer.elapsed_ms):
            rows += scan.rows(room)
    return scan.page(rows, on_corrupt)
