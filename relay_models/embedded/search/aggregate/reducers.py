"""`read_reducer`: the reducers of GROUPBY, each with an accumulator over the rows of a group."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from relay_models.embedded.search.aggregate.functions import to_number
from relay_models.embedded.search.aggregate.hashing import DistinctEstimate, value_hash
from relay_models.embedded.search.aggregate.quantiles import QuantileStream
from relay_models.embedded.search.arguments import (
    NO_ARGUMENT,
    UNPARSABLE,
    Arguments,
    display,
    parse_double,
    parse_integer,
)
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.sorting import compare
from relay_models.embedded.search.index.documents import Value, single

__all__ = ["BY_COLUMN", "Accumulator", "ColumnAccumulator", "Reducer", "column_accumulators", "read_reducer"]

MAXIMUM_SAMPLE = 1000


class Accumulator(Protocol):
    """Accumulates the rows of one group."""

    def add(self, row: dict[bytes, Value]) -> None: ...

    def result(self) -> Value: ...


class ColumnAccumulator(Accumulator, Protocol):
    """One that also takes the numbers of many rows at once, in the order of the rows."""

    def extend(self, numbers: Sequence[float]) -> None: ...


@dataclass(slots=True)
class Reducer:
    """One REDUCE: its name, the property it reads (None: none), its alias, and its accumulators."""

    name: str
    source: bytes | None
    alias: bytes
    start: Callable[[], Accumulator]


class _Count:
    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def add(self, row: dict[bytes, Value]) -> None:
        self.number += 1

    def result(self) -> Value:
        return float(self.number)


class _Sum:
    __slots__ = ("_average", "_source", "number", "total")

    def __init__(self, source: bytes, average: bool) -> None:
        self._source, self._average = source, average
        self.number, self.total = 0, 0.0

    def add(self, row: dict[bytes, Value]) -> None:
        value = row.get(self._source)
        if type(value) is not float:
            value = to_number(value)
            if value is None:
                return
        self.total += value
        self.number += 1

    def result(self) -> Value:
        if not self.number:
            return math.nan
        return self.total / self.number if self._average else self.total


class _Extreme:
    __slots__ = ("_pick", "_source", "value")

    def __init__(self, source: bytes, pick: Callable[[float, float], float], start: float) -> None:
        self._source, self._pick, self.value = source, pick, start

    def add(self, row: dict[bytes, Value]) -> None:
        number = to_number(row.get(self._source))
        if number is not None:
            self.value = self._pick(self.value, number)

    def result(self) -> Value:
        return self.value


class _Distinct:
    __slots__ = ("_seen", "_source")

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._seen: set[int | float | bytes | None] = set()

    def add(self, row: dict[bytes, Value]) -> None:
        value = row.get(self._source)
        if value is not None:
            value = single(value)
            self._seen.add(value_hash(value) if type(value) is list else value)

    def result(self) -> Value:
        return float(len(self._seen))


class _Estimate:
    __slots__ = ("_estimate", "_raw", "_source")

    def __init__(self, source: bytes, raw: bool) -> None:
        self._source, self._raw = source, raw
        self._estimate = DistinctEstimate()

    def add(self, row: dict[bytes, Value]) -> None:
        value = row.get(self._source)
        if value is not None:
            self._estimate.add(value)

    def result(self) -> Value:
        if self._raw:
            return struct.pack("<IB", 0, 8) + bytes(self._estimate.registers)
        return float(self._estimate.count())


class _EstimateSum:
    __slots__ = ("_estimate", "_source")

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._estimate: DistinctEstimate | None = None

    def add(self, row: dict[bytes, Value]) -> None:
        value = single(row.get(self._source))
        if type(value) is bytes and len(value) == 5 + 256 and value[4] == 8:
            self._estimate = self._estimate or DistinctEstimate()
            self._estimate.merge(value[5:])

    def result(self) -> Value:
        return float(self._estimate.count()) if self._estimate else 0.0


def _numbers(value: Value) -> list[float]:
    parts = value if type(value) is list else [value]
    return [number for number in map(to_number, parts) if number is not None]


class _Deviation:
    __slots__ = ("_mean", "_number", "_source", "_squares")

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._number, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, row: dict[bytes, Value]) -> None:
        self.extend(_numbers(row.get(self._source)))

    def extend(self, numbers: Sequence[float]) -> None:
        for number in numbers:
            self._number += 1
            before = number - self._mean
            if self._number == 1:
                self._mean = number
            else:
                self._mean += before / self._number
                self._squares += before * (number - self._mean)

    def result(self) -> Value:
        return math.sqrt(self._squares / (self._number - 1)) if self._number > 1 else 0.0


class _Quantile:
    __slots__ = ("_quantile", "_source", "_stream")

    def __init__(self, source: bytes, quantile: float, resolution: int) -> None:
        self._source, self._quantile = source, quantile
        self._stream = QuantileStream(resolution)

    def add(self, row: dict[bytes, Value]) -> None:
        value = row.get(self._source)
        if type(value) is float:
            self._stream.add(value)
            return
        for number in _numbers(value):
            self._stream.add(number)

    def extend(self, numbers: Sequence[float]) -> None:
        self._stream.extend(numbers)

    def share(self, other: _Quantile) -> bool:
        """Take the samples of another quantile of the same property. Returns whether these are the same."""
        if other._source != self._source or other._stream.resolution != self._stream.resolution:
            return False
        self._stream = other._stream
        return True

    def result(self) -> Value:
        return self._stream.query(self._quantile)


class _List:
    __slots__ = ("_seen", "_source")

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._seen: dict[object, Value] = {}

    def add(self, row: dict[bytes, Value]) -> None:
        if self._source not in row:
            return
        value = row[self._source]
        for part in value if type(value) is list else (value,):
            self._seen.setdefault(value_hash(part), part)

    def result(self) -> Value:
        return list(self._seen.values())


class _First:
    __slots__ = ("_ascending", "_by", "_seen", "_sort", "_source", "_value")

    def __init__(self, source: bytes, by: bytes | None, ascending: bool) -> None:
        self._source, self._by, self._ascending = source, by, ascending
        self._seen = False
        self._value: Value = None
        self._sort: Value = None

    def add(self, row: dict[bytes, Value]) -> None:
        value = row.get(self._source)
        if self._by is None:
            if not self._seen:
                self._seen, self._value = True, value
            return
        sort = row.get(self._by)
        if not self._seen:
            self._seen, self._value, self._sort = True, value, sort
            return
        if sort is None:
            return
        order = 1 if self._sort is None else compare(sort, self._sort)
        if self._sort is None or (order < 0 if self._ascending else order > 0):
            self._value, self._sort = value, sort

    def result(self) -> Value:
        return self._value


class _Sample:
    __slots__ = ("_length", "_seen", "_source", "_values")

    def __init__(self, source: bytes, length: int) -> None:
        self._source, self._length, self._seen = source, length, 0
        self._values: list[Value] = []

    def add(self, row: dict[bytes, Value]) -> None:
        if self._source not in row:
            return
        value = row[self._source]
        if self._seen < self._length:
            self._values.append(value)
        else:
            place = random.randrange(self._seen + 1)
            if place < self._length:
                self._values[place] = value
        self._seen += 1

    def result(self) -> Value:
        return self._values


Resolve = Callable[[bytes], None]
"""Makes a property available to the reducers. Raises `SearchError`."""


def read_reducer(name: bytes, arguments: Arguments, alias: bytes | None, resolve: Resolve) -> Reducer:
    """A reducer from its arguments. Raises `SearchError`."""
    word = display(name).upper()
    if alias is None:
        parts = b",".join(value.lstrip(b"@") for value in arguments.values)
        alias = (b"__generated_alias" + name + parts).lower()
    if word == "COUNT":
        if arguments:
            raise SearchError("Count accepts 0 values only")
        return Reducer(word, None, alias, _Count)
    simple = _SIMPLE.get(word)
    if simple is not None:
        source = _source(display(name), arguments, resolve)
        return Reducer(word, source, alias, lambda: simple(source))
    if word == "QUANTILE":
        return _read_quantile(display(name), alias, arguments, resolve)
    if word == "FIRST_VALUE":
        return _read_first(display(name), alias, arguments, resolve)
    if word == "RANDOM_SAMPLE":
        source = _source(display(name), arguments, resolve)
        size = parse_integer(arguments.take()) if arguments else None
        if size is None or size < 0:
            why = NO_ARGUMENT if len(arguments.values) < 2 else UNPARSABLE
            raise SearchError(f"Bad arguments for <sample size>: {why}")
        if size > MAXIMUM_SAMPLE:
            raise SearchError("Sample size too large")
        return Reducer(word, source, alias, lambda: _Sample(source, size))
    raise SearchError(f"No such reducer: {display(name)}")


BY_COLUMN: Final = frozenset(("QUANTILE", "STDDEV"))
"""The names of reducers whose accumulators are `ColumnAccumulator`s."""


def column_accumulators(reducers: Sequence[Reducer]) -> tuple[list[Accumulator], dict[bytes, list[ColumnAccumulator]]]:
    """The accumulators of one group for reducers of `BY_COLUMN`.

    Returns:
        One for each reducer, and those that are to be given the numbers of each property: quantiles of one property
        share their samples.
    """
    made: list[Accumulator] = []
    fed: dict[bytes, list[ColumnAccumulator]] = {}
    for reducer in reducers:
        accumulator = reducer.start()
        assert reducer.source is not None
        assert isinstance(accumulator, (_Quantile, _Deviation))
        made.append(accumulator)
        others = fed.setdefault(reducer.source, [])
        if not (
            isinstance(accumulator, _Quantile)
            and any(isinstance(other, _Quantile) and accumulator.share(other) for other in others)
        ):
            others.append(accumulator)
    return made, fed


_SIMPLE: dict[str, Callable[[bytes], Accumulator]] = {
    "SUM": lambda source: _Sum(source, False),
    "AVG": lambda source: _Sum(source, True),
    "MIN": lambda source: _Extreme(source, min, math.inf),
    "MAX": lambda source: _Extreme(source, max, -math.inf),
    "COUNT_DISTINCT": _Distinct,
    "COUNT_DISTINCTISH": lambda source: _Estimate(source, False),
    "HLL": lambda source: _Estimate(source, True),
    "HLL_SUM": _EstimateSum,
    "STDDEV": _Deviation,
    "TOLIST": _List,
}


def _source(name: str, arguments: Arguments, resolve: Resolve) -> bytes:
    if not arguments:
        raise SearchError(f"Missing arguments for {name}")
    source = arguments.take().removeprefix(b"@")
    resolve(source)
    return source


def _read_quantile(name: str, alias: bytes, arguments: Arguments, resolve: Resolve) -> Reducer:
    source = _source(name, arguments, resolve)
    if not arguments:
        raise SearchError(f"Bad arguments for {name}: {NO_ARGUMENT}")
    quantile = parse_double(arguments.take())
    if quantile is None:
        raise SearchError(f"Bad arguments for {name}: {UNPARSABLE}")
    if not 0 <= quantile <= 1:
        raise SearchError("Percentage must be between 0.0 and 1.0")
    resolution = 500
    if arguments:
        given = parse_integer(arguments.take())
        if given is None:
            raise SearchError(f"Bad arguments for <resolution>: {UNPARSABLE}")
        if not 1 <= given <= MAXIMUM_SAMPLE:
            raise SearchError("Invalid resolution")
        resolution = given
    _consumed(name, arguments)
    return Reducer("QUANTILE", source, alias, lambda: _Quantile(source, quantile, resolution))


def _read_first(name: str, alias: bytes, arguments: Arguments, resolve: Resolve) -> Reducer:
    source = _source(name, arguments, resolve)
    by, ascending = None, True
    if arguments.accept(b"BY"):
        by = _source(name, arguments, resolve)
        if arguments.accept(b"DESC"):
            ascending = False
        else:
            arguments.accept(b"ASC")
    _consumed(name, arguments)
    return Reducer("FIRST_VALUE", source, alias, lambda: _First(source, by, ascending))


def _consumed(name: str, arguments: Arguments) -> None:
    if arguments:
        word = display(arguments.peek())
        raise SearchError(f"Unknown argument `{word}` at position {arguments.position} for {name}")
