"""`compare_windows`: two sets of runs by their numbers, with how sure the differences are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from relay_models.columns.column import Column
from relay_models.columns.kind import Kind
from relay_models.views.columns import known_columns
from relay_models.views.comparing import Fact, difference_text, plain_number
from relay_models.views.formats import column_text, value_text

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["MOST_EXACT", "compare_windows", "usual_columns"]

MOST_EXACT = 2_000
"""Maximum number of runs whose percentiles are exact unless asked for: exact ones need every value."""
# Columns whose values are compared; those of the last are added up, too.
_MEASURED = ("duration", "llm_calls", "tool_calls", "input_tokens", "output_tokens", "total_tokens", "cost",
             "estimated_cost")  # fmt: skip
_SUMMED = ("total_tokens", "cost", "estimated_cost")
_PERCENTILES = ((50, "median"), (95, "p95"))
# The standard normal distribution is within this of its mean with a probability of 95 %.
_Z = 1.96
# The newest runs that tell which columns most runs have a value of.
_SAMPLE = 50
# Below this number of values the intervals are rough.
_FEW = 30


@dataclass(frozen=True, slots=True)
class _Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


def compare_windows(
    backend: RedisBackend,
    left: str | None,
    right: str | None,
    *,
    exact: bool = False,
    counts: tuple[int, int] | None = None,
) -> tuple[Fact, ...]:
    """Compare the numbers of the runs that meet two filters, and say how sure the differences are.

    The 95 % intervals of the differences are made of those of the two sides (MOVER): of means by their standard error
    (for two means this is Welch's), of percentiles by the ranks around them, which supposes no distribution, and of
    shares by Wilson's score. They hold for some tens of runs and more, where no run meets both filters.

    Args:
        backend: the store.
        left: a filter; None for all runs.
        right: another filter.
        exact: compute percentiles from every value also of more than `MOST_EXACT` runs; otherwise those are the
            server's estimates, whose names begin with ``≈``.
        counts: how many runs meet each filter, where that is known.
    """
    known = known_columns(backend.runs.document)
    if counts is None:
        counts = backend.count_runs(left), backend.count_runs(right)
    one, two = (_Side(backend, *side, known, exact) for side in zip((left, right), counts, strict=True))
    facts = [Fact("runs", value_text(one.count), value_text(two.count), difference_text(one.count, two.count))]
    if "failed" in (known["status"].choices or ()):
        facts.append(_failures(one, two))
    for name in (name for name in _MEASURED if name in known):
        if one.present[name] or two.present[name]:
            facts += _of_column(known[name], one, two)
    return tuple(facts)


class _Side:
    """The numbers of the runs that meet a filter.

    One command asks about all columns that most runs have a value of. The others are asked for about the runs that
    have one: a server reads the whole document of each run without a value.
    """

    def __init__(
        self, backend: RedisBackend, where: str | None, count: int, known: Mapping[str, Column[Any]], exact: bool
    ) -> None:
        filters: list[Any] = [] if where is None else [where]
        self.count = count
        self.failed = backend.count_runs([known["status"] == "failed", *filters]) if self.count else 0
        names = [name for name in _MEASURED if name in known]
        self.present = dict.fromkeys(names, 0)
        self.estimated: set[str] = set()
        self._found: dict[str, Any] = {}
        if not self.count:
            return

        def ask(filter: Any, metrics: Iterable[str]) -> None:
            rows = backend.aggregate_runs(
                metrics=list(dict.fromkeys(metrics)), filter=filter, approximate=not exact and self.count > MOST_EXACT
            )
            self.estimated.update(rows.estimated)
            self._found |= dict(rows[0].items())

        usual = usual_columns(backend, where, [known[name] for name in names])
        counts = [f"count({name})" for name in usual]
        ask(where, ["count", *counts, *(metric for name in usual for metric in _metrics(name, self.count))])
        for name in names:
            having = [known[name].present(), *filters]
            present = self._found[f"count({name})"] if name in usual else backend.count_runs(having)
            self.present[name] = present
            if present and (name not in usual or _metrics(name, present) != _metrics(name, self.count)):
                # The ranks at the ends of the intervals follow from how many values there are.
                ask(having, _metrics(name, present))

    def value(self, metric: str) -> Any:
        """A metric; None where no run has a value."""
        return self._found.get(metric)

    def mean(self, name: str) -> _Estimate | None:
        """The mean of a column."""
        count = self.present[name]
        if count < 2:
            return None
        mean, spread = (plain_number(self.value(f"{how}({name})")) for how in ("avg", "stddev"))
        margin = _Z * spread / math.sqrt(count)
        return _Estimate(mean, mean - margin, mean + margin)

    def percentile(self, name: str, percent: int) -> _Estimate | None:
        """A percentile of a column; None where its interval goes beyond the greatest value."""
        ranks = _ranks(percent, self.present[name])
        if len(ranks) < 3:
            return None
        return _Estimate(*(plain_number(self.value(f"p{each:g}({name})")) for each in ranks))

    @property
    def failure_rate(self) -> _Estimate | None:
        """The share of runs that failed, with Wilson's interval."""
        if not self.count:
            return None
        share, scaled = self.failed / self.count, _Z**2 / self.count
        middle = (share + scaled / 2) / (1 + scaled)
        margin = _Z / (1 + scaled) * math.sqrt(share * (1 - share) / self.count + scaled / self.count / 4)
        return _Estimate(share, middle - margin, middle + margin)


def usual_columns(backend: RedisBackend, where: str | None, columns: Sequence[Column[Any]]) -> list[str]:
    """The columns that most of the newest runs have a value of, of those whose values a server counts exactly."""
    newest = backend.find_runs(where, limit=_SAMPLE, columns=True, on_corrupt="skip")
    present = {column: sum(getattr(run, column.name) is not None for run in newest) for column in columns}
    return [each.name for each in columns if each.kind is not Kind.NUMBER and present[each] * 2 > len(newest)]


def _metrics(name: str, count: int) -> list[str]:
    """What is asked about a column of which `count` runs have a value."""
    metrics = [f"{how}({name})" for how in ("avg", "stddev", *(("sum",) if name in _SUMMED else ()))]
    return metrics + [f"p{each:g}({name})" for percent, _ in _PERCENTILES for each in _ranks(percent, count)]


def _ranks(percent: int, count: int) -> tuple[float, ...]:
    """A percentile, and the percentiles that are the ends of its interval (binomial, by its normal approximation).

    Only the percentile where there are too few values for an interval: of p95 fewer than 73.
    """
    share = percent / 100
    margin = 100 * _Z * math.sqrt(share * (1 - share) / count) if count else math.inf
    low, high = percent - margin, percent + margin
    return (percent, round(low, 2), round(high, 2)) if low >= 0 and high <= 100 else (percent,)


def _failures(one: _Side, two: _Side) -> Fact:
    left, right = one.failure_rate, two.failure_rate
    texts = [
        value_text(side.failed) if rate is None else f"{side.failed:,} ({rate.value:.1%})"
        for side, rate in ((one, left), (two, right))
    ]
    difference = sure = ""
    if left is not None and right is not None:
        points = _points(right.value - left.value)
        difference = "same" if right.value == left.value else points
        sure = _certainty(left, right, min(one.count, two.count), _points)
    return Fact("failed runs", texts[0], texts[1], difference, sure)


def _points(share: float) -> str:
    """A difference of shares in percentage points."""
    return f"{share * 100:+.1f} points"


def _of_column(column: Column[Any], one: _Side, two: _Side) -> list[Fact]:
    """The sum, the mean and the percentiles of a column."""
    name, heading = column.name, column.name.replace("_", " ")
    few = min(one.present[name], two.present[name])

    def signed(value: float) -> str:
        amount = column_text(column, timedelta(seconds=abs(value)) if column.kind is Kind.DURATION else abs(value))
        return f"{'-' if value < 0 else '+'}{amount}"

    facts = [_fact(column, one, two, f"sum({name})", f"{heading}, sum", "")] if name in _SUMMED else []
    mean = _certainty(one.mean(name), two.mean(name), few, signed)
    facts.append(_fact(column, one, two, f"avg({name})", f"{heading}, mean", mean))
    for percent, words in _PERCENTILES:
        sure = _certainty(one.percentile(name, percent), two.percentile(name, percent), few, signed)
        facts.append(_fact(column, one, two, f"p{percent}({name})", f"{heading}, {words}", sure))
    return facts


def _fact(column: Column[Any], one: _Side, two: _Side, metric: str, title: str, sure: str) -> Fact:
    left, right = one.value(metric), two.value(metric)
    difference = "" if left is None or right is None else difference_text(left, right)
    mark = "≈ " if metric in one.estimated | two.estimated else ""
    return Fact(mark + title, column_text(column, left), column_text(column, right), difference, sure)


def _certainty(left: _Estimate | None, right: _Estimate | None, count: int, show: Any) -> str:
    """Say how sure a difference is: the interval of it, and whether that is on one side of zero."""
    if left is None or right is None:
        return "too few runs to say"
    difference = right.value - left.value
    low = difference - math.hypot(right.value - right.low, left.high - left.value)
    high = difference + math.hypot(right.high - right.value, left.value - left.low)
    words = "clear" if low > 0 or high < 0 else "may be chance"
    few = ", few runs" if count < _FEW else ""
    return f"{words}: {show(low)} to {show(high)}{few}"
