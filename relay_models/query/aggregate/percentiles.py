"""`percentile_steps`: exact percentiles of many values, of which only a few are read.

The server counts the values of each group in narrow intervals, which takes one pass and a few hundred rows per group.
From the counts follows in which interval each percentile lies. Only the values of these intervals are then read.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay_models.columns.column import Column, Kind
from relay_models.columns.expressions import Compare, Equal, Expression, all_of, any_of
from relay_models.query.aggregate.groups import Groups, GroupTally
from relay_models.query.aggregate.metrics import percentile, positions
from relay_models.query.aggregate.request import Aggregation
from relay_models.query.aggregate.server_groups import ChangedError, InexactError, ServerGroups, exact_integer
from relay_models.query.compiler import CompiledFilter, Values, compile_filter
from relay_models.query.replies import decode_index_info
from relay_models.query.steps import Steps

__all__ = ["percentile_steps"]

# Intervals for each doubling of a value: 2.2 % wide, which of usual distributions hold at most 1 % of the values each.
PER_DOUBLING = 32
# Intervals between the first and the last time, which have no common scale to double on.
OF_TIMES = 2_000
# Maximum number of values that are read; one is a row of an answer, about 10 µs.
MOST_VALUES = 100_000
# Maximum number of groups whose intervals one query names.
MOST_GROUPS = 200


@dataclass(slots=True)
class _Interval:
    """The values of one group between two values that occur: how many there are, and where it matters, which."""

    low: int
    high: int
    count: int
    values: dict[int, int] = field(default_factory=dict)

    def at(self, position: int) -> int:
        """The value at a position within the interval."""
        if self.values:
            for value in sorted(self.values):
                position -= self.values[value]
                if position < 0:
                    return value
        elif self.knows(position):
            return self.low if position == 0 else self.high
        raise ChangedError  # this interval was not read: more documents have made it the one that matters

    def knows(self, position: int) -> bool:
        """Whether the value at a position is known without reading the values."""
        return self.low == self.high or position in (0, self.count - 1)


class _Distribution:
    """How the values of one group are distributed."""

    def __init__(self) -> None:
        self.intervals: list[_Interval] = []
        self.wanted: list[_Interval] = []
        """The intervals whose values must be read."""

    def arrange(self, percents: Iterable[float]) -> None:
        """Put the intervals in order, and find out which must be read."""
        apart: list[_Interval] = []
        for each in sorted(self.intervals, key=lambda interval: interval.low):
            if apart and each.low <= apart[-1].high:
                # Of groups that are merged here, or where the server's logarithm is rounded: they are one.
                last = apart[-1]
                last.high, last.count = max(last.high, each.high), last.count + each.count
            else:
                apart.append(each)
        self.intervals = apart
        for percent in percents:
            for position in positions(self.count, percent):
                interval, inside = self._find(position)
                if not interval.knows(inside) and interval not in self.wanted:
                    self.wanted.append(interval)

    @property
    def count(self) -> int:
        return sum(interval.count for interval in self.intervals)

    def at(self, position: int) -> int:
        interval, inside = self._find(position)
        return interval.at(inside)

    def _find(self, position: int) -> tuple[_Interval, int]:
        for interval in self.intervals:
            if position < interval.count:
                return interval, position
            position -= interval.count
        raise InexactError

    def add(self, value: int, count: int) -> None:
        """Take in values that were read."""
        for interval in self.wanted:
            if interval.low <= value <= interval.high:
                interval.values[value] = interval.values.get(value, 0) + count

    def take(self) -> int:
        """Count the values that were read in place of those counted before; returns by how many the counts differ."""
        changed = 0
        for interval in self.wanted:
            count = sum(interval.values.values())
            changed += abs(count - interval.count)
            interval.count = count
        return changed


def percentile_steps(
    grouped: ServerGroups,
    compiled: CompiledFilter,
    filter: Expression,
    values: Values,
    groups: Groups,
    column: Column[Any],
    percents: Sequence[float],
) -> Steps[None]:
    """Compute percentiles of a column in each group.

    Args:
        grouped: how the documents are grouped.
        compiled: which documents.
        filter: the same as an expression.
        values: the values that its patterns are applied to.
        groups: receives the percentiles; it has the least and greatest value of each group already.
        column: the column, whose values are integers.
        percents: which percentiles (0 to 100).

    Raises:
        InexactError: too many values would have to be read.
        ChangedError: documents were written meanwhile.
    """
    before = decode_index_info((yield ["FT.INFO", grouped.alias]).reply)
    found: dict[int, tuple[GroupTally, _Distribution]] = {}
    reducers: list[Any] = ["REDUCE", "COUNT", 0, "AS", "n"]
    reducers += [
        "REDUCE",
        "MIN",
        1,
        f"@{column.index_name}",
        "AS",
        "low",
        "REDUCE",
        "MAX",
        1,
        f"@{column.index_name}",
        "AS",
        "high",
    ]
    stages: list[Any] = ["FILTER", f"exists(@{column.index_name})"]
    stages += ["APPLY", _interval(groups, column), "AS", "interval"]
    for row in (yield from grouped.steps(compiled, reducers, stages=stages, keys=["interval"])):
        low, high, count = (exact_integer(row.get(name)) for name in (b"low", b"high", b"n"))
        for tallies in grouped.known(groups, row):
            _, distribution = found.setdefault(id(tallies), (tallies, _Distribution()))
            distribution.intervals.append(_Interval(low, high, count))
    for _, distribution in found.values():
        distribution.arrange(percents)
    for part, narrowed in _parts(groups, column, list(found.values())):
        few = compile_filter(all_of([filter, narrowed]), values)
        rows = yield from grouped.steps(few, ["REDUCE", "COUNT", 0, "AS", "n"], column=column)
        for row in rows:
            value, count = grouped.value(column, row), exact_integer(row.get(b"n"))
            for tallies in grouped.known(groups, row):
                if id(tallies) in part:
                    found[id(tallies)][1].add(value, count)
    changed = sum([distribution.take() for _, distribution in found.values()])
    # Documents that are new do no harm, wherever they are counted. One that was replaced may be counted twice.
    if changed and decode_index_info((yield ["FT.INFO", grouped.alias]).reply).replaced != before.replaced:
        raise ChangedError
    for tallies, distribution in found.values():
        tally = tallies.of(column)
        tally.count = tally.count or distribution.count
        for percent in percents:
            tally.percentiles[percent] = percentile(distribution.count, percent, distribution.at)


def _interval(groups: Groups, column: Column[Any]) -> str:
    """The number of a value's interval as an expression of the server."""
    if column.kind is not Kind.TIME:
        return f"floor(log2(@{column.index_name})*{PER_DOUBLING})"
    tallies = [each.of(column) for each in groups.found.values()]
    lows, highs = [each.low for each in tallies if each.count], [each.high for each in tallies if each.count]
    width = (max(highs) - min(lows)) // OF_TIMES + 1 if lows else 1
    return f"floor(@{column.index_name}/{width})"


