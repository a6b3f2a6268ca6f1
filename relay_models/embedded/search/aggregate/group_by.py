"""`grouped`: GROUPBY of FT.AGGREGATE, and what identifies a group."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from relay_models.embedded.search.aggregate.hashing import value_hash
from relay_models.embedded.search.aggregate.reducers import Accumulator, Reducer
from relay_models.embedded.search.aggregate.stages import Row, Total
from relay_models.embedded.search.index.documents import Value, single

__all__ = ["combinations", "group_key", "grouped"]

_PLAIN = (bytes, float, type(None))


def grouped(by: list[bytes], reducers: list[Reducer], total: Total, rows: Iterator[Row]) -> Iterator[Row]:
    """GROUPBY: one row per group, with the results of the reducers.

    Args:
        by: The properties that rows are grouped by; of a list, a row is in the group of each value.
        reducers: What is computed of each group.
        total: Is set to the number of groups.
        rows: The rows, all of which are read before the first group is given.
    """
    groups: dict[object, tuple[list[Value], list[Accumulator]]] = {}
    starts = [reducer.start for reducer in reducers]
    only = by[0] if len(by) == 1 else None
    for row in rows:
        if only is not None and type(row.get(only)) in _PLAIN:
            value = row.get(only)
            key = value if value and value == value else _key_part(value)
            group = groups.get(key)
            if group is None:
                group = groups[key] = ([value], [start() for start in starts])
            for accumulator in group[1]:
                accumulator.add(row)
            continue
        for values in combinations([row.get(name) for name in by]):
            key = group_key(values)
            group = groups.get(key)
            if group is None:
                group = groups[key] = (values, [start() for start in starts])
            for accumulator in group[1]:
                accumulator.add(row)
    total.number = len(groups)
    for values, accumulators in groups.values():
        result: Row = dict(zip(by, values, strict=True))
        for reducer, accumulator in zip(reducers, accumulators, strict=True):
            result[reducer.alias] = accumulator.result()
        yield result


def _key_part(value: Value) -> Any:
    """A value as part of a group key: zero and NaN by their sign."""
    if type(value) is float and (not value or value != value):
        return ("sign", value == value, math.copysign(1.0, value))
    return value


def group_key(values: list[Value]) -> object:
    """What identifies the group of these values."""
    parts = [_key_part(single(value)) for value in values]
    if any(type(part) is list for part in parts):
        number = 0
        for part in parts:
            number = value_hash(part, number)
        return (number,)
    return parts[0] if len(parts) == 1 else tuple(parts)


def combinations(values: list[Value]) -> list[list[Value]]:
    """Each combination of the values, a list giving one of its values after the other."""
    combined: list[list[Value]] = [[]]
    for value in values:
        parts = (value or [None]) if type(value) is list else (value,)
        combined = [[*product, part] for product in combined for part in parts]
    return combined
