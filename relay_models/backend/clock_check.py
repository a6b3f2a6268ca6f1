"""`ClockCheck`: commands that ride along with a write, and tell whether the store's clock is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoPermissionError

from relay_models.backend.clock import StoreClock
from relay_models.query.replies import decode_rows, decode_time
from relay_models.query.steps import aggregate_command
from relay_models.transport import Command, Glance

__all__ = ["ClockCheck", "greatest_stamp", "later_command"]


class ClockCheck:
    """One reading of the clock: `commands` are to be sent in front of others, `receive` takes their replies.

    Two short queries find out whether another writer's stamps are later than this clock (the server's clock was set
    back while this writer did nothing), and whether anything is stored that is later than the server's clock at all.
    They are sent where the server's clock is known to have been set back, and otherwise now and then.

    Args:
        clock: the clock to set.
        alias: the index of the documents that are written.
        stamp: the earliest time of storing that is written.
    """

    def __init__(self, clock: StoreClock, alias: bytes | str, stamp: int) -> None:
        self._clock = clock
        self._asks_time = clock.may_read_server
        self._asks_stored, self._was_ahead = clock.is_due(), clock.is_ahead
        self._server_now = clock.server_now()
        self.commands: list[Command] = []
        if self._asks_stored:
            limit = clock.limit()
            self.commands.append(later_command(alias, stamp, limit, greatest=True))
            self.commands.append(later_command(alias, self._server_now, limit))
        if self._asks_time:
            self.commands.append(("TIME",))
        self._sent = clock.mark()

    def receive(self, replies: Sequence[Any]) -> None:
        """Take the replies to `commands`, which may be followed by others."""
        clock = self._clock
        server_us: int | None = None
        if not self._asks_time:
            clock.read(None, self._sent)
        elif isinstance(reply := replies[len(self.commands) - 1], NoPermissionError):
            clock.may_read_server = False
            clock.read(None, self._sent)
        elif not isinstance(reply, Exception):
            server_us = decode_time(reply)
            clock.read(server_us, self._sent)
        if not self._asks_stored:
            return
        others, later = replies[:2]
        if isinstance(others, NoPermissionError):
            clock.may_read_stored = False
        stamp = greatest_stamp(others)
        # What others stored meanwhile by clocks that are right is not later than the time that was read after that.
        if stamp is not None and stamp > (clock.now() if server_us is None else clock.at(server_us)):
            clock.raise_to(stamp)
        elif self._was_ahead and clock.server_now() >= self._server_now and _is_empty(later):
            clock.follow()


def _is_empty(reply: Any) -> bool:
    return not isinstance(reply, Exception) and greatest_stamp(reply) is None


def later_command(alias: bytes | str, after: int, limit: int, *, greatest: bool = False) -> Command:
    """Return the query for a time of storing between two instants: any of them, or the greatest."""
    order: Command = ("SORTBY", 2, "@updated_at", "DESC", "MAX", 1) if greatest else ()
    query = f"@updated_at:[({after} {limit}]"
    stored: Command = ("LOAD", 3, "$.updated_at", "AS", "at")
    return Glance((*aggregate_command(alias, query), *order, *stored, "LIMIT", 0, 1))


def greatest_stamp(reply: Any) -> int | None:
    """Return the stamp in a reply to `later_command`; None where there is none, or the query failed."""
    if isinstance(reply, Exception):
        return None
    stamps = [int(float(row[b"at"])) for row in decode_rows(reply).present() if row.get(b"at") is not None]
    return max(stamps, default=None)