def _parts(
    groups: Groups, column: Column[Any], found: Sequence[tuple[GroupTally, _Distribution]]
) -> Iterator[tuple[set[int], Expression]]:
    """Groups (by id) whose values are read together, and the documents that have these values, or more.

    Raises:
        InexactError: there are too many.
    """
    wanted = [(tallies, part) for tallies, part in found if part.wanted]
    ranges: list[tuple[int, int]] = []
    for interval in sorted((each for _, part in wanted for each in part.wanted), key=lambda each: each.low):
        if ranges and interval.low <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], interval.high))
        else:
            ranges.append((interval.low, interval.high))
    starts = [low for low, _ in ranges]
    held = 0
    for _, part in found:
        for each in part.intervals:
            place = bisect.bisect_right(starts, each.high) - 1
            if place >= 0 and each.low <= ranges[place][1]:
                held += each.count
    if held <= MOST_VALUES // 4:
        if wanted:
            yield {id(tallies) for tallies, _ in wanted}, any_of([_between(column, *each) for each in ranges])
        return
    if sum(each.count for _, part in wanted for each in part.wanted) > MOST_VALUES:
        raise InexactError
    keys = {id(tallies): key for key, tallies in groups.found.items()}
    for start in range(0, len(wanted), MOST_GROUPS):
        some = wanted[start : start + MOST_GROUPS]
        yield (
            {id(tallies) for tallies, _ in some},
            any_of(
                [
                    all_of(
                        [
                            *_in_group(groups.ask, keys[id(tallies)]),
                            any_of([_between(column, each.low, each.high) for each in part.wanted]),
                        ]
                    )
                    for tallies, part in some
                ]
            ),
        )


def _in_group(ask: Aggregation, key: tuple[Any, ...]) -> Iterator[Expression]:
    """The conditions that documents of a group meet, and few others."""
    start, *values = key
    if ask.buckets is not None and start is not None:
        yield Compare(ask.time, ">=", start)
        yield Compare(ask.time, "<", ask.buckets.after(start))
    for column, value in zip(ask.groups, values, strict=True):
        if value is not None:
            yield Compare(column, "==", value) if column.ordered else Equal(column, value)


def _between(column: Column[Any], low: int, high: int) -> Expression:
    return all_of([Compare(column, ">=", low), Compare(column, "<=", high)])
