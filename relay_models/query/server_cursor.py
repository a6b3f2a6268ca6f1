"""`ServerCursor`: a cursor of FT.AGGREGATE, and `cursor_steps`, which reads all rows of a query through one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from relay_models.errors import IndexMissingError
from relay_models.query.compiler import CompiledFilter
from relay_models.query.replies import Rows, check_complete, decode_cursor
from relay_models.query.steps import Command, Steps

__all__ = ["ROWS_PER_READ", "ServerCursor", "cursor_steps", "is_lost_cursor", "is_out_of_cursors", "without_cursor"]

# Rows that one read of a cursor returns.
ROWS_PER_READ = 5000
# Milliseconds after which a server drops a cursor that is not read.
_MAX_IDLE_MS = 60_000


class ServerCursor:
    """The cursor of one query: what makes, reads and deletes it.

    Each row is returned once, so a read must not be sent twice.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._id = 0
        self._abandoned = 0

    @property
    def is_open(self) -> bool:
        """Whether it has more rows."""
        return bool(self._id)

    @staticmethod
    def options(count: int) -> Command:
        """The arguments of FT.AGGREGATE that make a cursor."""
        return ["WITHCURSOR", "COUNT", count, "MAXIDLE", _MAX_IDLE_MS]

    def decode(self, reply: Any) -> Rows:
        """Decode a reply that came through the cursor."""
        found, self._id = decode_cursor(reply)
        return found

    def read(self, count: int) -> Command:
        """The command for the next rows."""
        return ["FT.CURSOR", "READ", self._alias, self._id, "COUNT", count]

    def abandon(self) -> None:
        """Stop reading; `delete` still tells the server."""
        self._abandoned, self._id = self._id or self._abandoned, 0

    def lose(self) -> None:
        """The server does not have it any more."""
        self._id = 0

    def delete(self) -> Command | None:
        """The command that deletes a cursor that was not read to its end, if there is one."""
        self.abandon()
        cursor, self._abandoned = self._abandoned, 0
        return ["FT.CURSOR", "DEL", self._alias, cursor] if cursor else None


def cursor_steps(
    command: Command,
    compiled: CompiledFilter,
    limit_ms: int,
    *,
    partial: bool = False,
    each: Callable[[list[dict[bytes, Any]]], object] | None = None,
) -> Steps[list[dict[bytes, Any]]]:
    """Read all rows of an FT.AGGREGATE without an order, however many: no server limits those of a cursor.

    Args:
        command: what `aggregate_command` began, up to its last step.
        compiled: the compiled filter, whose parameters are added.
        limit_ms: the time limit of each command (milliseconds).
        partial: allow answers that are cut short.
        each: takes the rows of each answer, which are not returned then.
    """
    cursor = ServerCursor(command[1])
    rows: list[dict[bytes, Any]] = []
    sent = [*command, *ServerCursor.options(ROWS_PER_READ), *compiled.arguments(), "TIMEOUT", limit_ms]
    while True:
        answer = yield sent
        found = cursor.decode(answer.reply)
        cut = check_complete(found.warnings, answer, limit_ms, partial)
        (rows.extend if each is None else each)(found.present())
        # After its time limit a server may give a cursor that has no more rows, and no end either.
        if not cursor.is_open or (cut is not None and not found.rows):
            return rows
        sent = cursor.read(ROWS_PER_READ)


def is_out_of_cursors(error: Exception) -> bool:
    """Whether a server says that an index has as many cursors as it may have."""
    text = str(error).lower()
    return "too many cursors" in text or "index_cursor_limit" in text


def is_lost_cursor(error: Exception) -> bool:
    """Whether a server has dropped a cursor that was being read, or the index that it belonged to."""
    return isinstance(error, IndexMissingError) or "cursor not found" in str(error).lower()


def without_cursor(command: Sequence[Any], rows: int) -> Command:
    """An FT.AGGREGATE with a cursor, changed to return at most `rows` rows in one reply."""
    at = command.index("WITHCURSOR")
    return [*command[:at], "LIMIT", 0, rows, *command[at + len(ServerCursor.options(0)) :]]
