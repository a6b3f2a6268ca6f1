# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/reading.py by scripts/generate_sync.py: change that, not this.
"""`PageReader`: the pages of a pager, each made by the server while the one before is decoded."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Generic, TypeVar

from relay_models._gc import collector_paused
from relay_models.backend._sync.store import Store
from relay_models.errors import ConnectionFailedError, IndexMissingError, RelayModelsError
from relay_models.query.paging.pager import ROWS_PER_CURSOR, Pager, PagerState
from relay_models.query.steps import Answer
from relay_models.transport.sync import Command

__all__ = ["PageReader"]

T = TypeVar("T")

# Rows of the first read; each later one is larger, up to the page size.
_FIRST_PAGE, _GROWTH = 100, 5


class PageReader(Generic[T]):
    """Reads the pages of a pager; to be closed, also where it is not read to its end.

    No connection is held between two pages. Where one is lost, or a server lost the cursor or its index, another query
    goes on after the last row.

    Args:
        store: where the pager's index is.
        pager: what to read; opened already.
        page_size: maximum rows per page.
        limit: maximum rows in all.
    """

    def __init__(self, store: Store, pager: Pager[T], page_size: int, limit: int | None = None) -> None:
        self.pager = pager
        self._store = store
        self._size = min(_FIRST_PAGE, page_size)
        self._page_size = page_size
        self._left = limit
        self._uses_cursors = True
        self._answer: Answer | None = None

    def page(self) -> list[T] | None:
        """The next rows, one or more; None after the last."""
        pager = self.pager
        while not pager.is_done:
            if self._answer is None:
                self._drop_cursor()
                known = self._store.result_limit.rows
                command = self._request()
                if command is None:
                    return None
                try:
                    self._answer = self._store.ask(command)
                except RelayModelsError as error:
                    if not self._store.asks_for_less(error, known) and not self._stops_using_cursors(error):
                        raise
                    continue
            if pager.reader.may_be_compressed:
                self._store.dictionaries.read_rows(self._answer.reply)
            pager.receive(self._answer, from_cursor=self._uses_cursors)
            self._answer = None
            self._size = min(self._size * _GROWTH, self._page_size)
            rows = self._read_ahead() if pager.state is PagerState.READING else self._rows()
            if self._left is not None:
                self._left -= len(rows)
            if rows:
                return rows
        return None

    def close(self) -> None:
        """Let the server drop the cursor."""
        with suppress(RelayModelsError):
            self._drop_cursor()

    def _request(self) -> Command | None:
        # One row more tells whether there are more, and the row of the position may come again.
        most = ROWS_PER_CURSOR if self._left is None else self._left + 2
        if self._uses_cursors:
            return self.pager.request(most, per_read=self._size)
        return self.pager.request(min(self._page_size, most))

    def _read_ahead(self) -> list[T]:
        """The rows of the last answer, while the server makes the next one."""
        began = time.monotonic()
        ahead = self.pager.read(self._size)
        try:
            connection = self._store.transport.begin(ahead)
        except ConnectionFailedError:
            rows = self._rows()
            self.pager.lose_cursor()
            return rows
        try:
            rows = self._rows()
        except BaseException:
            self._store.transport.discard(connection)
            raise
        try:
            reply = self._store.transport.finish(connection, ahead)
        except ConnectionFailedError:
            self.pager.lose_cursor()
        except RelayModelsError as error:
            if not isinstance(error, IndexMissingError) and "cursor" not in str(error).lower():
                raise
            self.pager.lose_cursor()
        else:
            if self.pager.state is PagerState.READING:
                self._answer = Answer(reply, (time.monotonic() - began) * 1000)
        return rows

    def _rows(self) -> list[T]:
        with collector_paused():
            return self.pager.rows(self._left)

    def _stops_using_cursors(self, error: RelayModelsError) -> bool:
        """Whether the server has too many cursors already: then each page is a query of its own."""
        is_refused = self._uses_cursors and "cursor" in str(error).lower()
        if is_refused:
            self._uses_cursors = False
            self._size = self._page_size
        return is_refused

    def _drop_cursor(self) -> None:
        command = self.pager.cursor.delete()
        if command is not None:
            with suppress(RelayModelsError):
                self._store.transport.execute_once(*command)
