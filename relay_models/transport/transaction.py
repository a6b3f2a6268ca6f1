"""`Transaction`: commands for one key that are carried out together; `Glance`: a search that never waits; `Timed`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Glance", "Timed", "Transaction", "expanded", "gathered"]

_Command = Sequence[bytes | str | int]


class Transaction(tuple[Any, ...]):
    """A command of a pipeline that is sent as MULTI, its commands, EXEC.

    Its elements are those of its first command, so that it is routed as that is. Its reply is the list of the replies
    to all of its commands, or the error for which none of them was carried out.

    Attributes:
        commands: its commands, all for one key.
    """

    commands: tuple[_Command, ...]

    def __new__(cls, *commands: _Command) -> Transaction:
        """Join commands for one key."""
        made = super().__new__(cls, commands[0])
        made.commands = commands
        return made


class Glance(tuple[Any, ...]):
    """A search that is of use only now: where not all shards of a cluster can answer, its reply is an error at once."""


class Timed(list[Any]):
    """The reply to a search that may have been asked several times.

    Attributes:
        elapsed_ms: how long the server took for it (milliseconds), without the attempts before and the waits between.
    """

    elapsed_ms = 0.0


def expanded(commands: Iterable[_Command]) -> list[_Command]:
    """Return the commands as they are sent."""
    sent: list[_Command] = []
    for command in commands:
        if isinstance(command, Transaction):
            sent += [("MULTI",), *command.commands, ("EXEC",)]
        else:
            sent.append(command)
    return sent


def gathered(commands: Sequence[_Command], replies: Sequence[Any]) -> list[Any]:
    """Return one reply per command, from the replies to what `expanded` gave."""
    if len(commands) == len(replies):
        return list(replies)
    found: list[Any] = []
    rest = iter(replies)
    for command in commands:
        reply = next(rest)
        if isinstance(command, Transaction):
            # The first error says why the whole was refused; EXEC only says that it was.
            said = [reply, *(next(rest) for _ in command.commands), next(rest)]
            reply = next((one for one in said if isinstance(one, Exception)), said[-1])
        found.append(reply)
    return found
