"""`numbers_of`: aggregates of runs over time and by agent, model and tool, with their charts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from relay_models import Run
from relay_models.columns.kind import Kind
from relay_models.pictures import BarChart
from relay_models.pictures.svg import STYLE
from relay_models.views import column_text, known_columns, quoted, value_text

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["Breakdown", "Numbers", "numbers_of", "plain_svg", "sure_state"]

METRICS = ("count", "p50(duration)", "p95(duration)", "sum(total_tokens)", "sum(cost)")
TITLES = {
    "count": "runs",
    "p50(duration)": "median duration",
    "p95(duration)": "p95 duration",
    "sum(total_tokens)": "tokens",
    "sum(cost)": "cost",
}
MOST_GROUPS = 25
MOST_RUNS = 20_000
"""Maximum number of runs in the time that is chosen when none is given; they take about a second."""
_WINDOWS = (timedelta(days=6), timedelta(days=1), timedelta(hours=6), timedelta(hours=1), timedelta(minutes=10))
# Buckets that make a readable chart, and the seconds of each.
_SPANS = (
    ("1s", 1), ("10s", 10), ("1m", 60), ("5m", 300), ("15m", 900), ("1h", 3600), ("6h", 21_600), ("1d", 86_400),
    ("1w", 604_800), ("1mo", 2_629_800),
)  # fmt: skip
_MOST_BUCKETS = 60

Link = Callable[[Mapping[str, Any]], str]
CountFailed = Callable[..., dict[Any, Any]]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A table of an aggregate, and its charts."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], str], ...]
    """Of each row its label, its values, and the filter of its runs."""
    charts: tuple[str, ...]
    """SVG."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a page of numbers shows."""

    totals: tuple[tuple[str, str], ...]
    every: str
    over_time: Breakdown | None
    groups: tuple[Breakdown, ...]


def plain_svg(svg: str) -> str:
    """A picture without its style element, for pages whose style sheet has the rules."""
    return svg.replace(f"<style>{STYLE}</style>", "", 1)


def sure_state() -> str:
    """The status that means a failure: ``failed`` where runs have it, else ``running`` (no end was recorded)."""
    choices = Run.columns()["status"].choices
    return "failed" if "failed" in choices else "running"


def numbers_of(
    backend: RedisBackend,
    where: str | None,
    *,
    every: str = "",
    by: Sequence[str] = ("agent_id", "models", "tools"),
    link: Callable[[str], str],
    narrow: Callable[[str], str],
    width: int = 620,
) -> Numbers:
    """Aggregate the runs that meet a filter.

    Args:
        backend: the store.
        where: the filter.
        every: the length of the buckets; empty to choose one.
        by: columns to group by.
        link: makes the URL of the runs that meet a filter; an empty text for none.
        narrow: adds a condition to the filter.
        width: width of the charts (pixels).
    """
    state = sure_state()
    has_state = f"status = {state}"
    totals = backend.aggregate_runs(metrics=METRICS, filter=where)[0]
    failures = backend.count_runs(narrow(has_state))
    shown = [(TITLES[name], _metric_text(name, totals[name])) for name in METRICS]
    shown.insert(1, ("failed" if state == "failed" else "unfinished", f"{failures:,}"))
    every = every or _choose_span(backend, where)
    count_failed = _failure_counter(backend, narrow(has_state)) if failures else _no_failures
    groups = tuple(_grouped(backend, where, name, has_state, count_failed, link, narrow, width) for name in by)
    over_time = _over_time(backend, where, every, has_state, count_failed, link, narrow, width) if every else None
    return Numbers(tuple(shown), every, over_time, tuple(each for each in groups if each.rows))


def _failure_counter(backend: RedisBackend, where: str) -> CountFailed:
    def count(key: str, **grouping: Any) -> dict[Any, Any]:
        return {row[key]: row["count"] for row in backend.aggregate_runs(filter=where, **grouping)}

    return count


def _no_failures(key: str, **grouping: Any) -> dict[Any, Any]:
    return {}


def _metric_text(name: str, value: Any) -> str:
    return column_text(Run.columns()["cost"], value) if name == "sum(cost)" else value_text(value)


def _choose_span(backend: RedisBackend, where: str | None) -> str:
    """The shortest bucket that makes a chart of the runs readable; none without runs."""
    ends = [
        row.started_at
        for order in ("started_at", "-started_at")
        for row in backend.find_runs(where, order_by=order, limit=1, columns=True)
    ]
    if not ends:
        return ""
    seconds = (ends[-1] - ends[0]).total_seconds()
    return next((text for text, size in _SPANS if seconds / size <= _MOST_BUCKETS), _SPANS[-1][0])


