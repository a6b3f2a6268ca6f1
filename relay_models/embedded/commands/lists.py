"""`ListCommands`: what the engine corrects in fakeredis' commands on lists."""

from __future__ import annotations

from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError

from relay_models.embedded.registry import command

__all__ = ["ListCommands"]

# Options of LPOS to the error that Redis has for what is no number.
_LPOS_ERRORS = {b"count": msgs.LPOS_COUNT_NEGATIVE_MSG, b"maxlen": msgs.LPOS_MAXLEN_NEGATIVE_MSG}


class ListCommands:
    """Mixed into the engine's sockets, before fakeredis' own commands."""

    @command("lindex", fixed=(Key(list, missing_return=None), bytes))
    def engine_lindex(self, key: CommandItem, index: bytes) -> bytes | None:
        place = Int.decode(index)
        elements: list[bytes] = key.value
        return elements[place] if -len(elements) <= place < len(elements) else None

    @command("lmove", fixed=(Key(), Key(), bytes, bytes))
    def engine_lmove(self, source: CommandItem, target: CommandItem, *ends: bytes) -> Any:
        if not {end.lower() for end in ends} <= {b"left", b"right"}:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        if source.value is None:
            return None
        if type(source.value) is not list or type(target.value) not in (list, type(None)):
            raise SimpleError(msgs.WRONGTYPE_MSG)
        element = source.value.pop(0 if ends[0].lower() == b"left" else -1)
        source.updated()
        moved = source if target.key == source.key else target
        rest = [] if moved.value is None else moved.value
        rest.insert(0 if ends[1].lower() == b"left" else len(rest), element)
        moved.update(rest)
        return element

    def lpop(self, key: CommandItem, *args: bytes) -> Any:
        _check_arguments("lpop", args)
        return super().lpop(key, *args)  # type: ignore[misc]

    def rpop(self, key: CommandItem, *args: bytes) -> Any:
        _check_arguments("rpop", args)
        return super().rpop(key, *args)  # type: ignore[misc]

    def lpos(self, key: CommandItem, element: bytes, *args: bytes) -> Any:
        for option, value in zip(args[::2], args[1::2], strict=False):
            word = option.lower()
            if word in _LPOS_ERRORS:
                Int.decode(value, _LPOS_ERRORS[word])
            elif word == b"rank" and Int.decode(value) == Int.MIN_VALUE:
                raise SimpleError(f"ERR value is out of range, value must between {-Int.MAX_VALUE} and {Int.MAX_VALUE}")
        return super().lpos(key, element, *args)  # type: ignore[misc]


def _check_arguments(name: str, args: tuple[bytes, ...]) -> None:
    if len(args) > 1:
        raise SimpleError(msgs.WRONG_ARGS_MSG6.format(name))
