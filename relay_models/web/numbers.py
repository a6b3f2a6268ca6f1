"""`Numbers`: aggregates of runs over time and by agent, model and tool, with their charts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from relay_models import Run
from relay_models.columns.kind import Kind
from relay_models.pictures import BarChart
from relay_models.pictures.svg import STYLE
from relay_models.views import MOST_EXACT, equal_to, known_columns, money_text, usual_columns, value_text
from relay_models.web.read_runs import ReadRuns

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = [
    "MOST_GROUPED", "MOST_RECENT", "Breakdown", "Numbers", "NumbersPart", "groupable", "plain_svg", "sure_state",
]  # fmt: skip

_SUMMED = ("total_tokens", "cost", "estimated_cost")
_SUMS = tuple(f"sum({name})" for name in _SUMMED)
METRICS = ("count", "p50(duration)", "p95(duration)", *_SUMS)
TITLES = {
    "count": "runs",
    "p50(duration)": "median duration",
    "p95(duration)": "p95 duration",
    "sum(total_tokens)": "tokens",
    "sum(cost)": "cost",
    "sum(estimated_cost)": "estimated cost",
}
MOST_GROUPS = 25
MOST_RECENT = 2_000
"""Maximum number of runs in the time that is chosen when none is given."""
MOST_GROUPED = 100_000
"""Maximum number of runs that are grouped unless asked for: it keeps a server busy for a second or more."""
# Buckets that make a readable chart, and the seconds of each.
_SPANS = (
    ("1s", 1), ("10s", 10), ("1m", 60), ("5m", 300), ("15m", 900), ("1h", 3600), ("6h", 21_600), ("1d", 86_400),
    ("1w", 604_800), ("1mo", 2_629_800),
)  # fmt: skip
_MOST_BUCKETS = 60

Link = Callable[[Mapping[str, Any]], str]
Rows = Sequence[Mapping[str, Any]]
CountFailed = Callable[..., dict[Any, Any]]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A table of an aggregate, and its charts."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], str], ...]
    """Of each row its label, its values, and the filter of its runs."""
    charts: tuple[tuple[str, bool], ...]
    """Of each chart its SVG, and whether it is of failures."""
    has_more: bool = False
    """Whether there are groups with fewer runs than those of the rows."""


@dataclass(frozen=True, slots=True)
class NumbersPart:
    """What has been computed of the numbers of some runs."""

    count: int
    """How many runs there are."""
    totals: tuple[tuple[str, str], ...]
    """Names and values of what is known of all of them."""
    breakdowns: tuple[Breakdown, ...] = ()
    is_estimated: bool = False
    """Whether some of it are the server's estimates."""
    is_too_large: bool = False
    """Whether there are too many runs to compute more."""


def plain_svg(svg: str) -> str:
    """A picture without its style element, for pages whose style sheet has the rules."""
    return svg.replace(f"<style>{STYLE}</style>", "", 1)


def sure_state() -> str:
    """The status that means a failure: ``failed`` where runs have it, else ``running`` (no end was recorded)."""
    choices = Run.columns()["status"].choices
    return "failed" if "failed" in choices else "running"


