# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/queries.py by scripts/generate_sync.py: change that, not this.
"""Questions over many documents: runs that a filter finds, how many, agents, artefacts by agent."""

from __future__ import annotations

from collections.abc import Generator, Callable
from contextlib import closing
from datetime import datetime, timedelta, tzinfo
from typing import Any, Literal, TypeVar

from relay_models._gc import collector_paused
from relay_models._time import microseconds_of
from relay_models.backend._sync.reading import Reading
from relay_models.backend._sync.runs import Runs
from relay_models.backend.listing import agents_command
from relay_models.backend.replies import decode_agents
from relay_models.backend.reports import AgentSummary
from relay_models.columns.expressions import Expression
from relay_models.documents import ARTIFACT_KINDS, DOCUMENTS, Document, Find, Run
from relay_models.errors import (
    ConnectionFailedError,
    CorruptDocumentError,
    CorruptDocumentsError,
    InvalidConfigurationError,
    QueryError,
)
from relay_models.query.aggregate.pipeline import AggregateRows, Aggregation, aggregate_steps
from relay_models.query.language.filters import as_expression
from relay_models.query.paging.pager import RunPage, Scan, check_limit, find_steps
from relay_models.query.replies import check_complete
from relay_models.query.steps import Steps
from relay_models.query.tag_values import count_steps
from relay_models.query.watch import Watch
from relay_models.records import RunRecord
from relay_models.transport.sync import sleep

__all__ = ["Queries"]

T = TypeVar("T")
OnCorrupt = Literal["raise", "skip"]
OnIncomplete = Literal["raise", "partial"]

# Rows that are asked for at once: of a page, and of those to be deleted.
_FOUND_AT_ONCE, _DELETED_AT_ONCE = 2000, 1000


