"""The registry of the commands that the engine adds to fakeredis, or answers in its place.

fakeredis keeps its commands in one dictionary for the whole process. Adding to that one would give every other
fakeredis in the process commands that it has no methods for, so the engine's sockets look here first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fakeredis._commands import Signature
from fakeredis._helpers import SimpleError
from fakeredis._msgs import WRONG_ARGS_MSG6

__all__ = ["COMMANDS", "CONTAINERS", "command"]


class EngineSignature(Signature):
    """A signature whose complaint about the number of arguments is the one that Redis makes."""

    def check_arity(self, args: Sequence[Any], version: Any) -> None:
        more = len(args) - len(self.fixed)
        if more < 0 or (more and (not self.repeat or more % len(self.repeat))):
            raise SimpleError(WRONG_ARGS_MSG6.format(self.name))


COMMANDS: dict[str, Signature] = {}
"""Lower-case command name (``"ft.search"``, ``"module list"``) to its signature."""

CONTAINERS: set[str] = set()
"""The first words of the commands of two words."""

Method = TypeVar("Method", bound=Callable[..., Any])


def command(
    *names: str, fixed: Sequence[Any] = (), repeat: Sequence[Any] = (), flags: str = ""
) -> Callable[[Method], Method]:
    """Register a socket's method as the engine's own command, under one or more names."""

    def register(method: Method) -> Method:
        for name in names:
            COMMANDS[name] = EngineSignature(name, method.__name__, tuple(fixed), tuple(repeat), (), flags)  # type: ignore[arg-type]
            first, _, rest = name.partition(" ")
            if rest:
                CONTAINERS.add(first)
        return method

    return register
