"""`FieldExpiryCommands`: when fields of a hash expire.

fakeredis rounds the seconds that are left down, has other errors, takes times that Redis refuses, and does not tell
those who watch the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fakeredis._command_args_parsing import Int
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError, current_time
from fakeredis.model import Hash

from relay_models.embedded.registry import command

__all__ = ["FieldExpiryCommands"]

# The latest time of a field, in ms since the epoch: 48 bits.
_LATEST: Final = 0xFFFFFFFFFFFE
_CONDITIONS: Final = (b"nx", b"xx", b"gt", b"lt")
_SETS: Final[dict[str, Any]] = {"fixed": (Key(Hash), *[bytes] * 4), "repeat": (bytes,)}
_READS: Final[dict[str, Any]] = {"fixed": (Key(Hash), *[bytes] * 3), "repeat": (bytes,)}


class FieldExpiryCommands:
    """Mixed into the engine's sockets, in place of fakeredis' commands."""

    @command("hexpire", **_SETS)
    def engine_hexpire(self, key: CommandItem, *args: bytes) -> list[int]:
        return self._expire_fields("hexpire", key, args, 1000, current_time())

    @command("hpexpire", **_SETS)
    def engine_hpexpire(self, key: CommandItem, *args: bytes) -> list[int]:
        return self._expire_fields("hpexpire", key, args, 1, current_time())

    @command("hexpireat", **_SETS)
    def engine_hexpireat(self, key: CommandItem, *args: bytes) -> list[int]:
        return self._expire_fields("hexpireat", key, args, 1000, 0)

    @command("hpexpireat", **_SETS)
    def engine_hpexpireat(self, key: CommandItem, *args: bytes) -> list[int]:
        return self._expire_fields("hpexpireat", key, args, 1, 0)

    @command("hpersist", **_READS)
    def engine_hpersist(self, key: CommandItem, *args: bytes) -> list[int]:
        results = []
        for field in _fields(args, _NUMBER_READ):
            results.append(-2 if field not in key.value else 1 if key.value.clear_key_expireat(field) else -1)
        if 1 in results:
            key.updated()
        return results

    def hsetex(self, key: CommandItem, *args: bytes) -> int:
        # fakeredis drops the time of each field that is set, with KEEPTTL too.
        key.value.getall()  # without what has expired
        before = dict(key.value._expirations)
        changed: int = super().hsetex(key, *args)  # type: ignore[misc]
        words = [arg.lower() for arg in args]
        if changed and b"keepttl" in words[: words.index(b"fields")]:
            key.value._expirations.update(before)
        return changed

    @command("httl", **_READS)
    def engine_httl(self, key: CommandItem, *args: bytes) -> list[int]:
        return _times(key, args, 1000, current_time())

    @command("hpttl", **_READS)
    def engine_hpttl(self, key: CommandItem, *args: bytes) -> list[int]:
        return _times(key, args, 1, current_time())

    @command("hexpiretime", **_READS)
    def engine_hexpiretime(self, key: CommandItem, *args: bytes) -> list[int]:
        return _times(key, args, 1000, 0)

    @command("hpexpiretime", **_READS)
    def engine_hpexpiretime(self, key: CommandItem, *args: bytes) -> list[int]:
        return _times(key, args, 1, 0)

    def _expire_fields(self, name: str, key: CommandItem, args: Sequence[bytes], unit: int, base: int) -> list[int]:
        when = Int.decode(args[0])
        if when < 0:
            raise SimpleError("ERR invalid expire time, must be >= 0")
        when = when * unit + base
        if when > _LATEST:
            raise SimpleError(f"ERR invalid expire time in '{name}' command")
        condition = args[1].lower() if args[1].lower() in _CONDITIONS else b""
        fields = _fields(args[2 if condition else 1 :], "Parameter `numFields` should be greater than 0")
        results = [_expire(key.value, field, when, condition) for field in fields]
        if any(result > 0 for result in results):
            key.updated()
        return results


_NUMBER_READ: Final = "Number of fields must be a positive integer"


def _expire(values: Hash, field: bytes, when: int, condition: bytes) -> int:
    if field not in values:
        return -2
    before = values.get_key_expireat(field)
    refused = {
        b"": False,
        b"nx": before is not None,
        b"xx": before is None,
        b"gt": before is None or when <= before,
        b"lt": before is not None and when >= before,
    }
    return 0 if refused[condition] else values.set_key_expireat(field, when)


def _times(key: CommandItem, args: Sequence[bytes], unit: int, base: int) -> list[int]:
    results = []
    for field in _fields(args, _NUMBER_READ):
        when = key.value.get_key_expireat(field)
        missing = -1 if field in key.value else -2
        results.append(missing if when is None else -((base - when) // unit))  # a part of a second counts as one
    return results


def _fields(args: Sequence[bytes], number_error: str) -> Sequence[bytes]:
    if args[0].lower() != b"fields":
        raise SimpleError("ERR Mandatory argument FIELDS is missing or not at the right position")
    try:
        number = Int.decode(args[1]) if len(args) > 1 else 0
    except SimpleError:
        number = 0
    if number < 1:
        raise SimpleError(f"ERR {number_error}")
    if number != len(args) - 2:
        raise SimpleError("ERR The `numfields` parameter must match the number of arguments")
    return args[2:]
