"""`Aggregation`: what an aggregate groups by and computes, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from typing import Any, TypeAlias

from relay_models._checks import shown
from relay_models._time import microseconds_of
from relay_models.columns.column import Column, Kind
from relay_models.errors import QueryError, UnknownColumnError, UnsupportedOperatorError
from relay_models.query.aggregate.buckets import Buckets
from relay_models.query.aggregate.metrics import Metric, find_column, parse_metric
from relay_models.query.options import check_limit
from relay_models.query.order import parse_direction

__all__ = ["BUCKET", "MAX_BUCKETS", "Aggregation", "Columns"]

BUCKET = "bucket"
"""The name of the buckets in rows."""

# Maximum rows that empty buckets may add, unless the caller allows more; a row takes about 1 KB.
MAX_BUCKETS = 100_000

Columns: TypeAlias = str | Column[Any] | Sequence[str | Column[Any]]
"""A column or several, by name or as ``Run.agent_id``."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A checked request for an aggregate; see `aggregate_steps`."""

    groups: tuple[Column[Any], ...]
    metrics: tuple[Metric, ...]
    buckets: Buckets | None
    time: Column[Any]
    order_by: str | None
    descending: bool
    limit: int | None
    fill: bool
    bounds: tuple[int, int] | None = None
    names: tuple[str, ...] = field(default=())
    max_buckets: int = MAX_BUCKETS
    every: str = ""
    approximate: bool = False

    @classmethod
    def parse(
        cls,
        columns: dict[str, Column[Any]],
        *,
        by: Columns = (),
        every: str | timedelta | None = None,
        metrics: str | Sequence[str] = ("count",),
        time: str | Column[Any] = "started_at",
        tz: str | tzinfo | None = None,
        fill: bool | tuple[datetime, datetime] = False,
        order_by: str | None = None,
        limit: int | None = None,
        max_buckets: int = MAX_BUCKETS,
        approximate: bool = False,
    ) -> Aggregation:
        """Check what a user asks for.

        Raises:
            QueryError: it cannot be aggregated so.
        """
        groups = tuple(dict.fromkeys(find_column(name, columns, "by") for name in _listed(by, "by")))
        for column in groups:
            if column.kind is Kind.TIME and column.type.python is not date:
                raise UnsupportedOperatorError(
                    f"by: {column!r} ({column.kind}) has too many values to group by; use every='1d' with "
                    f"time={column.name!r}"
                )
            if column.kind is Kind.SCORES:
                raise UnsupportedOperatorError(f"by: name one score, such as score.helpfulness, not {column!r}")
        read = tuple(dict.fromkeys(parse_metric(text, columns) for text in _listed(metrics, "metrics")))
        if not read:
            raise QueryError("metrics: ask for at least one, such as 'count'")
        time_column = find_column(time, columns, "time")
        if time_column.kind is not Kind.TIME:
            raise UnsupportedOperatorError(f"time: {time_column!r} ({time_column.kind}) holds no times")
        buckets = None if every is None else Buckets(every, tz)
        if buckets is None and fill:
            raise QueryError("fill: there are no buckets to fill without every='1h'")
        bounds = None
        if isinstance(fill, tuple) and buckets is not None:
            try:
                first, last = (microseconds_of(instant) for instant in fill)
            except (TypeError, ValueError):
                raise QueryError(f"fill is True, or two aware datetimes (from, to), not {shown(fill)}") from None
            bounds = buckets.start(first), buckets.start(max(first, last - 1))
        names = ([BUCKET] if buckets else []) + [column.name for column in groups] + [metric.name for metric in read]
        order, descending = None, False
        if order_by is not None:
            name, descending = parse_direction(order_by) if isinstance(order_by, str) else (order_by, False)
            order = _output_name(name, names, columns)
        check_limit(limit)
        return cls(
            groups,
            read,
            buckets,
            time_column,
            order,
            descending,
            limit,
            bool(fill),
            bounds,
            tuple(names),
            max_buckets,
            "" if buckets is None else buckets.text,
            approximate,
        )

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column of the rows holds, by name. A row has one value of a column of several texts."""
        found = {BUCKET: Kind.TIME} if self.buckets else {}
        found |= {column.name: Kind.TAG if column.kind is Kind.TAGS else column.kind for column in self.groups}
        return found | {metric.name: metric.kind for metric in self.metrics}

    @property
    def columns(self) -> dict[str, Column[Any]]:
        """The columns whose values the rows have, by name in the rows: of groups, minima, maxima and percentiles."""
        found = {column.name: column for column in self.groups}
        for metric in self.metrics:
            if metric.column is not None and (metric.how in ("min", "max") or metric.is_percentile):
                found[metric.name] = metric.column
        return found


def _listed(given: Any, name: str) -> Iterable[Any]:
    try:
        return (given,) if isinstance(given, str | Column) else tuple(given or ())
    except TypeError:
        raise QueryError(f"{name}: a name or a list of names is wanted, not {shown(given)}") from None


def _output_name(name: Any, names: Sequence[str], columns: dict[str, Column[Any]]) -> str:
    if name in names:
        return str(name)
    try:
        found = parse_metric(name, columns).name
    except QueryError:
        try:
            found = find_column(name, columns, "order_by").name
        except UnknownColumnError:
            found = ""
    if found not in names:
        raise UnknownColumnError(
            f"order_by: there is no {shown(name)} in the rows; there are {', '.join(names)}", name, names
        )
    return found
