"""`Collection`: the documents of one type in a store, and every question about them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta, tzinfo
from typing import Any, Generic, TypeVar
from uuid import UUID

from relay_models._checks import check_count, check_seconds, shown
from relay_models._gc import collector_paused
from relay_models._time import microseconds_of
from relay_models.backend._async.reading import PageReader
from relay_models.backend._async.store import Store
from relay_models.backend._async.streams import RowStream
from relay_models.columns.column import Column
from relay_models.columns.expressions import Equal, Everything, Expression, all_of
from relay_models.documents import Document, Find
from relay_models.errors import (
    CorruptDocumentError,
    CorruptDocumentsError,
    FilterSyntaxError,
    QueryError,
)
from relay_models.query.aggregate.groups import AggregateRows
from relay_models.query.aggregate.pipeline import aggregate_steps
from relay_models.query.aggregate.request import MAX_BUCKETS, Aggregation, Columns
from relay_models.query.language.filters import as_expression
from relay_models.query.options import Filter, OnCorrupt, OnIncomplete, OrderBy, check_limit, check_outcomes
from relay_models.query.order import Order
from relay_models.query.paging.find import find_steps
from relay_models.query.paging.page import Page
from relay_models.query.paging.pager import Pager
from relay_models.query.rows import RowReader, row_reader
from relay_models.query.tag_values import count_steps
from relay_models.query.watch import Watch
from relay_models.transport import raise_if_cancelled, sleep

__all__ = ["Collection", "explicit_filter"]

D = TypeVar("D", bound=Document)
T = TypeVar("T")

# Maximum rows that are read by one query without a cursor, and deleted by one pipeline.
_ROWS_PER_QUERY, _DELETED_AT_ONCE = 2000, 1000
# Maximum seconds between two looks of a watch (a day).
_LONGEST_INTERVAL = 86_400


class Collection(Generic[D]):
    """The documents of one type, reached as ``backend.runs``, ``backend.plans`` and so on.

    A `filter` is an expression (``Run.agent_id == "planner"``), a query (``Run.find(…)``), text of the filter language
    (``"agent = planner and duration > 2s"``), or None for all documents.

    Example:
        ```python
        page = await backend.runs.find("status = running", order_by="started_at", limit=10)
        async for plan in backend.plans.stream():
            print(plan.agent_id, plan.groups)
        ```
    """

    # What deletes one document, for the message where `delete` is given an id.
    _delete_one = "backend.delete_plan(agent_id) and its like delete one document"

    def __init__(self, store: Store, document: type[D]) -> None:
        self.document = document
        self._store = store
        self._alias = store.keys.alias(document._kind)
        self._columns = document.columns()
        self._has_runs = document._kind == "run"
        self._newest_first = "-started_at" if self._has_runs else "agent_id"
        self._time = "started_at" if self._has_runs else "updated_at"
        if document.is_own_model():
            self._newest_first, self._time = "-stored_at", "stored_at"

    async def find(
        self,
        filter: Filter = None,
        *,
        order_by: OrderBy | None = None,
        limit: int | None = 50,
        after: str | None = None,
        columns: bool = False,
        on_corrupt: OnCorrupt = "raise",
        on_incomplete: OnIncomplete = "raise",
    ) -> Page[D]:
        """Find a page of the documents that meet a filter.

        Args:
            filter: which documents; all by default.
            order_by: the column to sort by (``"duration"``, ``"-cost"``); runs are sorted newest first by
                default, other documents by agent.
            limit: maximum number of rows; None for all.
            after: ``page.next`` of the page before. Pages stay right while documents are written.
            columns: fetch only the columns; the rows then have no ``record``.
            on_corrupt: ``"skip"`` collects documents that cannot be read in ``page.corrupt``.
            on_incomplete: ``"partial"`` allows an answer that the server cut short at its time limit.

        Returns:
            A page, a sequence of rows. ``page.next`` is the cursor of the next page, None at the end.

        Raises:
            QueryError: the query means nothing; subclasses say what is wrong.
            CorruptDocumentsError: documents cannot be read; ``good`` is the page of the others.
            IncompleteAnswerError: the server stopped at its time limit.
        """
        expression, order_by, count = self._parts(filter, order_by)
        limit = limit if count is None else count
        check_limit(limit)
        check_outcomes(on_corrupt=on_corrupt, on_incomplete=on_incomplete)
        if limit is not None and limit <= _ROWS_PER_QUERY:
            return await self._store.questions.run(
                lambda: find_steps(
                    self.document,
                    self._alias,
                    expression,
                    order_by=order_by,
                    limit=limit,
                    after=after,
                    bodies=not columns,
                    limit_ms=self._store.limit_ms,
                    on_corrupt=on_corrupt,
                    on_incomplete=on_incomplete,
                    page_size=_ROWS_PER_QUERY + 2,
                    result_limit=self._store.result_limit,
                    bounds=self._store.page_bounds,
                )
            )
        pager = self._pager(expression, order_by, row_reader(self.document, not columns), after, on_incomplete)
        reader = await self._reader(pager, _ROWS_PER_QUERY, limit, self._store.questions)
        rows: list[D] = []
        try:
            with collector_paused():
                while (more := await reader.page()) is not None:
                    rows += more
        finally:
            await reader.close()
        return pager.page(rows, on_corrupt)

    def stream(
        self,
        filter: Filter = None,
        *,
        order_by: OrderBy | None = None,
        columns: bool = False,
        on_corrupt: OnCorrupt = "raise",
        page_size: int = 2000,
    ) -> RowStream[D]:
        """Stream all documents that meet a filter, in bounded memory.

        Documents that are stored meanwhile are given or not; all others once, also where a connection is lost. No
        connection is held between two rows.

        Args:
            filter: which documents; all by default.
            order_by: the column to sort by, as `find` takes it.
            columns: fetch only the columns.
            on_corrupt: ``"raise"`` raises `CorruptDocumentsError` after the last row; ``"skip"`` does not.
            page_size: maximum rows that are read at a time.

        Returns:
            An async iterator of rows. Documents that cannot be read are in its ``corrupt``.
        """
        check_count("page_size", page_size)
        return self._stream(self._store.questions, filter, order_by, columns, on_corrupt, page_size)

    async def count(self, filter: Filter = None) -> int:
        """Count the documents that meet a filter, exactly."""
        expression = as_expression(filter, self._columns)
        return await self._store.questions.run(
            lambda: count_steps(self._alias, expression, limit_ms=self._store.limit_ms)
        )

    async def aggregate(
        self,
        by: Columns = (),
        *,
        every: str | timedelta | None = None,
        metrics: str | Sequence[str] = ("count",),
        filter: Filter = None,
        time: str | Column[Any] | None = None,
        tz: str | tzinfo | None = None,
        fill: bool | tuple[datetime, datetime] = False,
        order_by: str | None = None,
        limit: int | None = None,
        max_buckets: int = MAX_BUCKETS,
        approximate: bool = False,
        on_corrupt: OnCorrupt = "raise",
        on_incomplete: OnIncomplete = "raise",
    ) -> AggregateRows:
        """Group and count the documents that meet a filter, by columns, by spans of time, or both.

        Args:
            by: columns to group by, also columns of several texts: a document counts in each of its groups.
            every: a span such as ``"1h"`` or ``"1d"``; rows then begin with the ``bucket`` of their documents.
            metrics: ``count``, ``sum(total_tokens)``, ``avg``, ``min``, ``max``, ``stddev``, ``p95(duration)``,
                ``distinct(models)`` and so on.
            filter: which documents; all by default.
            time: the column whose times are put into buckets; ``started_at`` of runs by default, else ``updated_at``.
            tz: the zone in which days and hours begin; UTC by default.
            fill: also give buckets without documents: between the first and the last, or between two given instants.
            order_by: a column of the rows, with ``-`` in front for descending; by bucket and groups otherwise.
            limit: maximum number of rows; None for all.
            max_buckets: maximum number of rows that `fill` may make.
            approximate: allow the server's estimates of percentiles, standard deviations and distinct values, where
                they are quicker; ``estimated`` of the rows names the metrics that are estimates.
            on_corrupt: ``"skip"`` leaves out documents that cannot be read.
            on_incomplete: ``"partial"`` allows an answer that the server cut short at its time limit.

        Raises:
            QueryError: it cannot be aggregated so, or `fill` would make more rows than `max_buckets`.
            CorruptDocumentsError: documents cannot be read; ``good`` has the rows of the others.
            IncompleteAnswerError: the server stopped at its time limit.
        """
        check_outcomes(on_corrupt=on_corrupt, on_incomplete=on_incomplete)
        request = Aggregation.parse(
            self._columns,
            by=by,
            every=every,
            metrics=metrics,
            time=time or self._time,
            tz=tz,
            fill=fill,
            order_by=order_by,
            limit=limit,
            max_buckets=max_buckets,
            approximate=approximate,
        )
        expression = as_expression(filter, self._columns)
        return await self._store.questions.run(
            lambda: aggregate_steps(
                self.document,
                self._alias,
                expression,
                request,
                limit_ms=self._store.limit_ms,
                on_corrupt=on_corrupt,
                on_incomplete=on_incomplete,
                limit=self._store.result_limit,
            )
        )

    def watch(
        self,
        filter: Filter = None,
        *,
        since: datetime | timedelta | None = None,
        changes: bool = True,
        columns: bool = False,
        interval: float = 1.0,
    ) -> RowStream[D]:
        """Watch for documents as they are stored, until the loop over them is left; each version of one once.

        Several processes may store at once. A document that appears within a minute of the time of storing that is
        written in it is found, whatever else appeared before; only what waited in a batch or for a connection comes
        as late as that.

        Args:
            filter: which documents; all by default.
            since: begin with what was stored from then on (an aware datetime, or a timedelta before now); by default
                with what is stored once the loop has begun.
            changes: also give a document again whenever it is replaced; otherwise only when it is first stored.
            columns: fetch only the columns.
            interval: seconds between two queries, after one that found nothing.

        Returns:
            An async iterator without an end. Documents that cannot be read are in its ``corrupt``, each once.

        Raises:
            QueryError: `since` is neither; or documents of this type have no time at which they were first stored.
            InvalidConfigurationError: an `interval` that is negative or longer than a day.
        """
        check_seconds("interval", interval, most=_LONGEST_INTERVAL)
        try:
            start = None if since is None else microseconds_of(since)
        except TypeError:
            raise QueryError(f"since is an aware datetime or a timedelta, not {shown(since)}") from None
        if isinstance(since, timedelta):
            start = self._store.clock.now() - microseconds_of(since)
        time = self._columns.get("updated_at" if changes else "stored_at")
        if time is None:
            raise QueryError(f"{self.document.__name__} documents are replaced whole: watch them with changes=True")
        watch = Watch(as_expression(filter, self._columns), time, start)
        return RowStream(lambda corrupt: self._watch(watch, columns, interval, corrupt), self.document)

    async def get(self, agent_id: str, run_id: UUID | str | None = None) -> D | None:
        """Get one document with its record: a run by agent and run id, any other by agent; None where there is none.

        Raises:
            QueryError: a run id is missing, or given for a document that has none.
            InvalidRecordError: an agent id that is no text, or a run id that is no UUID.
            CorruptDocumentsError: the document cannot be read.
        """
        if (run_id is not None) != self._has_runs:
            names = "agent_id, run_id" if self._has_runs else "agent_id"
            raise QueryError(f"a {self.document.__name__} is got by {names}")
        self._store.keys.document(self.document._kind, agent_id)  # that it can be one
        parts = [Equal(self._columns["agent_id"], agent_id)]
        if run_id is not None:
            self._store.keys.run(agent_id, run_id)
            parts.append(Equal(self._columns["run_id"], str(run_id).lower()))
        # There is one at most: no bound of a page is looked for, and no order by agent, which would list all agents.
        page = await self._store.questions.run(
            lambda: find_steps(
                self.document,
                self._alias,
                all_of(parts),
                order_by=self._time,
                limit=1,
                limit_ms=self._store.limit_ms,
                result_limit=self._store.result_limit,
            )
        )
        return page[0] if page else None

    async def delete(self, filter: Filter) -> int:
        """Delete the documents that meet a filter.

        Args:
            filter: which documents. Everything has to be spelled out: ``"all"`` or `relay_models.query.every_run()`.

        Returns:
            How many there were.

        Raises:
            QueryError: the filter is None or empty, or a query with a limit.
        """
        expression = explicit_filter(filter, self._columns, self._delete_one)
        reader = row_reader(self.document, False)
        # The time of storing has the fewest ties.
        order = "stored_at" if "stored_at" in self._columns else "agent_id"
        pages = await self._reader(self._pager(expression, order, reader), _DELETED_AT_ONCE)
        deleted = 0
        try:
            found: list[D] | None = []
            while found is not None:
                found = await pages.page()
                keys = [self._key(row) for row in found or ()]
                keys += [error.key.encode() for error in pages.pager.take_corrupt()]
                deleted += await self._store.delete_keys(keys)
        finally:
            await pages.close()
        return deleted

    async def read(
        self,
        filter: Expression,
        order: Order,
        reader: RowReader[T],
        page_size: int,
        limit: int | None = None,
        store: Store | None = None,
    ) -> PageReader[T]:
        """Read the pages of a filter with a decoder of one's own (internal: for lists of records)."""
        pager = Pager(
            self._alias,
            filter,
            order,
            reader,
            limit_ms=self._store.limit_ms,
            limit=self._store.result_limit,
        )
        return await self._reader(pager, page_size, limit, store)

    def _stream(
        self,
        store: Store,
        filter: Filter,
        order_by: OrderBy | None,
        columns: bool,
        on_corrupt: OnCorrupt,
        page_size: int = 2000,
    ) -> RowStream[D]:
        check_outcomes(on_corrupt=on_corrupt)
        expression, order_by, limit = self._parts(filter, order_by)
        pager = self._pager(expression, order_by, row_reader(self.document, not columns))
        return RowStream(lambda corrupt: self._rows(store, pager, page_size, limit, on_corrupt, corrupt), self.document)

    async def _rows(
        self,
        store: Store,
        pager: Pager[D],
        page_size: int,
        limit: int | None,
        on_corrupt: OnCorrupt,
        corrupt: list[CorruptDocumentError],
    ) -> AsyncGenerator[D, None]:
        reader = await self._reader(pager, page_size, limit, store)
        try:
            while limit is None or limit > 0:
                rows = await reader.page()
                corrupt += pager.take_corrupt()
                if rows is None:
                    break
                if limit is not None:
                    limit -= len(rows)
                rows.reverse()
                while rows:
                    # Taken out, so that a record that was parsed is not kept until the end of the page.
                    yield rows.pop()
        finally:
            await reader.close()
        if corrupt and on_corrupt == "raise":
            raise CorruptDocumentsError(corrupt, [])

    async def _watch(
        self, watch: Watch, columns: bool, interval: float, corrupt: list[CorruptDocumentError]
    ) -> AsyncGenerator[D, None]:
        known: set[str] = set()
        while True:
            raise_if_cancelled()
            await self._store.read_clock()
            clock, found = self._store.clock, False
            recent = watch.look(clock.server_now(), clock.mark() // 1000, clock.limit())
            stream = self._stream(self._store, recent, watch.time, columns, "skip")
            async with aclosing(stream):
                async for row in stream:
                    if watch.fresh(row):
                        found = True
                        yield row
            watch.done()
            corrupt += [error for error in stream.corrupt if error.key not in known]
            known.update(error.key for error in stream.corrupt)
            if not found:
                await sleep(interval)

    def _parts(self, filter: Filter, order_by: OrderBy | None) -> tuple[Expression, OrderBy, int | None]:
        """The expression, the order and the limit that a filter and an order mean."""
        limit = None
        if isinstance(filter, Find):
            order_by = filter.order if order_by is None else order_by
            limit = filter.count
        return as_expression(filter, self._columns), self._newest_first if order_by is None else order_by, limit

    def _pager(
        self,
        filter: Expression,
        order_by: OrderBy,
        reader: RowReader[T],
        after: str | None = None,
        on_incomplete: OnIncomplete = "raise",
    ) -> Pager[T]:
        return Pager(
            self._alias,
            filter,
            Order.parse(order_by, self._columns),
            reader,
            after=after,
            limit_ms=self._store.limit_ms,
            limit=self._store.result_limit,
            on_incomplete=on_incomplete,
        )

    async def _reader(
        self, pager: Pager[T], page_size: int, limit: int | None = None, store: Store | None = None
    ) -> PageReader[T]:
        store = store or self._store
        await store.run(pager.open)
        return PageReader(store, pager, page_size, limit)

    def _key(self, row: D) -> bytes:
        values: Any = row
        if self.document.is_own_model():
            return self._store.keys.item(self.document._kind, values.pk)
        if self._has_runs:
            return self._store.keys.run(values.agent_id, values.run_id)
        return self._store.keys.document(self.document._kind, values.agent_id)


def explicit_filter(filter: Filter, columns: dict[str, Column[Any]], for_one: str) -> Expression:
    """The expression of a call that changes what meets it, which must not mean more than it says by accident.

    Args:
        filter: as the caller gave it.
        columns: the columns that it may name.
        for_one: what to call for one document; named where an id was given.
    """
    if isinstance(filter, Find) and filter.count is not None:
        raise QueryError("a query with a limit changes nothing: what it finds depends on the moment; pass a filter")
    try:
        expression = as_expression(filter, columns)
    except QueryError as error:
        if isinstance(filter, str) and not any(sign in filter for sign in " =<>~"):
            raise FilterSyntaxError(f"{shown(filter)} is no filter; {for_one}", filter) from error
        if isinstance(filter, Document | UUID) or (
            isinstance(filter, tuple) and not any(isinstance(part, Expression) for part in filter)
        ):
            raise QueryError(f"{shown(filter)} is no filter; {for_one}") from error
        raise
    if isinstance(expression, Everything) and not isinstance(filter, Everything | str):
        raise QueryError("no filter would mean everything; say so with 'all' or relay_models.query.every_run()")
    return expression