def _over_time(
    backend: RedisBackend, where: str | None, every: str, state: str, count_failed: CountFailed,
    link: Callable[[str], str],
    narrow: Callable[[str], str], width: int,
) -> Breakdown:  # fmt: skip
    rows = backend.aggregate_runs(every=every, metrics=METRICS, filter=where, fill=True, max_buckets=2_000)
    failed = count_failed("bucket", every=every)
    starts: list[Any] = [row["bucket"] for row in rows]
    following: dict[Any, Any] = dict(itertools.pairwise(starts))

    def condition(row: Mapping[str, Any]) -> str:
        start = row["bucket"]
        if not isinstance(start, datetime):
            return narrow("started_at is missing")
        text = f"started_at >= {_instant(start)}"
        after = following.get(start)
        return narrow(text if after is None else f"{text} and started_at < {_instant(after)}")

    return _breakdown("Over time", "bucket", list(rows), failed, state, condition, link, width)


def _grouped(
    backend: RedisBackend, where: str | None, name: str, state: str, count_failed: CountFailed,
    link: Callable[[str], str],
    narrow: Callable[[str], str], width: int,
) -> Breakdown:  # fmt: skip
    column = known_columns(backend.runs.document)[name]
    rows = backend.aggregate_runs(by=[name], metrics=METRICS, filter=where, order_by="-count", limit=MOST_GROUPS)
    failed = count_failed(name, by=[name])

    def condition(row: Mapping[str, Any]) -> str:
        value = row[name]
        if value is None:
            return narrow(f"{name} is missing")
        literal = str(value) if column.kind is Kind.COUNT else quoted(str(value))
        return narrow(f"{name} = {literal}")

    titles = {"agent_id": "By agent", "models": "By model", "tools": "By tool"}
    title = titles.get(name, f"By {column.heading.replace('_', ' ')}")
    return _breakdown(title, name, list(rows), failed, state, condition, link, width)


def _breakdown(
    title: str, key: str, rows: list[Any], failed: Mapping[Any, Any], state: str,
    condition: Callable[[Mapping[str, Any]], str], link: Callable[[str], str], width: int,
) -> Breakdown:  # fmt: skip
    what = "failed" if "failed" in state else "unfinished"
    made = [{**row, what: failed.get(row[key], 0)} for row in rows]
    names = [name for name in METRICS if any(row.get(name) not in (None, 0) for row in made) or name == "count"]

    def to_runs(row: Mapping[str, Any]) -> str:
        return link(condition(row)) if row.get("count") else ""

    drawn = [name for name in names if name != "p50(duration)"]
    charts = [_chart(made, key, name, TITLES[name], to_runs, width) for name in drawn]
    if any(row[what] for row in made):

        def to_failed(row: Mapping[str, Any]) -> str:
            return link(f"{condition(row)} and {state}") if row.get(what) else ""

        charts.insert(1, _chart(made, key, what, f"{what} runs", to_failed, width))
    table = tuple(
        (
            _label(row[key]),
            (_metric_text("count", row["count"]), value_text(row[what]), *(_metric_text(n, row[n]) for n in names[1:])),
            condition(row),
        )
        for row in made
        if row["count"]
    )
    heads = ("runs", what, *(TITLES[name] for name in names[1:]))
    return Breakdown(title, heads, table, tuple(charts))


def _chart(rows: Sequence[Mapping[str, Any]], key: str, metric: str, title: str, link: Link, width: int) -> str:
    kept = [{key: row[key], metric: row[metric]} for row in rows]
    by_key = {row[key]: row for row in rows}
    chart = BarChart(kept, metric, title=title, link=lambda row: link(by_key[row[key]]))
    return plain_svg(chart.svg(width=width))


def _label(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00").removesuffix(" 00:00")
    return "(none)" if value is None else value_text(value)


def _instant(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def default_where(backend: RedisBackend) -> str:
    """The filter of a page of numbers when none is given: the last days in which there are runs; empty for all.

    Percentiles need every value, so the time is shorter where there are many runs.
    """
    newest = backend.find_runs(None, order_by="-started_at", limit=1, columns=True)
    if not newest:
        return ""
    last = newest[0].started_at
    text = ""
    for span in _WINDOWS:
        first = last - span
        text = f"started_at >= {first:%Y-%m-%d}" if span.days else f"started_at >= {first:%Y-%m-%dT%H:%MZ}"
        if backend.count_runs(text) <= MOST_RUNS:
            break
    return text


def groupable(document: type[Run]) -> list[str]:
    """The columns that runs can be grouped by."""
    kinds = (Kind.TAG, Kind.TAGS)
    return [name for name, column in document.columns().items() if column.kind in kinds and not column.is_uuid]
