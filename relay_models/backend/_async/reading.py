"""All rows of a question, page after page: the server makes the next one while this side reads the last."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from relay_models._gc import collector_paused
from relay_models.backend._async.index import Indexes
from relay_models.errors import ConnectionFailedError, IndexMissingError, RelayModelsError
from relay_models.query.paging.pager import ORDERED_AT_ONCE, Scan
from relay_models.query.steps import Answer
from relay_models.transport import Command, Transport

__all__ = ["Reading"]

_FIRST_PAGE = 100


class Reading:
    """The pages of a scan, at most `limit` rows in all; to be closed, also where it is not read to its end.

    No connection is held between two pages. Where one is lost, or a server lost the cursor or its index, what is left
    is put in order anew after the last row.
    """

    def __init__(self, link: Transport, indexes: Indexes, scan: Scan, page_size: int, limit: int | None = None) -> None:
        self.scan = scan
        self._link = link
        self._indexes = indexes
        self._size = min(_FIRST_PAGE, page_size)
        self._largest = page_size
        self._left = limit
        self._cursors = True
        self._answer: Answer | None = None

    async def page(self) -> list[Any] | None:
        """The next rows, one or more; None after the last."""
        scan = self.scan
        while not scan.more and scan.cut is None:
            if self._answer is None:
                await self._drop_cursor()
                command = self._command()
                if command is None:
                    return None
                began = time.monotonic()
                try:
                    reply = await self._indexes.ask(*command)
                except RelayModelsError as error:
                    if not self._refused_cursor(error):
                        raise
                    continue
                self._answer = _answer(reply, began)
            scan.take(self._answer, self._cursors)
            self._answer = None
            self._size = min(self._size * 5, self._largest)
            ahead = scan.reading_on(self._size)
            rows = self._rows() if ahead is None else await self._read_both(ahead)
            if self._left is not None:
                self._left -= len(rows)
            if rows:
                return rows
        return None

    async def close(self) -> None:
        """Let the server forget the cursor."""
        with suppress(RelayModelsError):
            await self._drop_cursor()

    def _command(self) -> Command | None:
        # One row more tells whether there are more, and the row at which the place is may come again.
        most = ORDERED_AT_ONCE if self._left is None else self._left + 2
        if self._cursors:
            return self.scan.command(most, at_once=self._size)
        return self.scan.command(min(self._largest, most))

    async def _read_both(self, ahead: Command) -> list[Any]:
        """The rows of the last answer, while the server makes the next one."""
        began = time.monotonic()
        try:
            connection = await self._link.begin(ahead)
        except ConnectionFailedError:
            rows = self._rows()
            self.scan.lose()
            return rows
        try:
            rows = self._rows()
        except BaseException:
            await self._link.discard(connection)
            raise
        try:
            reply = await self._link.finish(connection, ahead)
        except ConnectionFailedError:
            self.scan.lose()
        except RelayModelsError as error:
            if not isinstance(error, IndexMissingError) and "cursor" not in str(error).lower():
                raise
            self.scan.lose()
        else:
            if self.scan.reading_on(0) is not None:
                self._answer = _answer(reply, began)
        return rows

    def _rows(self) -> list[Any]:
        with collector_paused():
            return self.scan.rows(self._left)

    def _refused_cursor(self, error: RelayModelsError) -> bool:
        """Whether a server has too many cursors already: then each page is put in order by itself."""
        refused = self._cursors and "cursor" in str(error).lower()
        if refused:
            self._cursors = False
            self._size = self._largest
        return refused

    async def _drop_cursor(self) -> None:
        command = self.scan.forget()
        if command is not None:
            with suppress(RelayModelsError):
                await self._link.execute_once(*command)


def _answer(reply: Any, began: float) -> Answer:
    return Answer(reply, (time.monotonic() - began) * 1000)
