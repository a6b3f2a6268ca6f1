"""The registry of the commands that the engine adds to fakeredis, or answers in its place.

fakeredis keeps its commands in one dictionary for the whole process. Adding to that one would give every other
fakeredis in the process commands that it has no methods for, so the engine's sockets look here first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fakeredis._commands import Key, Signature
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError
from fakeredis._msgs import WRONG_ARGS_MSG6, WRONGTYPE_MSG

__all__ = ["COMMANDS", "CONTAINERS", "EngineSignature", "MissingKey", "command"]


class MissingKey(Exception):
    """A command's key is not there, for which it has a fixed reply."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply


class EngineSignature(Signature):
    """A signature whose complaint about the number of arguments is the one that Redis makes."""

    def bind(self, args: Sequence[bytes], database: Any) -> tuple[list[Any], list[CommandItem]]:
        """The arguments converted, and the items of the keys among them."""
        types: tuple[Any, ...] = self.fixed
        if len(args) != len(types):
            self.check_arity(args, None)
            types = types + self.repeat * ((len(args) - len(types)) // len(self.repeat))
        bound: list[Any] = []
        items: list[CommandItem] = []
        for arg, kind in zip(args, types, strict=True):
            if kind is bytes:
                bound.append(arg)
            elif type(kind) is Key:
                item = CommandItem(arg, database, database.get(arg))
                if item.value is None:
                    if kind.missing_return is not Key.UNSPECIFIED:
                        raise MissingKey(kind.missing_return)
                elif kind.type_ is not None and type(item.value) is not kind.type_:
                    raise SimpleError(WRONGTYPE_MSG)
                items.append(item)
                bound.append(item)
            else:
                bound.append(kind.decode(arg))
        return bound, items

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