class Queries(Runs):
    """The operations that read the index.

    A `filter` is an expression (``Run.agent_id == "planner"``), a query (``Run.find(…)``), text of the filter language
    (``'agent = planner and duration > 2s'``), or None for all.
    """

    def find_runs(
        self,
        filter: Any = None,
        *,
        order_by: Any = None,
        limit: int | None = 50,
        after: str | None = None,
        columns: bool = False,
        on_corrupt: OnCorrupt = "raise",
        on_incomplete: OnIncomplete = "raise",
    ) -> RunPage:
        """The runs that meet a filter, newest first unless `order_by` says otherwise (``"duration"``, ``"-cost"``).

        Gives a page, a sequence of `Run` rows whose ``record`` is the full record; with ``columns=True`` only the
        columns are fetched. ``page.next`` goes into `after` for the next page, which stays right while runs are
        written; `limit` None fetches all.

        Raises `QueryError` and its kin for a query that means nothing, `CorruptDocumentsError` (unless
        ``on_corrupt="skip"``) with the readable rows in ``good``, `IncompleteAnswerError` (unless
        ``on_incomplete="partial"``) where the server stopped at its time limit.
        """
        if isinstance(filter, Find):
            order_by = filter.order if order_by is None else order_by
            limit = limit if filter.count is None else filter.count
        return self._find(
            Run,
            filter,
            order_by="-started_at" if order_by is None else order_by,
            limit=limit,
            after=after,
            columns=columns,
            on_corrupt=on_corrupt,
            on_incomplete=on_incomplete,
        )

    def stream_runs(
        self,
        filter: Any = None,
        *,
        order_by: Any = None,
        columns: bool = False,
        on_corrupt: OnCorrupt = "raise",
        corrupt: list[CorruptDocumentError] | None = None,
        page_size: int = 2000,
    ) -> Generator[Run, None]:
        """All rows that `find_runs` finds, read `page_size` at a time, so that memory is bounded.

        Runs that are stored meanwhile are given or not; all others once, also where a connection is lost. No
        connection is held between two rows. Documents that cannot be read go into `corrupt`, if given; with
        ``on_corrupt="raise"`` they are raised as `CorruptDocumentsError` after the last row.
        """
        limit = None
        if isinstance(filter, Find):
            order_by = filter.order if order_by is None else order_by
            limit = filter.count
        expression = as_expression(filter, Run.columns())
        scan = self._scan(Run, expression, "-started_at" if order_by is None else order_by, not columns)
        reading = self._reading(scan, page_size, limit)
        unreadable: list[CorruptDocumentError] = [] if corrupt is None else corrupt
        try:
            while limit is None or limit > 0:
                rows = reading.page()
                unreadable += scan.take_corrupt()
                if rows is None:
                    break
                if limit is not None:
                    limit -= len(rows)
                rows.reverse()
                while rows:
                    # Taken out, so that a record that was parsed is not kept until the end of the page.
                    yield rows.pop()
        finally:
            reading.close()
        if unreadable and on_corrupt == "raise":
            raise CorruptDocumentsError(unreadable, [])

    def watch_runs(
        self,
        filter: Any = None,
        *,
        since: datetime | timedelta | None = None,
        changes: bool = True,
        columns: bool = False,
        interval: float = 1.0,
        corrupt: list[CorruptDocumentError] | None = None,
    ) -> Generator[Run, None]:
        """Runs as they are stored, for ever, until the loop over them is left; each version of a run once.

        Args:
            filter: as `find_runs` takes it.
            since: begin with what was stored from then on (an aware datetime, or a timedelta before now); by default
                with what is stored once the loop has begun.
            changes: also give a run again whenever it is replaced; otherwise only when it is first stored.
            columns: only fetch the columns.
            interval: seconds between two looks at the store, after one that found nothing.
            corrupt: gets the documents that cannot be read, each once.

        Several processes may store at once. A run that turns up within a minute of the time of storing that is written
        in it is found, whatever else turned up before; so late only comes what waited in a batch or for a connection.
        """
        if interval < 0:
            raise InvalidConfigurationError(f"interval is a number of seconds from 0 on, not {interval!r}")
        now = self._clock.now()
        try:
            start = None if since is None else microseconds_of(since)
        except TypeError:
            raise QueryError(f"since is an aware datetime or a timedelta, not {since!r}") from None
        if isinstance(since, timedelta):
            start = now - microseconds_of(since)
        watch = Watch(as_expression(filter, Run.columns()), Run.updated_at if changes else Run.stored_at, now, start)
        return self._watch(watch, columns, interval, corrupt)

    def _watch(
        self, watch: Watch, columns: bool, interval: float, corrupt: list[CorruptDocumentError] | None
    ) -> Generator[Run, None]:
        unreadable: set[str] = set()
        while True:
            if watch.is_far(self._clock.now()):
                self._set_clock()
            errors: list[CorruptDocumentError] = []
            recent, found = watch.look(self._clock.now()), False
            stream = self.stream_runs(recent, order_by=watch.time, columns=columns, on_corrupt="skip", corrupt=errors)
            with closing(stream) as rows:
                for run in rows:
                    if watch.fresh(run):
                        found = True
                        yield run
            watch.done()
            if corrupt is not None:
                corrupt += [error for error in errors if error.key not in unreadable]
                unreadable.update(error.key for error in errors)
            if not found:
                sleep(interval)

    def count_runs(self, filter: Any = None) -> int:
        """How many runs meet a filter, exactly."""
        alias, expression = self._keys.alias("run"), as_expression(filter, Run.columns())
        return self._converse(lambda: count_steps(alias, expression, limit_ms=self._query_ms))

    def aggregate_runs(
        self,
        by: Any = (),
        *,
        every: str | timedelta | None = None,
        metrics: Any = ("count",),
        filter: Any = None,
        time: Any = "started_at",
        tz: str | tzinfo | None = None,
        fill: bool | tuple[datetime, datetime] = False,
        order_by: str | None = None,
        limit: int | None = None,
        on_corrupt: OnCorrupt = "raise",
        on_incomplete: OnIncomplete = "raise",
    ) -> AggregateRows:
        """Count up the runs that meet a filter, by columns, by spans of time, or both.

        Args:
            by: columns to group by, also columns of several texts: a run counts in each of its groups.
            every: a span such as ``"1h"`` or ``"1d"``; rows then begin with the ``bucket`` that their runs fell in.
            metrics: ``count``, ``sum(total_tokens)``, ``avg``, ``min``, ``max``, ``stddev``, ``p95(duration)``,
                ``distinct(models)`` and so on.
            filter: as `find_runs` takes it.
            time: the column whose times are put into buckets.
            tz: the zone in which days and hours begin; UTC by default.
            fill: also give buckets without runs: between the first and the last, or between two given instants.
            order_by: a column of the rows, with ``-`` in front for descending; by bucket and groups otherwise.
            limit: at most so many rows.

        Raises `QueryError` and its kin for what cannot be counted up, and what `find_runs` raises for documents that
        cannot be read and answers that are cut short.
        """
        ask = Aggregation.parse(
            Run.columns(),
            by=by,
            every=every,
            metrics=metrics,
            time=time,
            tz=tz,
            fill=fill,
            order_by=order_by,
            limit=limit,
        )
        expression = as_expression(filter, Run.columns())
        return self._converse(
            lambda: aggregate_steps(
                Run,
                self._keys.alias("run"),
                expression,
                ask,
                limit_ms=self._query_ms,
                on_corrupt=on_corrupt,
                on_incomplete=on_incomplete,
            )
        )

    def latest_run(self, agent_id: str) -> RunRecord | None:
        """The run of an agent that started last, or None."""
        page = self.find_runs(Run.agent_id == agent_id, limit=1)
        return page.records[0] if page else None

    def find_artifacts(
        self,
        kind: Literal["plan", "trie", "accumulators", "observations", "stability"],
        filter: Any = None,
        *,
        order_by: Any = "agent_id",
        limit: int | None = 50,
        after: str | None = None,
        columns: bool = True,
        on_corrupt: OnCorrupt = "raise",
        on_incomplete: OnIncomplete = "raise",
    ) -> RunPage:
        """The artefacts of a kind, one row per agent: who has one, and when it was last written (``updated_at``).

        Takes what `find_runs` takes, with the columns of the kind's document (``Plan.agent_id == "planner"``).
        """
        if kind not in ARTIFACT_KINDS:
            names = ", ".join(map(repr, ARTIFACT_KINDS))
            raise QueryError(f"there are no artefacts of the kind {kind!r}: it is one of {names}")
        return self._find(
            DOCUMENTS[kind],
            filter,
            order_by=order_by,
            limit=limit,
            after=after,
            columns=columns,
            on_corrupt=on_corrupt,
            on_incomplete=on_incomplete,
        )

    def agents(self) -> list[AgentSummary]:
        """Every agent that has runs: how many, how many are running, its latest activity; ordered by name."""
        command = agents_command(self._keys.alias("run"), self._query_ms)
        answer = self._ask(command)
        found, warnings = decode_agents(answer.reply)
        check_complete(warnings, answer, self._query_ms, False, found)
        return found

    def delete_runs(self, which: Any) -> int:
        """Delete the runs of an agent (text: its id) or those that meet an expression; how many there were.

        An expression is one of `Run`'s columns or what `relay_models.query.parse_filter` makes of text.
        """
        if which is None:
            raise QueryError("delete_runs takes an agent id or an expression; None is neither")
        deleted = 0
        if isinstance(which, str):
            for rows in self._key_pages(which):
                deleted += self._delete_keys([row.key for row in rows])
            strays = self._strays.of_agent(which)
            return deleted + self._delete_keys([error.key.encode() for error in strays])
        scan = self._scan(Run, as_expression(which, Run.columns()), "stored_at", bodies=False)
        reading = self._reading(scan, _DELETED_AT_ONCE)
        try:
            found: list[Any] | None = []
            while found is not None:
                found = reading.page()
                keys = [self._keys.run(row.agent_id, row.run_id) for row in found or ()]
                deleted += self._delete_keys([*keys, *(error.key.encode() for error in scan.take_corrupt())])
        finally:
            reading.close()
        return deleted

    def _find(
        self,
        document: type[Document],
        filter: Any,
        *,
        order_by: Any,
        limit: int | None,
        after: str | None,
        columns: bool,
        on_corrupt: OnCorrupt,
        on_incomplete: OnIncomplete,
    ) -> RunPage:
        expression = as_expression(filter, document.columns())
        check_limit(limit)
        if limit is not None and limit <= _FOUND_AT_ONCE:
            return self._converse(
                lambda: find_steps(
                    document,
                    self._keys.alias(document.kind),
                    expression,
                    order_by=order_by,
                    limit=limit,
                    after=after,
                    bodies=not columns,
                    limit_ms=self._query_ms,
                    on_corrupt=on_corrupt,
                    on_incomplete=on_incomplete,
                    page_size=_FOUND_AT_ONCE + 2,
                    landmarks=self._landmarks,
                )
            )
        scan = self._scan(document, expression, order_by, not columns, after, on_incomplete)
        reading = self._reading(scan, _FOUND_AT_ONCE, limit)
        rows: list[Any] = []
        try:
            while (more := reading.page()) is not None:
                rows += more
        finally:
            reading.close()
        return scan.page(rows, on_corrupt)

    def _scan(
        self,
        document: type[Document],
        filter: Expression,
        order_by: Any,
        bodies: bool,
        after: str | None = None,
        on_incomplete: OnIncomplete = "raise",
    ) -> Scan:
        return Scan(
            document,
            self._keys.alias(document.kind),
            filter,
            order_by=order_by,
            after=after,
            bodies=bodies,
            limit_ms=self._query_ms,
            on_incomplete=on_incomplete,
        )

    def _reading(self, scan: Scan, page_size: int, limit: int | None = None) -> Reading:
        self._converse(scan.open)
        return Reading(self._link, self._indexes, scan, page_size, limit)

    def _converse(self, make_steps: Callable[[], Steps[T]]) -> T:
        """Send the commands that the steps give, and give them the answers, until they have their result.

        A connection lost between two reads of a cursor loses rows, so all begins anew then, as often as is allowed.
        """
        for attempt in range(self._link.retries + 1):
            steps = make_steps()
            try:
                command = next(steps)
                while True:
                    reading_on = command[0] == "FT.CURSOR"
                    try:
                        answer = self._ask(command, once=reading_on)
                    except ConnectionFailedError:
                        if not reading_on or attempt == self._link.retries:
                            raise
                        break
                    with collector_paused():
                        command = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
        raise AssertionError("the last attempt returns or raises")
