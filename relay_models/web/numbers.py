"""`numbers_of`: aggregates of runs over time and by agent, model and tool, with their charts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from relay_models import Run
from relay_models.columns.kind import Kind
from relay_models.pictures import BarChart
from relay_models.pictures.svg import STYLE
from relay_models.views import known_columns, money_text, quoted, value_text

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["MOST_GROUPED", "MOST_RUNS", "Breakdown", "Extent", "Numbers", "numbers_of", "plain_svg", "sure_state"]

_SUMS = ("sum(total_tokens)", "sum(cost)", "sum(estimated_cost)")
METRICS = ("count", "p50(duration)", "p95(duration)", *_SUMS)
QUICK_METRICS = ("count", "avg(duration)", "max(duration)", *_SUMS)
"""What is shown of more than `MOST_RUNS` runs: percentiles need every value."""
TITLES = {
    "count": "runs",
    "avg(duration)": "mean duration",
    "max(duration)": "longest duration",
    "p50(duration)": "median duration",
    "p95(duration)": "p95 duration",
    "sum(total_tokens)": "tokens",
    "sum(cost)": "cost",
    "sum(estimated_cost)": "estimated cost",
}
MOST_GROUPS = 25
MOST_RUNS = 20_000
"""Maximum number of runs whose percentiles are computed unless asked for."""
MOST_RECENT = 2_000
"""Maximum number of runs in the time that is chosen when none is given."""
MOST_GROUPED = 100_000
"""Maximum number of runs that are grouped unless asked for."""
# Buckets that make a readable chart, and the seconds of each.
_SPANS = (
    ("1s", 1), ("10s", 10), ("1m", 60), ("5m", 300), ("15m", 900), ("1h", 3600), ("6h", 21_600), ("1d", 86_400),
    ("1w", 604_800), ("1mo", 2_629_800),
)  # fmt: skip
_MOST_BUCKETS = 60

Link = Callable[[Mapping[str, Any]], str]
Rows = Sequence[Mapping[str, Any]]
CountFailed = Callable[..., dict[Any, Any]]


class Extent(StrEnum):
    """How much was computed."""

    ALL = "all"
    NO_PERCENTILES = "no percentiles"
    COUNTS = "counts"


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A table of an aggregate, and its charts."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], str], ...]
    """Of each row its label, its values, and the filter of its runs."""
    charts: tuple[tuple[str, bool], ...]
    """Of each chart its SVG, and whether it is of failures."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a page of numbers shows."""

    totals: tuple[tuple[str, str], ...]
    every: str
    over_time: Breakdown | None
    groups: tuple[Breakdown, ...]
    extent: Extent


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
    exact: bool = False,
    width: int = 360,
) -> Numbers:
    """Aggregate the runs that meet a filter.

    Args:
        backend: the store.
        where: the filter.
        every: the length of the buckets; empty to choose one.
        by: columns to group by.
        link: makes the URL of the runs that meet a filter; an empty text for none.
        narrow: adds a condition to the filter.
        exact: compute everything, however many runs there are.
        width: width of the charts (pixels).
    """
    state = sure_state()
    what = "failed" if state == "failed" else "unfinished"
    has_state = f"status = {state}"
    count = backend.count_runs(where)
    failures = backend.count_runs(narrow(has_state)) if count else 0
    if count > MOST_GROUPED and not exact:
        shown = [("runs", f"{count:,}"), (what, f"{failures:,}")]
        return Numbers(tuple(shown), every, None, (), Extent.COUNTS)
    extent = Extent.ALL if exact or count <= MOST_RUNS else Extent.NO_PERCENTILES
    metrics = METRICS if extent is Extent.ALL else QUICK_METRICS
    present = {name: backend.count_runs(narrow(f"{_column(name)} is present")) for name in _SUMS}
    asked = _Asked(
        backend, where, tuple(name for name in metrics if present.get(name, 1)),
        tuple(name for name in _SUMS if 0 < present[name] < count), has_state, link, narrow, width,
    )  # fmt: skip
    (totals,) = asked.rows("")
    shown = [(TITLES[name], _metric_text(name, totals.get(name))) for name in metrics]
    shown = [(title, text) for title, text in shown if text or title != TITLES["sum(estimated_cost)"]]
    shown.insert(1, (what, f"{failures:,}"))
    every = every or _choose_span(backend, where)
    is_narrower = 0 < failures < count
    count_failed = _failure_counter(backend, narrow(has_state)) if is_narrower else _all_failed if failures else _none
    groups = tuple(_grouped(asked, name, count_failed) for name in by)
    over_time = _over_time(asked, every, count_failed) if every else None
    return Numbers(tuple(shown), every, over_time, tuple(each for each in groups if each.rows), extent)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What all tables and charts of a page are made of."""

    backend: RedisBackend
    where: str | None
    metrics: tuple[str, ...]
    sparse: tuple[str, ...]
    """Metrics of columns that some runs have no value for: a server reads each such run's document."""
    state: str
    """The condition of a failure."""
    link: Callable[[str], str]
    narrow: Callable[[str], str]
    width: int

    def rows(self, key: str, **grouping: Any) -> list[dict[str, Any]]:
        """The rows of an aggregate; what is sparse is asked for about the runs that have it."""
        dense = [name for name in self.metrics if name not in self.sparse] or ["count"]
        found: Any = self.backend.aggregate_runs(metrics=dense, filter=self.where, **grouping)
        rows = [dict(row.items()) for row in found]
        grouping = {name: value for name, value in grouping.items() if name in ("by", "every")}
        for name in self.sparse:
            having = self.narrow(f"{_column(name)} is present")
            present: Any = self.backend.aggregate_runs(metrics=[name], filter=having, **grouping)
            values = {row[key] if key else None: row[name] for row in present}
            for row in rows:
                row[name] = values.get(row[key] if key else None)
        return rows


