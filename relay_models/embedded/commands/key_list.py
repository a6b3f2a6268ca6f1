"""`KeyListCommands`: COMMAND GETKEYS and GETKEYSANDFLAGS, which find the keys in a command."""

from __future__ import annotations

from typing import Any, Final

from fakeredis._commands import SUPPORTED_COMMANDS
from fakeredis._helpers import SimpleError, SimpleString

from relay_models.embedded.commands.command_table import key_specs
from relay_models.embedded.commands.permissions import keys_of
from relay_models.embedded.registry import COMMANDS, check_count, command, split_name
from relay_models.embedded.reply_types import SetReply

__all__ = ["KeyListCommands"]

_SAMPLE: Final = (b"1", b"1", b"streams", b"1", b"1")
"""Arguments among which every command that has keys finds one."""


def _used(name: str, place: int, args: list[bytes]) -> tuple[str, ...]:
    words = {arg.lower() for arg in args[2 if name == "set" else 1 :]}
    if name == "set" and b"get" not in words:
        return ("OW", "update")
    if name == "bitfield" and words.isdisjoint((b"set", b"incrby")):
        return ("RO", "access")
    specs = key_specs(name.replace(" ", "|"))
    flags = specs[-1 if place else 0].flags if specs else ("RW", "access", "update")
    return tuple(flag for flag in flags if flag != "variable_flags")


class KeyListCommands:
    """Mixed into the engine's sockets."""

    @command("command getkeys", fixed=(bytes,), repeat=(bytes,), categories="@slow @connection")
    def engine_getkeys(self, *words: bytes) -> list[bytes]:
        return _parsed(list(words))[2]

    @command("command getkeysandflags", fixed=(bytes,), repeat=(bytes,), categories="@slow @connection")
    def engine_getkeysandflags(self, *words: bytes) -> list[Any]:
        name, args, keys = _parsed(list(words))
        return [
            [key, SetReply([SimpleString(flag.encode()) for flag in _used(name, place, args)])]
            for place, key in enumerate(keys)
        ]


def _parsed(words: list[bytes]) -> tuple[str, list[bytes], list[bytes]]:
    """A command's name, its arguments, and the keys among them."""
    name, args = split_name(words)
    signature = COMMANDS.get(name) or SUPPORTED_COMMANDS.get(name)
    if signature is None:
        raise SimpleError("ERR Invalid command specified")
    if not keys_of(name, _SAMPLE):
        raise SimpleError("ERR The command has no key arguments")
    try:
        check_count(name, signature, args)
    except SimpleError:
        raise SimpleError("ERR Invalid number of arguments specified for command") from None
    for spec in key_specs(name):
        if spec.counted and isinstance(spec.begin, int) and not name.startswith(("eval", "fcall")):
            number, rest = args[spec.begin - 1], len(args) - spec.begin
            if not (number.isdigit() and 0 < int(number) <= rest):
                raise SimpleError("ERR Invalid arguments specified for command")
    keys = keys_of(name, args)
    if keys is None:  # with patterns, for which it may read any key
        stored = [args[at + 1] for at, word in enumerate(args[:-1]) if at and word.lower() == b"store"]
        keys = [args[0], *stored]
    return name, args, [keys[0], keys[-1]] if name == "sort" and len(keys) > 1 else keys
