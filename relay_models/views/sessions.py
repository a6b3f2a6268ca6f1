"""`session_page`: sessions with their numbers, the latest first, whatever the number of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from relay_models._checks import shown
from relay_models.columns.expressions import Expression
from relay_models.errors import QueryError
from relay_models.query.language.filters import as_expression

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["SessionPage", "SessionSummary", "read_before", "session_page"]

_METRICS = (
    "count", "min(started_at)", "max(started_at)", "max(ended_at)", "sum(total_tokens)", "sum(cost)",
    "sum(estimated_cost)", "sum(failed_calls)",
)  # fmt: skip
# Runs that are read at a time while sessions are looked for; each read finds one that was not known.
_RUNS = 200
_SPANS = (timedelta(minutes=10), timedelta(hours=6), timedelta(days=6))


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session and its runs, of those that meet the filter."""

    session_id: str
    runs: int
    failed_runs: int
    failed_calls: int
    first_started_at: datetime | None
    last_started_at: datetime
    last_ended_at: datetime | None
    total_tokens: float | None
    cost: float | None
    """What the providers told, and estimates where they told nothing."""
    agents: tuple[str, ...]
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, and the instant to begin the next page before; None where there are no more."""

    sessions: tuple[SessionSummary, ...]
    before: datetime | None


def session_page(
    backend: RedisBackend, where: str | None, *, limit: int = 50, before: datetime | None = None
) -> SessionPage:
    """Find the sessions whose latest runs are the newest, with numbers over all of their runs.

    Only the runs of these sessions are aggregated: what a page costs does not grow with the store.

    Args:
        backend: the store.
        where: a filter of runs.
        limit: maximum number of sessions.
        before: the `before` of the last page.

    Raises:
        QueryError: the filter means nothing.
    """
    columns = backend.runs.document.columns()
    session, started = columns["session_id"], columns["started_at"]
    chosen = as_expression(where, columns) & session.present()
    latest: dict[str, datetime] = {}
    later: set[str] = set()
    within, top = (chosen, before) if before is None else (chosen & (started < before), before)
    while True:
        known = [*latest, *later]
        runs, is_last = _newest_runs(backend, within & session.not_in(known) if known else within, top)
        found: dict[str, datetime] = {}
        for run in runs:
            found.setdefault(str(run.session_id), run.started_at)
            top = run.started_at
        if before is not None and found:
            # Sessions that go on after the boundary were on a page before.
            since = chosen & (started >= before) & session.in_(found)
            again: Any = backend.aggregate_runs(by="session_id", filter=since)
            later |= {row["session_id"] for row in again}
        latest |= {name: time for name, time in found.items() if name not in later}
        times = list(latest.values())
        # Sessions of the same instant are on one page: the next one begins before it.
        if is_last or (len(times) > limit and times[-1] < times[limit - 1]):
            break
    if not latest:
        return SessionPage((), None)
    last = times[:limit][-1]
    names = [name for name, time in latest.items() if time >= last]
    sessions = tuple(_summaries(backend, chosen & session.in_(names), columns))
    return SessionPage(sessions, last if len(names) < len(latest) else None)


def _newest_runs(backend: RedisBackend, filter: Expression, top: datetime | None) -> tuple[list[Any], bool]:
    """The newest runs that meet a filter, and whether these are all; `top` is an instant at or after the newest.

    A server sorts all runs that meet a filter, so short times are tried first.
    """
    started = backend.runs.document.columns()["started_at"]
    if top is None:
        newest = backend.find_runs(filter, order_by="-started_at", limit=1, columns=True, on_corrupt="skip")
        if not newest:
            return [], True
        top = newest[0].started_at
    for span in _SPANS if top.year > 1 else ():
        page = backend.find_runs(
            filter & (started >= top - span) & (started <= top), order_by="-started_at", limit=_RUNS, columns=True,
            on_corrupt="skip",
        )  # fmt: skip
        if page.next is not None:
            return list(page), False
    page = backend.find_runs(filter, order_by="-started_at", limit=_RUNS, columns=True, on_corrupt="skip")
    return list(page), page.next is None


def read_before(text: str) -> datetime | None:
    """Read the instant that a page of sessions begins before; None for the first page.

    Raises:
        QueryError: it is no time, or has no zone.
    """
    if not text.strip():
        return None
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise QueryError(f"before is a time such as 2026-11-23T10:00:00Z, not {shown(text)}")
    return instant


def _summaries(backend: RedisBackend, chosen: Expression, columns: Mapping[str, Any]) -> Iterator[SessionSummary]:
    rows: Any = backend.aggregate_runs(by="session_id", metrics=_METRICS, filter=chosen)
    failed = _counts(backend, "session_id", chosen & (columns["status"] == "failed"))
    agents, users = (_values(backend, name, chosen) for name in ("agent_id", "user_id"))
    for row in sorted(rows, key=lambda row: row["max(started_at)"], reverse=True):
        name = row["session_id"]
        costs = [cost for cost in (row["sum(cost)"], row["sum(estimated_cost)"]) if cost is not None]
        yield SessionSummary(
            name, row["count"], failed.get(name, 0), int(row["sum(failed_calls)"] or 0), row["min(started_at)"],
            row["max(started_at)"], row["max(ended_at)"], row["sum(total_tokens)"], sum(costs) if costs else None,
            tuple(agents.get(name, ())), tuple(users.get(name, ())),
        )  # fmt: skip


def _counts(backend: RedisBackend, by: str, chosen: Expression) -> dict[str, int]:
    rows: Any = backend.aggregate_runs(by=by, filter=chosen)
    return {row[by]: row["count"] for row in rows}


def _values(backend: RedisBackend, name: str, chosen: Expression) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    rows: Any = backend.aggregate_runs(by=["session_id", name], filter=chosen)
    for row in rows:
        if row[name] is not None:
            found.setdefault(row["session_id"], []).append(row[name])
    return found
