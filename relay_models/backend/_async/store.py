"""`Store`: what all collections of a backend share, and how they exchange commands and answers with the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeVar

from relay_models._gc import collector_paused
from relay_models.backend._async.dictionaries import Dictionaries
from relay_models.backend._async.index import Indexes
from relay_models.backend.clock import StoreClock
from relay_models.backend.clock_check import ClockCheck, greatest_stamp, later_command
from relay_models.documents import Keys
from relay_models.errors import ConnectionFailedError, RelayModelsError
from relay_models.query.limits import LIMIT_COMMANDS, ResultLimit
from relay_models.query.paging.page_bounds import PageBounds
from relay_models.query.paging.pager import ROWS_PER_CURSOR
from relay_models.query.replies import decode_rows
from relay_models.query.server_cursor import is_lost_cursor, is_out_of_cursors, without_cursor
from relay_models.query.steps import Answer, Steps
from relay_models.transport import Command, Timed, Transaction, Transport, translate

__all__ = ["Store"]

T = TypeVar("T")

# Readings of the server's clock when a store is opened: the quickest of them counts.
_READINGS = 3
# Keys deleted or stamped by one pipeline.
_WRITTEN_AT_ONCE = 1000
# How often an exchange begins again because the server has dropped a cursor that was being read.
_LOST_CURSORS = 3


class Store:
    """One server and one key prefix.

    Args:
        transport: sends the commands.
        keys: the names of keys and indexes.
        indexes: the search indexes.
        dictionaries: reads compressed records.
        limit_ms: the time limit of a query (milliseconds), 0 for none.
        cache_page_bounds: remember where first pages end, so that they are quick when they are asked for again.
    """

    def __init__(
        self,
        transport: Transport,
        keys: Keys,
        indexes: Indexes,
        dictionaries: Dictionaries,
        limit_ms: int,
        *,
        cache_page_bounds: bool = True,
    ) -> None:
        self.transport = transport
        self.keys = keys
        self.indexes = indexes
        self.dictionaries = dictionaries
        self.limit_ms = limit_ms
        self.clock = StoreClock()
        self.result_limit = ResultLimit(transport.ordered_rows, is_merged=transport.is_cluster)
        self.page_bounds = PageBounds() if cache_page_bounds else None
        self._prepared: set[str] = set()
        self._anywhere = False
        self.questions = copy(self)
        """The same store for questions whose answers replicas may give, where the transport reads from replicas."""
        self.questions._anywhere = True

    async def ask(self, command: Command, *, once: bool = False) -> Answer:
        """Send a search command; `once` for one that must not be sent twice."""
        began = time.monotonic()
        if once:
            reply = await self.transport.execute_once(*command)
        else:
            reply = await self.indexes.ask(*command, anywhere=self._anywhere)
        elapsed_ms = reply.elapsed_ms if isinstance(reply, Timed) else (time.monotonic() - began) * 1000
        return Answer(reply, elapsed_ms)

    async def run(self, make_steps: Callable[[], Steps[T]]) -> T:
        """Run an exchange to its result.

        A connection lost between two reads of a cursor loses rows, so the exchange begins again then, as often as
        commands are retried. It also does where the server has dropped the cursor, or the index that a migration has
        replaced, and where it accepts no result as large as was asked for.
        """
        lost = 0
        while True:
            steps, known = make_steps(), self.result_limit.rows
            try:
                command = next(steps)
                while True:
                    is_read = command[0] == "FT.CURSOR"
                    try:
                        answer = await self._answer(command, is_read=is_read)
                    except ConnectionFailedError:
                        lost += 1
                        if not is_read or lost > self.transport.retries:
                            raise
                        break
                    except RelayModelsError as error:
                        if is_read and is_lost_cursor(error) and lost < _LOST_CURSORS:
                            lost += 1
                        elif not await self.asks_for_less(error, known):
                            command = steps.throw(error)  # which asks for something else, or raises the error
                            continue
                        break
                    await self.dictionaries.read_rows(answer.reply)
                    with collector_paused():
                        command = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    async def _answer(self, command: Command, *, is_read: bool) -> Answer:
        """The answer to a search command; where the server has no cursor to spare, all rows at once, if it gives them.

        Raises:
            StorageError: the server has too many cursors, and more rows than it gives without one.
        """
        try:
            return await self.ask(command, once=is_read)
        except RelayModelsError as error:
            if is_read or not is_out_of_cursors(error):
                raise
            known = self.result_limit.rows
            most = self.result_limit.clamp(ROWS_PER_CURSOR)
            try:
                answer = await self.ask(without_cursor(command, most))
            except RelayModelsError as refusal:
                if not await self.asks_for_less(refusal, known):
                    raise
                return await self._answer(command, is_read=False)
            if len(decode_rows(answer.reply).rows) >= most:
                raise
            return Answer([answer.reply, 0], answer.elapsed_ms)

    async def asks_for_less(self, error: RelayModelsError, before: int | None) -> bool:
        """Whether an error says that a query asked for more rows than the server gives, and fewer can be asked for.

        `before` is the limit that was known when the query was made: another task may have learned it since.
        """
        is_lower = self.result_limit.refused(error)
        if is_lower is not None:
            return is_lower or (self.result_limit.is_refusal(error) and self.result_limit.rows != before)
        for command in LIMIT_COMMANDS:
            try:
                if self.result_limit.read(await self.transport.execute(*command)):
                    return True
            except ConnectionFailedError:
                raise
            except RelayModelsError:
                continue
        return self.result_limit.halve()

    async def delete_keys(self, keys: Sequence[bytes]) -> int:
        """Delete keys, one per command: on a cluster they live in different places."""
        deleted = 0
        for start in range(0, len(keys), _WRITTEN_AT_ONCE):
            for reply in await self.transport.pipeline(
                [("DEL", key) for key in keys[start : start + _WRITTEN_AT_ONCE]]
            ):
                if isinstance(reply, Exception):
                    raise translate(reply, self.transport.target, ("DEL",)) from None
                deleted += reply
        return deleted

    async def open_clock(self) -> None:
        """Read the server's clock, and go on from what is stored where that is later: the clock was set back."""
        for _ in range(_READINGS):
            await self.read_clock()
        kinds = list(self.indexes.builder.documents)
        await self._raise_clock(kinds)
        self._prepared.update(kinds)

    async def prepare(self, kind: str) -> None:
        """Before the first document of a kind is stored: complete its index, and take note of what is stored of it."""
        if kind not in self._prepared:
            await self.indexes.ready()
            await self._raise_clock([kind])
            self._prepared.add(kind)

    async def _raise_clock(self, kinds: Sequence[str]) -> None:
        """Go on from what is stored, where that is later than the server's clock."""
        after, limit = self.clock.server_now(), self.clock.limit()
        queries = [later_command(self.keys.alias(kind), after, limit, greatest=True) for kind in kinds]
        stamps = [greatest_stamp(reply) for reply in await self.transport.pipeline(queries)]
        latest = max((stamp for stamp in stamps if stamp is not None), default=0)
        if latest > self.clock.now():
            self.clock.raise_to(latest)

    async def read_clock(self) -> None:
        """Read the server's clock; a user who may not is served by this machine's."""
        check = ClockCheck(self.clock, self.keys.alias("run"), self.clock.now())
        check.receive(await self.transport.pipeline(check.commands) if check.commands else [])

    async def write(self, kind: str, stamp: int, *commands: Command) -> list[Any]:
        """Write a document of a kind that is stamped, check the clock in the same trip, and return the replies.

        Where ``clock.corrections`` has changed meanwhile, what was written has the time of a clock that was wrong.
        """
        check = ClockCheck(self.clock, self.keys.alias(kind), stamp)
        replies = await self.transport.pipeline([*check.commands, *commands])
        check.receive(replies)
        return replies[len(check.commands) :]

    async def stamp_again(self, keys: Sequence[tuple[bytes, Sequence[str]]]) -> list[int]:
        """Stamp documents again that were just written by a clock that was wrong.

        Args:
            keys: the keys, each with its columns that were stamped. A document that was deleted meanwhile stays so.

        Returns:
            The new stamps.
        """
        await self.read_clock()
        commands: list[Command] = []
        stamps = [self.clock.now() for _ in keys]
        for (key, columns), stamp in zip(keys, stamps, strict=True):
            sets = [("JSON.SET", key, f"$.{name}", str(stamp), "XX") for name in columns]
            commands.append(Transaction(*sets) if len(sets) > 1 else sets[0])
        for start in range(0, len(commands), _WRITTEN_AT_ONCE):
            await self.transport.pipeline(commands[start : start + _WRITTEN_AT_ONCE])
        return stamps
