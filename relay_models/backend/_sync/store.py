# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/store.py by scripts/generate_sync.py: change that, not this.
"""`Store`: what all collections of a backend share, and how they exchange commands and answers with the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from relay_models._gc import collector_paused
from relay_models.backend._sync.index import Indexes
from relay_models.backend.clock import StoreClock
from relay_models.documents import Keys
from relay_models.errors import ConnectionFailedError, PermissionDeniedError, RelayModelsError
from relay_models.query.limits import LIMIT_COMMANDS, ResultLimit
from relay_models.query.paging.page_bounds import PageBounds
from relay_models.query.replies import decode_time
from relay_models.query.steps import Answer, Steps
from relay_models.transport.sync import Command, Transport, translate

__all__ = ["Store"]

T = TypeVar("T")

# Keys deleted by one pipeline.
_DELETED_AT_ONCE = 1000


class Store:
    """One server and one key prefix.

    Args:
        transport: sends the commands.
        keys: the names of keys and indexes.
        indexes: the search indexes.
        limit_ms: the time limit of a query (milliseconds), 0 for none.
        cache_page_bounds: remember where first pages end, so that they are quick when they are asked for again.
    """

    def __init__(
        self, transport: Transport, keys: Keys, indexes: Indexes, limit_ms: int, *, cache_page_bounds: bool = True
    ) -> None:
        self.transport = transport
        self.keys = keys
        self.indexes = indexes
        self.limit_ms = limit_ms
        self.clock = StoreClock()
        self.result_limit = ResultLimit()
        self.page_bounds = PageBounds() if cache_page_bounds else None

    def ask(self, command: Command, *, once: bool = False) -> Answer:
        """Send a search command; `once` for one that must not be sent twice."""
        began = time.monotonic()
        reply = (self.transport.execute_once if once else self.indexes.ask)(*command)
        return Answer(reply, (time.monotonic() - began) * 1000)

    def run(self, make_steps: Callable[[], Steps[T]]) -> T:
        """Run an exchange to its result.

        A connection lost between two reads of a cursor loses rows, so the exchange begins again then, as often as
        commands are retried. It also does where the server accepts no result as large as was asked for.
        """
        lost = 0
        while True:
            steps = make_steps()
            try:
                command = next(steps)
                while True:
                    is_read = command[0] == "FT.CURSOR"
                    try:
                        answer = self.ask(command, once=is_read)
                    except ConnectionFailedError:
                        lost += 1
                        if not is_read or lost > self.transport.retries:
                            raise
                        break
                    except RelayModelsError as error:
                        if not self.asks_for_less(error):
                            raise
                        break
                    with collector_paused():
                        command = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    def asks_for_less(self, error: RelayModelsError) -> bool:
        """Whether an error says that a query asked for more rows than the server gives, and fewer can be asked for."""
        known = self.result_limit.refused(error)
        if known is not None:
            return known
        for command in LIMIT_COMMANDS:
            try:
                if self.result_limit.read(self.transport.execute(*command)):
                    return True
            except ConnectionFailedError:
                raise
            except RelayModelsError:
                continue
        return self.result_limit.halve()

    def delete_keys(self, keys: Sequence[bytes]) -> int:
        """Delete keys, one per command: on a cluster they live in different places."""
        deleted = 0
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            for reply in self.transport.pipeline(
                [("DEL", key) for key in keys[start : start + _DELETED_AT_ONCE]]
            ):
                if isinstance(reply, Exception):
                    raise translate(reply, self.transport.target, ("DEL",)) from None
                deleted += reply
        return deleted

    def set_clock(self) -> None:
        """Read the server's clock; a user who may not is served by the local one."""
        sent = time.monotonic_ns()
        try:
            reply: Any = self.transport.execute("TIME")
        except PermissionDeniedError:
            return
        self.clock.set(decode_time(reply), sent, time.monotonic_ns())
