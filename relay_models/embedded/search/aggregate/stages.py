"""What FT.AGGREGATE does to rows, one stage after the other, and what tells groups apart."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

from relay_models.embedded.search.aggregate.functions import truth
from relay_models.embedded.search.aggregate.hashing import value_hash
from relay_models.embedded.search.execute.sorting import compare_rows
from relay_models.embedded.search.index.documents import Value, single

__all__ = [
    "STAGE_NAMES",
    "Row",
    "applied",
    "counted",
    "filtered",
    "first_rows",
    "identity",
    "paged",
    "products",
    "sorted_rows",
    "told_apart",
]

Row = dict[bytes, Value]

STAGE_NAMES = {
    "applied": "Projector",
    "filtered": "Filter",
    "_grouped": "Grouper",
    "sorted_rows": "Sorter",
    "first_rows": "Sorter",
    "paged": "Pager/Limiter",
    "counted": "Counter",
}
"""What FT.PROFILE calls the functions."""


def told_apart(value: Value) -> Any:
    """The value as a part of what tells groups apart: by its sign where it is zero or no number."""
    if type(value) is float and (not value or value != value):
        return ("sign", value == value, math.copysign(1.0, value))
    return value


def identity(values: list[Value]) -> object:
    """What tells one group from another."""
    parts = [told_apart(single(value)) for value in values]
    if any(type(part) is list for part in parts):
        number = 0
        for part in parts:
            number = value_hash(part, number)
        return (number,)
    return parts[0] if len(parts) == 1 else tuple(parts)


def products(values: list[Value]) -> list[list[Value]]:
    """Each combination of the values, lists giving one after the other."""
    combined: list[list[Value]] = [[]]
    for value in values:
        parts = (value or [None]) if type(value) is list else (value,)
        combined = [[*product, part] for product in combined for part in parts]
    return combined


def applied(alias: bytes, evaluate: Callable[[Row], Value], rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        row[alias] = evaluate(row)
        yield row


def filtered(evaluate: Callable[[Row], Value], rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        if truth(evaluate(row)):
            yield row


def first_rows(most: int, rows: Iterator[Row]) -> Iterator[Row]:
    """The first rows of ordered ones, all taken at once: a cursor that is read later gives what was found now."""
    yield from list(itertools.islice(rows, most))


def sorted_rows(keys: list[tuple[bytes, bool]], most: int, rows: Iterator[Row]) -> Iterator[Row]:
    compare = compare_rows(keys)
    ascending = keys[-1][1] if keys else True

    def order(left: tuple[int, Row], right: tuple[int, Row]) -> int:
        result = compare(left[1], right[1])
        return result or (left[0] - right[0] if ascending else right[0] - left[0])

    numbered = enumerate(rows)
    for _, row in heapq.nsmallest(most, numbered, key=functools.cmp_to_key(order)):
        yield row


def paged(offset: int, limit: int | None, rows: Iterator[Row]) -> Iterator[Row]:
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
    for _ in rows:
        pass
    return
    yield {}
