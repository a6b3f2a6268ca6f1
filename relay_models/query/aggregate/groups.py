"""`Groups`: what an aggregate has counted, by bucket and values; `AggregateRow`: a row of the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

from relay_models._checks import shown
from relay_models.columns.column import Column, Kind
from relay_models.errors import QueryError
from relay_models.query.aggregate.buckets import Buckets
from relay_models.query.aggregate.metrics import Metric, Tally
from relay_models.query.aggregate.request import BUCKET, Aggregation

__all__ = ["AggregateRow", "AggregateRows", "AggregateValue", "GroupTally", "Groups"]


AggregateValue: TypeAlias = str | int | float | Decimal | datetime | date | timedelta | Enum | UUID | None
"""A bucket, a group or a metric."""


class AggregateRow(Mapping[str, AggregateValue]):
    """A row of an aggregate, a mapping: the bucket (where there is one), the groups, the metrics, in this order.

    A bucket is the aware datetime at which it begins, None for runs without the time. A group is a value of its
    column, None for runs without one.
    Metrics of durations are timedeltas, of times datetimes, of decimals exact decimals; counts and sums of integers
    are exact integers.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, AggregateValue]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> AggregateValue:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(f"no column {shown(name)} in this row; it has {', '.join(self._values)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def to_dict(self) -> dict[str, AggregateValue]:
        """The row as a dict."""
        return dict(self._values)

    def __repr__(self) -> str:
        return f"AggregateRow({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"


class AggregateRows(list[AggregateRow]):
    """The rows of an aggregate. They know their columns, also where there is no row.

    Args:
        rows: The rows.
        kinds: What each column holds, by name, in the order of the columns.
        estimated: The columns whose values are the server's estimates; none unless ``approximate=True`` allowed them.
        columns: The columns of documents whose values they hold, by name.
    """

    __slots__ = ("columns", "estimated", "kinds")

    def __init__(
        self,
        rows: Iterable[AggregateRow] = (),
        kinds: Mapping[str, Kind] | None = None,
        estimated: Iterable[str] = (),
        columns: Mapping[str, Column[Any]] | None = None,
    ) -> None:
        super().__init__(rows)
        self.kinds: dict[str, Kind] = dict(kinds or {})
        self.estimated: tuple[str, ...] = tuple(estimated)
        self.columns: dict[str, Column[Any]] = dict(columns or {})


class GroupTally:
    """One group: how many rows, and a tally for each column that a metric is about."""

    __slots__ = ("count", "each", "estimates")

    def __init__(self, columns: Sequence[tuple[Column[Any], bool]]) -> None:
        self.count = 0
        self.estimates: dict[str, Any] = {}
        """Results that the server estimated, by the metric's name."""
        self.each = [(column, Tally(keep)) for column, keep in columns]

    def of(self, column: Column[Any]) -> Tally:
        return next(tally for known, tally in self.each if known is column)

    def estimate(self, metric: Metric, raw: Any, count: int) -> None:
        """Take in the server's estimate of a metric as it is in an answer.

        Args:
            metric: the metric.
            raw: what the answer has; for an average the sum.
            count: how many rows of the group have a value. Some servers take the others for zeros.
        """
        number = math.nan if raw is None else float(raw)
        if metric.how == "avg" and count:
            number /= count
        is_known = math.isfinite(number) and (metric.how == "distinct" or count > (metric.how == "stddev"))
        value = metric.value(number) if is_known else None
        if type(value) is float and metric.column is not None and metric.column.type.python is Decimal:
            value = Decimal(repr(value))
        self.estimates[metric.name] = value

    def result(self, metric: Metric) -> Any:
        """The metric as a Python value."""
        if metric.name in self.estimates:
            return self.estimates[metric.name]
        return self.count if metric.column is None else self.of(metric.column).result(metric)


class Groups:
    """The groups of an aggregate by bucket and values, and the rows that they give."""

    def __init__(self, ask: Aggregation) -> None:
        self.ask = ask
        keep: dict[Column[Any], bool] = {}
        for metric in ask.metrics:
            if metric.column is not None:
                keep[metric.column] = keep.get(metric.column, False) or not metric.summable
        self.columns = list(keep.items())
        self.found: dict[tuple[Any, ...], GroupTally] = {}
        self.estimated: list[Metric] = []
        """The metrics that the server estimated."""

    def at(self, start: int | None, values: Sequence[Any]) -> Iterator[GroupTally]:
        """The groups that a row is in: one for each combination of its values."""
        keys: list[tuple[Any, ...]] = [(start,)]
        for value in values:
            options = (value or [None]) if isinstance(value, list) else [value]
            keys = [(*key, option) for key in keys for option in options]
        for key in keys:
            tallies = self.found.get(key)
            if tallies is None:
                tallies = self.found[key] = GroupTally(self.columns)
            yield tallies

    def rows(self) -> AggregateRows:
        """The rows, sorted and cut."""
        ask = self.ask
        if not self.found and not ask.groups and ask.buckets is None:
            self.found[(None,)] = GroupTally(self.columns)
        if ask.fill and ask.buckets is not None:
            self._fill(ask.buckets)
        found = sorted(self.found, key=lambda key: tuple(map(_sort_key, key)))
        rows = [(key, self._row(key, self.found[key])) for key in found]
        if ask.order_by is not None:
            name = ask.order_by
            known = [each for each in rows if each[1][name] is not None]
            # By instant: the wall clock shows an hour twice when it is set back.
            names = [BUCKET, *(column.name for column in ask.groups)]
            place = names.index(name) if name in names else None

            def order_key(each: tuple[tuple[Any, ...], AggregateRow]) -> Any:
                return each[1][name] if place is None else each[0][place]

            known.sort(key=order_key, reverse=ask.descending)
            rows = known + [each for each in rows if each[1][name] is None]
        kept = rows if ask.limit is None else rows[: ask.limit]
        estimated = (metric.name for metric in self.estimated)
        return AggregateRows((row for _, row in kept), ask.kinds, estimated, ask.columns)

    def _fill(self, buckets: Buckets) -> None:
        starts = [key[0] for key in self.found if key[0] is not None]
        if self.ask.bounds is not None:
            starts += self.ask.bounds
        groups = {key[1:] for key in self.found} or (set() if self.ask.groups else {()})
        if not starts:
            return
        count = buckets.count(min(starts), max(starts)) * len(groups)
        if count > self.ask.max_buckets:
            first, last = buckets.label(min(starts)), buckets.label(max(starts))
            raise QueryError(
                f"fill: {self.ask.every!r} from {first} to {last} makes about {count:,} rows, more than "
                f"max_buckets={self.ask.max_buckets:,}: choose longer buckets or a shorter time, or pass a greater "
                "max_buckets"
            )
        for start in buckets.between(min(starts), max(starts)):
            for group in groups:
                self.found.setdefault((start, *group), GroupTally(self.columns))

    def _row(self, key: tuple[Any, ...], tallies: GroupTally) -> AggregateRow:
        values: dict[str, Any] = {}
        if self.ask.buckets is not None:
            values[BUCKET] = None if key[0] is None else self.ask.buckets.label(key[0])
        for column, value in zip(self.ask.groups, key[1:], strict=True):
            load = (column.type.item or column.type).load
            values[column.name] = value if value is None or load is None else load(value)
        for metric in self.ask.metrics:
            values[metric.name] = tallies.result(metric)
        return AggregateRow(values)


def _sort_key(value: Any) -> tuple[bool, Any]:
    return value is None, 0 if value is None else value
