"""The stages of FT.AGGREGATE but for GROUPBY: what each does to the rows."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from relay_models.embedded.search.aggregate.functions import truth
from relay_models.embedded.search.execute.sorting import compare_rows
from relay_models.embedded.search.index.documents import Value

__all__ = ["Row", "Stage", "Total", "applied", "counted", "filtered", "first_rows", "paged", "sorted_rows"]

Row: TypeAlias = dict[bytes, Value]


@dataclass(slots=True)
class Total:
    """How many rows there are, as the real server counts: the documents read so far, or the groups."""

    number: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a pipeline, and what FT.PROFILE calls it."""

    name: str
    run: Callable[[Iterator[Any]], Iterator[Any]]


def applied(alias: bytes, evaluate: Callable[[Row], Value], rows: Iterator[Row]) -> Iterator[Row]:
    """APPLY: the rows with one more property."""
    for row in rows:
        row[alias] = evaluate(row)
        yield row


def filtered(evaluate: Callable[[Row], Value], total: Total, rows: Iterator[Row]) -> Iterator[Row]:
    """FILTER: the rows for which an expression is true. The others do not count."""
    for row in rows:
        if truth(evaluate(row)):
            yield row
        else:
            total.number -= 1


def first_rows(most: int, rows: Iterator[Row]) -> Iterator[Row]:
    """The first rows of ordered ones, all taken at once: a cursor that is read later gives what was found now."""
    yield from list(itertools.islice(rows, most))


def sorted_rows(keys: list[tuple[bytes, bool]], most: int, rows: Iterator[Row]) -> Iterator[Row]:
    """SORTBY: the first rows in the order of (name, ascending) keys."""
    compare = compare_rows(keys)
    ascending = keys[-1][1] if keys else True

    def order(left: tuple[int, Row], right: tuple[int, Row]) -> int:
        result = compare(left[1], right[1])
        return result or (left[0] - right[0] if ascending else right[0] - left[0])

    numbered = enumerate(rows)
    for _, row in heapq.nsmallest(most, numbered, key=functools.cmp_to_key(order)):
        yield row


def paged(offset: int, limit: int | None, rows: Iterator[Row]) -> Iterator[Row]:
    """LIMIT: the rows after an offset."""
    for _ in range(offset):
        if next(rows, None) is None:
            return
    if limit is None:
        yield from rows
        return
    for _ in range(limit):
        row = next(rows, None)
        if row is None:
            return
        yield row


def counted(rows: Iterator[Row]) -> Iterator[Row]:
    """LIMIT 0 0: no row, though all are read."""
    for _ in rows:
        pass
    return
    yield {}
