"""`Queries`: the backend's own names for questions about runs: thin methods over ``backend.runs``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, Literal

from relay_models.backend._async.base import RunT
from relay_models.backend._async.runs import Runs
from relay_models.backend._async.streams import RowStream
from relay_models.columns.column import Column
from relay_models.documents import ARTIFACT_KINDS, Run
from relay_models.errors import QueryError
from relay_models.query.agents import AgentSummary, agents_steps
from relay_models.query.aggregate.groups import AggregateRows
from relay_models.query.aggregate.request import MAX_BUCKETS, Columns
from relay_models.query.options import Filter, OnCorrupt, OnIncomplete, OrderBy
from relay_models.query.paging.page import Page
from relay_models.records import RunRecord

__all__ = ["Queries"]


class Queries(Runs[RunT]):
    """The questions about runs; every method does what the one of `Collection` does that it names."""

    async def find_runs(
        self,
        filter: Filter = None,
        *,
        order_by: OrderBy | None = None,
        limit: int | None = 50,
        after: str | None = None,
        columns: bool = False,
        on_corrupt: OnCorrupt = "raise",
        on_incomplete: OnIncomplete = "raise",
    ) -> Page[RunT]:
        """Find a page of the runs that meet a filter, newest first: `Collection.find` of ``backend.runs``."""
        return await self.runs.find(
            filter,
            order_by=order_by,
            limit=limit,
            after=after,
            columns=columns,
            on_corrupt=on_corrupt,
            on_incomplete=on_incomplete,
        )

    def stream_runs(
        self,
        filter: Filter = None,
        *,
        order_by: OrderBy | None = None,
        columns: bool = False,
        on_corrupt: OnCorrupt = "raise",
        page_size: int = 2000,
    ) -> RowStream[RunT]:
        """Stream all runs that meet a filter, in bounded memory: `Collection.stream` of ``backend.runs``."""
        return self.runs.stream(filter, order_by=order_by, columns=columns, on_corrupt=on_corrupt, page_size=page_size)

    def watch_runs(
        self,
        filter: Filter = None,
        *,
        since: datetime | timedelta | None = None,
        changes: bool = True,
        columns: bool = False,
        interval: float = 1.0,
    ) -> RowStream[RunT]:
        """Watch for runs as they are stored: `Collection.watch` of ``backend.runs``."""
        return self.runs.watch(filter, since=since, changes=changes, columns=columns, interval=interval)

    async def count_runs(self, filter: Filter = None) -> int:
        """Count the runs that meet a filter, exactly: `Collection.count` of ``backend.runs``."""
        return await self.runs.count(filter)

    async def aggregate_runs(
        self,
        by: Columns = (),
        *,
        every: str | timedelta | None = None,
        metrics: str | Sequence[str] = ("count",),
        filter: Filter = None,
        time: str | Column[Any] = "started_at",
        tz: str | tzinfo | None = None,
        fill: bool | tuple[datetime, datetime] = False,
        order_by: str | None = None,
        limit: int | None = None,
        max_buckets: int = MAX_BUCKETS,
        approximate: bool = False,
        on_corrupt: OnCorrupt = "raise",
        on_incomplete: OnIncomplete = "raise",
    ) -> AggregateRows:
        """Group and count the runs that meet a filter: `Collection.aggregate` of ``backend.runs``."""
        return await self.runs.aggregate(
            by,
            every=every,
            metrics=metrics,
            filter=filter,
            time=time,
            tz=tz,
            fill=fill,
            order_by=order_by,
            limit=limit,
            max_buckets=max_buckets,
            approximate=approximate,
            on_corrupt=on_corrupt,
            on_incomplete=on_incomplete,
        )

    async def delete_runs(self, filter: Filter) -> int:
        """Delete the runs that meet a filter and return how many there were: `Collection.delete` of ``backend.runs``.

        Text is text of the filter language: ``delete_runs("agent = planner")``. For everything of an agent, see
        `delete_agent`.
        """
        return await self.runs.delete(filter)

    async def delete_agent(self, agent_id: str, *, what: Literal["runs", "everything"]) -> int:
        """Delete what is stored of an agent, also documents that the index does not show.

        Args:
            agent_id: the agent.
            what: ``"runs"`` deletes its runs; ``"everything"`` also its plan, trie, accumulators, observations and
                stability result (not those of profile keys derived from it).

        Returns:
            How many documents there were.

        Raises:
            QueryError: `what` is neither.
        """
        if what not in ("runs", "everything"):
            raise QueryError(f"what is 'runs' or 'everything', not {what!r}")
        keys = await self._run_keys(agent_id)
        keys += [error.key.encode() for error in await self._unindexed.of_agent(agent_id)]
        if what == "everything":
            keys += [self._keys.document(kind, agent_id) for kind in ARTIFACT_KINDS]
        return await self._store.delete_keys(list(dict.fromkeys(keys)))

    async def latest_run(self, agent_id: str) -> RunRecord | None:
        """The run of an agent that started last, or None."""
        page = await self.runs.find(Run.agent_id == agent_id, limit=1)
        return page.records[0] if page else None

    async def agents(self) -> list[AgentSummary]:
        """Every agent that has runs: how many, how many are running, its latest activity; ordered by name."""
        alias, limit_ms = self._keys.alias("run"), self._store.limit_ms
        return await self._store.questions.run(lambda: agents_steps(alias, limit_ms))
