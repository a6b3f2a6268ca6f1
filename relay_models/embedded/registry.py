"""`command`: declares a command that the engine adds to fakeredis, or answers in its place, beside its handler.

fakeredis keeps its commands in one dictionary for the whole process. Adding to that one would give every other
fakeredis in the process commands that it has no methods for, so the engine's sockets look here first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fakeredis._commands import COMMANDS_WITH_SUB, Key, Signature
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError
from fakeredis._msgs import WRONG_ARGS_MSG6, WRONGTYPE_MSG
from fakeredis.model import ExpiringMembersSet, Hash, ZSet, get_command_info

__all__ = [
    "ADMIN",
    "COMMANDS",
    "CONTAINERS",
    "EngineSignature",
    "MissingKey",
    "SentArguments",
    "check_count",
    "command",
    "split_name",
    "subcommand_error",
]

# The types that are empty where there is no key.
_EMPTY = frozenset((list, ExpiringMembersSet, Hash, ZSet))
ADMIN = "@admin @dangerous @slow"
"""The categories of commands that administer a server."""


class MissingKey(Exception):
    """A command's key does not exist, for which the command has a fixed reply."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply


class SentArguments(list[bytes]):
    """A command's arguments, with all words of the request as they were sent."""

    def __init__(self, args: Sequence[bytes], words: Sequence[bytes]) -> None:
        super().__init__(args)
        self.words = list(words)


class EngineSignature(Signature):
    """The declaration of an engine command: its arguments, its keys, its categories, and the kind of its reply.

    Its error for a wrong number of arguments is the one that Redis gives.
    """

    def __init__(
        self,
        name: str,
        method: str,
        fixed: tuple[Any, ...],
        repeat: tuple[Any, ...],
        flags: str,
        *,
        categories: str | None,
        keys: tuple[int, int] | None,
        key_count: int | None,
        set_reply: bool,
    ) -> None:
        super().__init__(name, method, fixed, repeat, (), flags)  # type: ignore[arg-type]
        self.categories = None if categories is None else frozenset(word.encode() for word in categories.split())
        self.keys = keys
        self.key_count = key_count
        self.set_reply = set_reply

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
                default = kind.type_() if kind.type_ in _EMPTY else None
                item = CommandItem(arg, database, database.get(arg), default=default)
                if item.value is None or (default is not None and item.value is default):
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


COMMANDS: dict[str, EngineSignature] = {}
"""Lower-case command name (``"ft.search"``, ``"module list"``) to its declaration."""

CONTAINERS: set[str] = set()
"""The first words of the commands of two words."""

Method = TypeVar("Method", bound=Callable[..., Any])


def command(
    *names: str,
    fixed: Sequence[Any] = (),
    repeat: Sequence[Any] = (),
    flags: str = "",
    categories: str | None = None,
    keys: tuple[int, int] | None = None,
    key_count: int | None = None,
    set_reply: bool = False,
) -> Callable[[Method], Method]:
    """Register a socket's method as the engine's own command, under one or more names.

    Args:
        names: Lower-case names, of one or two words.
        fixed: The types of the arguments that must be given, as fakeredis takes them.
        repeat: The types of the arguments that may follow, any number of times.
        flags: fakeredis' flags.
        categories: The ACL categories, each with its ``@``; None for those that fakeredis knows of the command.
        keys: The first and the last argument that is a key, where the types do not say; -1 is the last argument.
        key_count: Which argument is the number of the keys that follow it.
        set_reply: Whether RESP3 has the reply as a set.
    """

    def register(method: Method) -> Method:
        for name in names:
            COMMANDS[name] = EngineSignature(
                name,
                method.__name__,
                tuple(fixed),
                tuple(repeat),
                flags,
                categories=categories,
                keys=keys,
                key_count=key_count,
                set_reply=set_reply,
            )
            first, _, rest = name.partition(" ")
            if rest:
                CONTAINERS.add(first)
        return method

    return register


@functools.lru_cache(maxsize=1024)
def _lower(word: bytes) -> str:
    return word.decode("utf-8", "replace").lower()


def split_name(fields: list[bytes]) -> tuple[str, list[bytes]]:
    """Split a request into the command's name, of one or two words, and its arguments."""
    name = _lower(fields[0])
    if len(fields) > 1 and (name in COMMANDS_WITH_SUB or name in CONTAINERS):
        return f"{name} {_lower(fields[1])}", fields[2:]
    return name, fields[1:]


def check_count(name: str, signature: Signature, args: list[bytes]) -> None:
    """Refuse a command with too few or too many arguments, and no other."""
    info = get_command_info(name.partition(" ")[0].encode()) if " " not in name else None
    least = len(signature.fixed) + 1 if info is None else abs(info[1])
    is_exact = not signature.repeat if info is None else info[1] > 0
    count = len(args) + 1
    if count < least or (is_exact and count > least):
        raise SimpleError(WRONG_ARGS_MSG6.format(name))


def subcommand_error(words: Sequence[bytes]) -> SimpleError:
    """The error for arguments that a command of two words does not have."""
    first, second = (word.decode("utf-8", "replace") for word in words[:2])
    return SimpleError(f"ERR unknown subcommand or wrong number of arguments for '{second}'. Try {first.upper()} HELP.")