class Numbers:
    """Aggregates of the runs that meet a filter: their number at once, each of the others when it is asked for.

    Args:
        backend: the store.
        where: the filter.
        every: the length of the buckets; empty to choose one.
        by: columns to group by.
        link: makes the URL of the runs that meet a filter; an empty text for none.
        narrow: adds a condition to the filter.
        exact: compute percentiles from every value, however many runs there are.
        width: width of the charts (pixels).
    """

    def __init__(
        self,
        backend: RedisBackend,
        where: str | None,
        *,
        every: str = "",
        by: Sequence[str] = ("agent_id", "models", "tools"),
        link: Callable[[str], str],
        narrow: Callable[[str], str],
        exact: bool = False,
        width: int = 360,
    ) -> None:
        state = sure_state()
        self._state = state
        self._condition = f"status = {state}"
        self._by = by
        self._every = every
        self.count = backend.count_runs(where)
        read: ReadRuns | None = None
        if 0 < self.count <= MOST_EXACT:
            read = _read(backend, where, by)
        if read is not None:
            self.count, self.failures = len(read), len(read.having("status", state))
        else:
            self.failures = backend.count_runs(narrow(self._condition)) if self.count else 0
        self._asked = _Asked(backend, where, self.count, self._condition, link, narrow, width,
                             approximate=not exact and self.count > MOST_EXACT, read=read)  # fmt: skip

    @property
    def counts(self) -> tuple[tuple[str, str], ...]:
        """How many runs there are, and how many failed."""
        return ("runs", f"{self.count:,}"), (_failure_word(self._condition), f"{self.failures:,}")

    def parts(self, *, whole: bool) -> Iterator[NumbersPart]:
        """Compute the numbers: ever larger parts of them.

        Args:
            whole: however many runs there are; otherwise of more than `MOST_GROUPED` only their number.
        """
        part = NumbersPart(self.count, self.counts, is_too_large=self.count > MOST_GROUPED and not whole)
        yield part
        if part.is_too_large:
            return
        part = replace(part, totals=self.totals, is_estimated=bool(self._asked.estimated))
        yield part
        for each in self.breakdowns():
            part = replace(part, breakdowns=(*part.breakdowns, each), is_estimated=bool(self._asked.estimated))
            yield part

    @cached_property
    def totals(self) -> tuple[tuple[str, str], ...]:
        """Each metric over all of the runs."""
        (totals,) = self._asked.rows("")
        shown = [(self._asked.title(name), _metric_text(name, totals.get(name))) for name in METRICS]
        shown = [(title, text) for title, text in shown if text or title != TITLES["sum(estimated_cost)"]]
        return (*self.counts, *shown[1:])

    def breakdowns(self) -> Iterator[Breakdown]:
        """The metrics over time, and by each column; none where there are no runs."""
        if not self.count:
            return
        asked, failed = self._asked, self._asked.narrow(self._condition)
        is_narrower = 0 < self.failures < self.count
        count_failed = (
            _failure_counter(asked, failed, self._state) if is_narrower else _all_failed if self.failures else _none
        )
        every = self._every or _choose_span(asked)
        if every:
            yield _over_time(asked, every, count_failed)
        for name in self._by:
            found = _grouped(asked, name, count_failed)
            if found.rows:
                yield found


def _failure_word(state: str) -> str:
    return "failed" if "failed" in state else "unfinished"


