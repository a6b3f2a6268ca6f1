"""`PageBounds`: the cached bounds of first pages, so that a server orders few rows for a page asked for before."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from typing import Any

from relay_models.columns.expressions import Compare, Expression
from relay_models.columns.kind import Kind
from relay_models.query.paging.pager import Pager
from relay_models.query.replies import decode_rows
from relay_models.query.steps import Command, Steps

__all__ = ["PageBounds"]

# Maximum number of queries whose bound is kept; one costs about 200 bytes.
_MAXIMUM = 512
# Milliseconds for a query without a bound from which on it is worth guessing one for the next.
_SLOW_MS = 3.0
# Rows of a sample, and the share of them that is within the bound: 10,000 rows of a million. A time that rises is
# sampled from its beginning, since rows are in the order of their storing: there more of them are within the bound.
_SAMPLE, _SHARE, _SHARE_OF_TIMES = 2_000, 0.01, 0.1
# Times before now that the newest rows may be in (seconds).
_RECENT = (60.0, 3_600.0, 86_400.0, 30 * 86_400.0, 365 * 86_400.0)
# How often the shortest of these that has enough rows is halved.
_HALVINGS = 8


class PageBounds:
    """The sort value of the last row of each page that was asked for.

    A server orders all documents that match to give the first fifty. Asked only for those within the bound, it looks
    at little more than these; and if they are still enough, they are the first ones, whatever has been written since.
    If they are not, the query is sent without a bound. In a large store the bound of a page that was not asked for
    before is guessed: from a sample of rows, and for the newest ones from the clock.

    (``WITHOUTCOUNT`` asks a server to find such a bound. But RediSearch 8.0.2 then gives wrong rows for some filters,
    and 2.10.5 has crashed.)

    Queries and orders are keyed by hashes: a wrong bound costs time, but never a row. Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[int, float] = {}
        self._guessed: dict[int, None] = {}
        self._is_slow = False
        self._is_large = False

    def request_steps(self, pager: Pager[Any], most: int) -> Steps[None]:
        """Ask for the next `most` rows, within the bound if there is one, and give the pager its answer."""
        order = hash((pager.alias, str(pager.order), most))
        query = hash((order, pager.filter, pager.position))
        start, value = pager.position, self._last.get(query)
        if value is None and self._is_worth_a_guess(order):
            value = yield from self._guess(pager, most)
        if value is not None:
            within = Compare(pager.order.column, ">=" if pager.order.descending else "<=", value)
            command = pager.request(most, within=within)
            if command is not None:
                pager.receive((yield command))
                if pager.cut is not None or pager.is_filled:
                    self._remember(pager, query)
                    return
            pager.restart(start)
        command = pager.request(most)
        if command is None:
            return
        answer = yield command
        pager.receive(answer)
        self._is_slow = answer.elapsed_ms >= _SLOW_MS
        self._remember(pager, query)

    def _is_worth_a_guess(self, order: int) -> bool:
        """Whether the store is large, or the order is new, so that it is not known."""
        with self._lock:
            is_new = order not in self._guessed
            self._guessed[order] = None
            if len(self._guessed) > _MAXIMUM:
                del self._guessed[next(iter(self._guessed))]
        return is_new or self._is_slow or self._is_large

    def _guess(self, pager: Pager[Any], most: int) -> Steps[float | None]:
        """A bound that few rows may be within; None where a guess is of no use."""
        column, descending = pager.order.column, pager.order.descending
        if column.sort_steps():
            return None
        share = _SHARE_OF_TIMES if column.kind is Kind.TIME else _SHARE
        name, rank = f"@{column.sort_names[0]}", 1 - share if descending else share
        size = pager.limit.clamp(_SAMPLE)
        steps = ["LIMIT", 0, size, "GROUPBY", 0, "REDUCE", "COUNT", 0, "AS", "rows"]
        steps += ["REDUCE", "QUANTILE", 2, name, rank, "AS", "bound"]
        steps += ["REDUCE", "MAX" if descending else "MIN", 1, name, "AS", "first"]
        found = yield from _probe(pager, steps)
        if found.get(b"rows", 0) < size or b"bound" not in found or b"first" not in found:
            return None
        self._is_large = True
        if column.kind is Kind.TIME and descending:
            # The sample is of the first that were stored.
            return (yield from _guess_recent(pager, most))
        # In a large store more rows than are wanted are beyond the first one of the sample.
        has_enough = yield from _has_enough(pager, most, found[b"first"])
        return found[b"first"] if has_enough else found[b"bound"]

    def _remember(self, pager: Pager[Any], query: int) -> None:
        """Remember where a full page ends; a page that is not full has no bound."""
        if pager.cut is not None:
            return
        last = pager.last_value() if pager.is_filled else None
        with self._lock:
            self._last.pop(query, None)
            if last is not None:
                self._last[query] = last
            if len(self._last) > _MAXIMUM:
                del self._last[next(iter(self._last))]


def _guess_recent(pager: Pager[Any], most: int) -> Steps[float | None]:
    """The beginning of a time before now, or before the position, that has the rows that are wanted, and few more."""
    end = time.time() * 1_000_000 if pager.is_at_start else pager.position_value

    def beginning(seconds: float) -> float:
        return float(int(end - seconds * 1_000_000))

    short = 0.0
    for long in _RECENT:
        if (yield from _has_enough(pager, most, beginning(long))):
            break
        short = long
    else:
        return None
    for _ in range(_HALVINGS):
        middle = (short + long) / 2
        if (yield from _has_enough(pager, most, beginning(middle))):
            long = middle
        else:
            short = middle
    return beginning(long)


def _has_enough(pager: Pager[Any], most: int, bound: float) -> Steps[bool]:
    """Whether as many rows as are wanted are within a bound: the server stops at that number."""
    within = Compare(pager.order.column, ">=" if pager.order.descending else "<=", bound)
    most = pager.limit.clamp(most)
    found = yield from _probe(pager, ["LIMIT", 0, most, "GROUPBY", 0, "REDUCE", "COUNT", 0, "AS", "rows"], within)
    return found.get(b"rows", 0) >= most


def _probe(pager: Pager[Any], steps: Command, within: Expression | None = None) -> Steps[dict[bytes, float]]:
    """The numbers of the only row that an aggregate of the rows gives."""
    command = pager.probe(steps, within)
    if command is None:
        return {}
    rows = decode_rows((yield command).reply).rows
    numbers = {}
    for name, value in (rows[0] or {} if rows else {}).items():
        with suppress(TypeError, ValueError):
            numbers[name] = float(value)
    return {name: number for name, number in numbers.items() if math.isfinite(number)}
