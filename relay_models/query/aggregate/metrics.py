"""Metrics of an aggregate: what they are called, and how they are computed exactly from values."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Any

from relay_models._checks import shown
from relay_models._time import datetime_of
from relay_models.columns.column import Column, Kind, find_column as column_named
from relay_models.columns.scores import ScoreColumn
from relay_models.errors import QueryError, UnknownColumnError, UnsupportedOperatorError

__all__ = ["Metric", "Tally", "find_column", "parse_metric", "percentile", "positions"]

_METRIC = re.compile(r"\s*([A-Za-z]+[0-9.]*)\s*(?:\(\s*(\w*|\w+\..+?)\s*\))?\s*", re.DOTALL)
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")
_SAME = {
    "mean": "avg",
    "average": "avg",
    "std": "stddev",
    "stdev": "stddev",
    "total": "sum",
    "count_distinct": "distinct",
    "median": "p50",
}
_NAMES = "count, count(column), sum, avg, min, max, stddev, distinct, p50, p90, p95, p99 (any from p0 to p100)"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: `how` is count, sum, avg, min, max, stddev, distinct or a percentile."""

    name: str
    how: str
    # Not compared: `==` on a column makes a condition, and the name identifies the metric.
    column: Column[Any] | None = field(default=None, compare=False)
    percent: float = 0.0

    @property
    def summable(self) -> bool:
        """It follows exactly from counts, sums, minima and maxima of integers."""
        if self.column is None:
            return True
        if self.how == "count" and self.column.ordered and not isinstance(self.column, ScoreColumn):
            return True
        whole = self.column.ordered and self.column.kind is not Kind.NUMBER
        return whole and self.how in ("sum", "avg", "min", "max")

    @property
    def is_percentile(self) -> bool:
        """It is a value at a position in the order of all values."""
        return self.how.startswith("p")

    @property
    def is_ranked(self) -> bool:
        """It is a percentile of values that a server gives exactly."""
        return self.is_percentile and self.column is not None and self.column.kind is not Kind.NUMBER

    @property
    def is_counted(self) -> bool:
        """It follows from the values that there are, without how often each occurs."""
        return self.column is not None and self.column.kind is not Kind.NUMBER and self.how in ("count", "distinct")

    @property
    def needs_all(self) -> bool:
        """A server gives no exact value of it: the numbers are read one by one, or of scores only counted."""
        return not (self.summable or self.is_counted or self.is_ranked)

    @property
    def can_be_estimated(self) -> bool:
        """A server has a quicker estimate of it, or rounds it: all that is not exact from sums of integers."""
        # Lists are grouped by their texts, and no server has a score as a number.
        if self.column is None or self.column.kind is Kind.TAGS or isinstance(self.column, ScoreColumn):
            return False
        return not self.summable and self.how != "count"

    @property
    def kind(self) -> Kind:
        """What its values are."""
        if self.column is None or self.how in ("count", "distinct"):
            return Kind.COUNT
        if self.column.kind is Kind.COUNT and self.how not in ("sum", "min", "max"):
            return Kind.NUMBER
        kind: Kind = self.column.kind
        return kind

    def value(self, number: Any) -> Any:
        """A number as a value of the metric: durations as timedeltas, times as datetimes."""
        if self.kind is Kind.DURATION:
            return timedelta(microseconds=number)
        if self.kind is Kind.TIME:
            moment = datetime_of(round(number))
            return moment.date() if self.column is not None and self.column.type.python is date else moment
        return round(number) if self.kind is Kind.COUNT else number


def find_column(name: Any, columns: dict[str, Column[Any]], what: str) -> Column[Any]:
    """The column that a name, a shorter name or a column means; `UnknownColumnError` where there is none."""
    text = name.name if isinstance(name, Column) else name
    found = column_named(columns, text) if isinstance(text, str) else None
    if found is None or found.kind is Kind.WORDS:
        known = [column.name for column in columns.values() if column.kind is not Kind.WORDS]
        raise UnknownColumnError(f"{what}: there is no column {shown(text)}; there are {', '.join(known)}", text, known)
    return found


def parse_metric(text: Any, columns: dict[str, Column[Any]]) -> Metric:
    """Read ``count``, ``avg(duration)``, ``p95(total_tokens)``, ``distinct(agent_id)``.

    Raises:
        QueryError: there is no such metric.
        UnknownColumnError: there is no such column.
        UnsupportedOperatorError: the column has no such metric.
    """
    match = _METRIC.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise QueryError(f"a metric is one of {_NAMES}, such as avg(duration), not {shown(text)}")
    how = match[1].lower()
    how = _SAME.get(how, how)
    percentile = _PERCENTILE.fullmatch(how)
    if not percentile and how not in ("count", "sum", "avg", "min", "max", "stddev", "distinct"):
        raise QueryError(f"there is no metric {shown(match[1])}; there are {_NAMES}")
    if not match[2]:
        if how != "count":
            raise QueryError(f"{how} is of a column: {how}(duration)")
        return Metric("count", "count")
    column = find_column(match[2], columns, match[1])
    if column.kind is Kind.SCORES:
        raise UnsupportedOperatorError(f"{match[1]} is of one score, such as score.helpfulness, not of {column!r}")
    allowed = "count, distinct"
    if column.ordered:
        allowed += (
            ", min, max, percentiles" if column.kind is Kind.TIME else ", sum, avg, min, max, stddev, percentiles"
        )
    if how not in ("count", "distinct") and (
        not column.ordered or (column.kind is Kind.TIME and how in ("sum", "avg", "stddev"))
    ):
        raise UnsupportedOperatorError(f"{column!r} ({column.kind}) has no {how}; it has {allowed}")
    return Metric(f"{match[1].lower()}({column.name})", how, column, float(percentile[1]) if percentile else 0.0)