@dataclass(frozen=True)
class _Asked:
    """What all tables and charts of a page are made of."""

    backend: RedisBackend
    where: str | None
    count: int
    state: str
    """The condition of a failure."""
    link: Callable[[str], str]
    narrow: Callable[[str], str]
    width: int
    approximate: bool
    read: ReadRuns | None = None
    """The runs, where they are few."""
    estimated: set[str] = field(default_factory=set)
    """Metrics of which an answer had the server's estimates."""
    settled: Mapping[str, int] = field(default_factory=dict)
    """What is known of `present` without asking."""

    @cached_property
    def present(self) -> dict[str, int]:
        """How many runs have a value of each sum: of those that have none a server reads the document.

        A column that most runs have a value of is taken for one that all have: counting these takes a server long.
        """
        if self.read is not None:
            return {name: len(self.read.having(_column(name))) for name in _SUMS}
        found = dict(self.settled)
        asked = [name for name in _SUMS if name not in found]
        if self.count > MOST_EXACT and asked:
            known = known_columns(self.backend.runs.document)
            usual = usual_columns(self.backend, self.where, [known[_column(name)] for name in asked])
            found |= {name: self.count for name in asked if _column(name) in usual}
        return found | {name: self.backend.count_runs(self.having(name)) for name in asked if name not in found}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that some run has a value of."""
        return tuple(name for name in METRICS if self.present.get(name, 1))

    def having(self, metric: str) -> str:
        """The filter of the runs that have a value of a metric."""
        condition = f"{_column(metric)} is present"
        return f"({self.where}) and {condition}" if self.where else condition

    def title(self, name: str) -> str:
        """The title of a metric."""
        return f"≈ {TITLES[name]}" if name in self.estimated else TITLES[name]

    def within(self, where: str, count: int) -> dict[str, Any]:
        """The metrics of the runs of a group: their filter, and how many there are."""
        # What all runs have, or none, all or none of the group have.
        settled = {
            name: count if present else 0 for name, present in self.present.items() if present in (0, self.count)
        }  # fmt: skip
        narrower = replace(
            self, where=where, count=count, approximate=self.approximate and count > MOST_EXACT, settled=settled
        )
        (totals,) = narrower.rows("")
        return totals

    def rows(self, key: str, **grouping: Any) -> list[dict[str, Any]]:
        """The rows of an aggregate; what is sparse is asked for about the runs that have it."""
        if self.read is not None:
            return [dict(row.items()) for row in self.read.aggregate(metrics=self.metrics, **grouping)]
        sparse = [name for name in _SUMS if 0 < self.present[name] < self.count]
        dense = [name for name in self.metrics if name not in sparse]
        found: Any = self.backend.aggregate_runs(
            metrics=dense, filter=self.where, approximate=self.approximate, **grouping
        )
        self.estimated.update(found.estimated)
        rows = [dict(row.items()) for row in found]
        grouping = {name: value for name, value in grouping.items() if name in ("by", "every")}
        for name in sparse:
            present: Any = self.backend.aggregate_runs(metrics=[name], filter=self.having(name), **grouping)
            values = {row[key] if key else None: row[name] for row in present}
            for row in rows:
                row[name] = values.get(row[key] if key else None)
        return rows


def _read(backend: RedisBackend, where: str | None, by: Iterable[str]) -> ReadRuns | None:
    """Read few runs, with the columns of the metrics and those to group by."""
    return ReadRuns.read(backend, where, MOST_EXACT, ("started_at", "status", "duration", *_SUMMED, *by))


def _column(metric: str) -> str:
    return metric.partition("(")[2].rstrip(")")


def _failure_counter(asked: _Asked, where: str, state: str) -> CountFailed:
    failed = None if asked.read is None else asked.read.having("status", state)

    def count(rows: Rows, key: str, **grouping: Any) -> dict[Any, Any]:
        if failed is not None:
            found = failed.aggregate(**grouping)
        else:
            found = asked.backend.aggregate_runs(filter=where, **grouping)
        return {row[key]: row["count"] for row in found}

    return count


def _all_failed(rows: Rows, key: str, **grouping: Any) -> dict[Any, Any]:
    return {row[key]: row["count"] for row in rows}


def _none(rows: Rows, key: str, **grouping: Any) -> dict[Any, Any]:
    return {}


def _metric_text(name: str, value: Any) -> str:
    return money_text(value) if name.endswith("cost)") else value_text(value)


def _choose_span(asked: _Asked) -> str:
    """The shortest bucket that makes a chart of the runs readable; none without runs."""
    if asked.read is not None:
        ends: Any = asked.read.ends()
    else:
        ends = [
            row.started_at
            for order in ("started_at", "-started_at")
            for row in asked.backend.find_runs(asked.where, order_by=order, limit=1, columns=True)
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

    def is_in(row: Mapping[str, Any]) -> str:
        value = row[name]
        return f"{name} is missing" if value is None else equal_to(column, value)

    def condition(row: Mapping[str, Any]) -> str:
        return asked.narrow(is_in(row))

    counts: Any = ()
    if asked.read is None and asked.count > MOST_EXACT:
        counts = asked.backend.aggregate_runs(filter=asked.where, by=[name], order_by="-count", limit=MOST_GROUPS + 1)
    has_more = len(counts) > MOST_GROUPS
    if has_more:
        # Percentiles of thousands of groups take minutes: only those that are shown are asked for.
        rows, failed = _of_groups(asked, name, counts[:MOST_GROUPS], is_in)
    else:
        rows = asked.rows(name, by=[name], order_by="-count", limit=MOST_GROUPS + 1)
        failed = count_failed(rows, name, by=[name])
        has_more = len(rows) > MOST_GROUPS
    shown = rows[:MOST_GROUPS]
    if column.ordered:
        shown.sort(key=lambda row: (row[name] is None, 0 if row[name] is None else column.type.store(row[name])))
    titles = {"agent_id": "By agent", "models": "By model", "tools": "By tool"}
    title = titles.get(name, f"By {name.replace('_', ' ')}")
    return _breakdown(asked, title, name, shown, failed, condition, has_more=has_more)


def _of_groups(
    asked: _Asked, name: str, counts: Rows, is_in: Callable[[Mapping[str, Any]], str]
) -> tuple[list[dict[str, Any]], dict[Any, int]]:
    """The metrics of some groups, and how many of their runs failed.

    Args:
        asked: which runs.
        name: the column that they are grouped by.
        counts: the groups and how many runs each has, the largest first.
        is_in: makes the condition of a group.
    """
    first, together = len(counts), 0
    while first and together + counts[first - 1]["count"] <= MOST_EXACT:
        first -= 1
        together += counts[first]["count"]
    found: dict[Any, dict[str, Any]] = {}
    failed: dict[Any, int] = {}
    # The runs of small groups are read once: several commands for each group take longer.
    small = " or ".join(map(is_in, counts[first:]))
    read = _read(asked.backend, asked.narrow(f"({small})"), [name]) if small else None
    if read is not None:
        found = {row[name]: dict(row.items()) for row in read.aggregate(metrics=asked.metrics, by=[name])}
        failures: Any = read.having("status", sure_state()).aggregate(by=[name])
        failed = {row[name]: row["count"] for row in failures}
    rows = []
    for number, row in enumerate(counts):
        value = row[name]
        if read is not None and number >= first:
            rows += [found[value]] if value in found else []
            continue
        where = asked.narrow(is_in(row))
        rows.append(asked.within(where, row["count"]) | {name: value})
        failed[value] = asked.backend.count_runs(f"({where}) and {asked.state}")
    return rows, failed


def _breakdown(
    asked: _Asked, title: str, key: str, rows: list[Any], failed: Mapping[Any, Any],
    condition: Callable[[Mapping[str, Any]], str], *, has_more: bool = False,
) -> Breakdown:  # fmt: skip
    what = _failure_word(asked.state)
    made = [{**row, what: failed.get(row[key], 0)} for row in rows]
    names = [name for name in asked.metrics if any(row.get(name) not in (None, 0) for row in made) or name == "count"]

    def to_runs(row: Mapping[str, Any]) -> str:
        return asked.link(condition(row)) if row.get("count") else ""

    drawn = [name for name in names if name != "p50(duration)"]
    charts = [(_chart(made, key, name, asked.title(name), to_runs, asked.width), False) for name in drawn]
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
    heads = ("runs", what, *(asked.title(name) for name in names[1:]))
    return Breakdown(title, heads, table, tuple(charts), has_more)


def _chart(rows: Sequence[Mapping[str, Any]], key: str, metric: str, title: str, link: Link, width: int) -> str:
    kept = [{key: _group(row[key]), metric: row[metric]} for row in rows]
    by_key = {_group(row[key]): row for row in rows}
    chart = BarChart(kept, metric, title=title, link=lambda row: link(by_key[row[key]]))
    return plain_svg(chart.svg(width=width))


def _group(value: Any) -> Any:
    """The value of a group as a chart takes it: an instant, or a text; a number would be one to draw."""
    return _named(value) if value is None or isinstance(value, str | datetime) else _label(value)


def _named(value: Any) -> Any:
    return "(empty)" if value == "" else value


def _label(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00").removesuffix(" 00:00")
    return "(none)" if value is None else value_text(_named(value))


def _instant(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def groupable(document: type[Run]) -> list[str]:
    """The columns that runs can be grouped by: those of texts, dates and integers; few runs have as many tokens."""
    return [
        name
        for name, column in document.columns().items()
        if (column.kind in (Kind.TAG, Kind.TAGS) and not column.is_uuid)
        or (column.kind is Kind.COUNT and column.unit != "tokens")
        or column.type.python is date
    ]
