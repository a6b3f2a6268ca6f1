"""`PageBounds`: the cached bounds of first pages, so that a server orders few rows for a page asked for before."""

from __future__ import annotations

import threading
from typing import Any

from relay_models.columns.expressions import Compare
from relay_models.query.paging.pager import Pager
from relay_models.query.steps import Steps

__all__ = ["PageBounds"]

# Maximum number of queries whose bound is kept; one costs about 200 bytes.
_MAXIMUM = 512
# Milliseconds for a query without a bound from which on it is worth trying one of another query.
_SLOW_MS = 3.0
# How far another query's bound reaches, in pages.
_PAGES = 16


class PageBounds:
    """The sort value of the last row of each query's first page, when it was asked for last.

    A server orders all documents that match to give the first fifty. Asked only for those within the bound, it looks
    at little more than these; and if they are still enough, they are the first ones, whatever has been written since.
    If they are not, the query is sent without a bound. Where that took long the last time, a query without a bound
    tries one that is some pages of another query with the same order.

    (``WITHOUTCOUNT`` asks a server to find such a bound. But RediSearch 8.0.2 then gives wrong rows for some filters,
    and 2.10.5 has crashed.)

    Queries and orders are keyed by hashes: a wrong bound costs time, but never a row. Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[int, float] = {}
        self._of_order: dict[int, float] = {}
        self._is_slow = False

    @staticmethod
    def applies_to(pager: Pager[Any]) -> bool:
        """Whether a pager is about to ask for a first page in an order that can be bounded."""
        return pager.order.column.ordered and pager.is_at_start

    def request_steps(self, pager: Pager[Any], most: int) -> Steps[None]:
        """Ask for the first `most` rows, within the bound if there is one, and give the pager its answer."""
        order = hash((pager.alias, str(pager.order), most))
        query = hash((order, pager.filter))
        value = self._bound(query, order)
        if value is not None:
            within = Compare(pager.order.column, ">=" if pager.order.descending else "<=", value)
            command = pager.request(most, within=within)
            if command is not None:
                pager.receive((yield command))
                if pager.cut is not None or pager.is_filled:
                    self._remember(pager, query, order)
                    return
            pager.restart()
        command = pager.request(most)
        if command is None:
            return
        answer = yield command
        pager.receive(answer)
        self._is_slow = answer.elapsed_ms >= _SLOW_MS
        self._remember(pager, query, order)

    def _bound(self, query: int, order: int) -> float | None:
        value = self._last.get(query)
        if value is None and self._is_slow:
            value = self._of_order.get(order)
        return value

    def _remember(self, pager: Pager[Any], query: int, order: int) -> None:
        """Remember where a full page ends; a page that is not full has no bound."""
        if pager.cut is not None:
            return
        first, last = pager.edges() if pager.is_filled else (None, None)
        with self._lock:
            self._last.pop(query, None)
            if first is None or last is None:
                return
            for known, key, value in (
                (self._last, query, last),
                (self._of_order, order, last + (last - first) * _PAGES),
            ):
                known.pop(key, None)
                known[key] = value
                if len(known) > _MAXIMUM:
                    del known[next(iter(known))]