class Tally:
    """Values of one column in one group, or what the server computed of them, and what follows from both.

    Sums of integers are exact, sums of floats correctly rounded (`math.fsum`). ``stddev`` is that of a sample (n - 1),
    None below two values. Percentiles interpolate linearly between the two nearest values, as NumPy does and as
    ``statistics.quantiles(method="inclusive")``. None where there is no value.
    """

    __slots__ = ("count", "high", "keep", "low", "percentiles", "seen", "total", "values")

    def __init__(self, keep: bool) -> None:
        self.count = 0
        self.total: int | float = 0
        self.low: Any = None
        self.high: Any = None
        self.keep = keep
        self.values: list[Any] = []
        self.seen: set[Any] = set()
        """Values that are counted as distinct, besides those in `values`."""
        self.percentiles: dict[float, Any] = {}
        """Percentiles that are known without the values."""

    def add(self, value: Any) -> None:
        """Take in a value of a row: a number, a text or a list of texts."""
        if value is None or value == []:
            return
        self.count += 1
        if isinstance(value, str):
            self.seen.add(value)
        elif isinstance(value, list):
            self.seen.update(value)
        elif self.keep:
            self.values.append(value)
        else:
            self.merge(0, value, value, value)

    def merge(self, count: int, total: int | float, low: Any, high: Any) -> None:
        """Add what the server computed; None for an extreme that it was not asked for."""
        self.count += count
        self.total += total
        if low is not None and (self.low is None or low < self.low):
            self.low = low
        if high is not None and (self.high is None or high > self.high):
            self.high = high

    def result(self, metric: Metric) -> Any:
        """The metric as a Python value: durations as timedeltas, times as datetimes."""
        column = metric.column
        how = metric.how
        if how == "count":
            return self.count
        if how == "distinct":
            return len(self.seen.union(self.values))
        if not self.count or column is None:
            return None
        found = self._number(metric)
        return None if found is None else metric.value(found)

    def _number(self, metric: Metric) -> Any:
        how = metric.how
        if metric.percent in self.percentiles and metric.is_percentile:
            return self.percentiles[metric.percent]
        if not self.values:
            return {"sum": self.total, "avg": self.total / self.count, "min": self.low, "max": self.high}[how]
        assert metric.column is not None
        if metric.column.type.python is Decimal:
            return _decimal_number(metric, [Decimal(repr(value)) for value in self.values])
        values = self.values
        exact = all(isinstance(value, int) for value in values)
        match how:
            case "min":
                return min(values)
            case "max":
                return max(values)
            case "sum":
                return sum(values) if exact else math.fsum(values)
            case "avg":
                return (sum(values) if exact else math.fsum(values)) / len(values)
            case "stddev":
                # Exact: of fractions, rounded once.
                return statistics.stdev(values) if len(values) > 1 else None
        values.sort()
        return percentile(len(values), metric.percent, values.__getitem__)


def _decimal_number(metric: Metric, values: list[Decimal]) -> Decimal | None:
    """A metric of decimals: sums are exact, quotients have 28 digits."""
    match metric.how:
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "sum" | "avg":
            with localcontext(prec=100):
                total = sum(values, Decimal(0))
            return total if metric.how == "sum" else total / len(values)
        case "stddev":
            return statistics.stdev(values) if len(values) > 1 else None
    values.sort()
    place = (len(values) - 1) * Decimal(repr(metric.percent)) / 100
    below = int(place)
    low, high = values[below], values[min(below + 1, len(values) - 1)]
    return low if place == below else low + (high - low) * (place - below)


def positions(count: int, percent: float) -> tuple[int, int]:
    """The positions (from 0 on, in ascending order) of the two values that a percentile is between; they may be one."""
    place = (count - 1) * percent / 100
    below = math.floor(place)
    return below, min(below + (below != place), count - 1)


def percentile(count: int, percent: float, at: Callable[[int], Any]) -> Any:
    """The percentile of `count` values.

    Args:
        count: how many values there are; at least one.
        percent: 0 to 100.
        at: gives the value at a position, in ascending order.
    """
    below, above = positions(count, percent)
    low = at(below)
    if above == below:
        return low
    return low + (at(above) - low) * ((count - 1) * percent / 100 - below)