def _column(metric: str) -> str:
    return metric.partition("(")[2].rstrip(")")


def _failure_counter(backend: RedisBackend, where: str) -> CountFailed:
    def count(rows: Rows, key: str, **grouping: Any) -> dict[Any, Any]:
        return {row[key]: row["count"] for row in backend.aggregate_runs(filter=where, **grouping)}

    return count


def _all_failed(rows: Rows, key: str, **grouping: Any) -> dict[Any, Any]:
    return {row[key]: row["count"] for row in rows}


def _none(rows: Rows, key: str, **grouping: Any) -> dict[Any, Any]:
    return {}


def _metric_text(name: str, value: Any) -> str:
    return money_text(value) if name.endswith("cost)") else value_text(value)


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


def _over_time(asked: _Asked, every: str, count_failed: CountFailed) -> Breakdown:
    rows = asked.rows("bucket", every=every, fill=True, max_buckets=2_000)
    failed = count_failed(rows, "bucket", every=every)
    starts: list[Any] = [row["bucket"] for row in rows]
    following: dict[Any, Any] = dict(itertools.pairwise(starts))

    def condition(row: Mapping[str, Any]) -> str:
        start = row["bucket"]
        if not isinstance(start, datetime):
            return asked.narrow("started_at is missing")
        text = f"started_at >= {_instant(start)}"
        after = following.get(start)
        return asked.narrow(text if after is None else f"{text} and started_at < {_instant(after)}")

    return _breakdown(asked, "Over time", "bucket", rows, failed, condition)


def _grouped(asked: _Asked, name: str, count_failed: CountFailed) -> Breakdown:
    column = known_columns(asked.backend.runs.document)[name]
    rows = asked.rows(name, by=[name], order_by="-count", limit=MOST_GROUPS)
    failed = count_failed(rows, name, by=[name])

    def condition(row: Mapping[str, Any]) -> str:
        value = row[name]
        if value is None:
            return asked.narrow(f"{name} is missing")
        literal = str(value) if column.kind is Kind.COUNT else quoted(str(value))
        return asked.narrow(f"{name} = {literal}")

    titles = {"agent_id": "By agent", "models": "By model", "tools": "By tool"}
    title = titles.get(name, f"By {column.heading.replace('_', ' ')}")
    return _breakdown(asked, title, name, rows, failed, condition)


def _breakdown(
    asked: _Asked, title: str, key: str, rows: list[Any], failed: Mapping[Any, Any],
    condition: Callable[[Mapping[str, Any]], str],
) -> Breakdown:  # fmt: skip
    what = "failed" if "failed" in asked.state else "unfinished"
    made = [{**row, what: failed.get(row[key], 0)} for row in rows]
    names = [name for name in asked.metrics if any(row.get(name) not in (None, 0) for row in made) or name == "count"]

    def to_runs(row: Mapping[str, Any]) -> str:
        return asked.link(condition(row)) if row.get("count") else ""

    drawn = [name for name in names if name not in ("p50(duration)", "max(duration)")]
    charts = [(_chart(made, key, name, TITLES[name], to_runs, asked.width), False) for name in drawn]
    if any(row[what] for row in made):

        def to_failed(row: Mapping[str, Any]) -> str:
            return asked.link(f"{condition(row)} and {asked.state}") if row.get(what) else ""

        charts.insert(1, (_chart(made, key, what, f"{what} runs", to_failed, asked.width), True))
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


def groupable(document: type[Run]) -> list[str]:
    """The columns that runs can be grouped by."""
    kinds = (Kind.TAG, Kind.TAGS)
    return [name for name, column in document.columns().items() if column.kind in kinds and not column.is_uuid]
