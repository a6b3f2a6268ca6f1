"""`MultipleKeyCommands`: commands that are told how many keys follow: LMPOP, ZMPOP, SINTERCARD, ZUNION and the like.

fakeredis looks for their options among the keys, too, takes keys of other types for those that it expects, and has
other errors than Redis.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int, Timeout
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError, casematch
from fakeredis.model import ExpiringMembersSet, ZSet

from relay_models.embedded.registry import command

__all__ = ["MultipleKeyCommands"]

_NUMKEYS = f"ERR {msgs.NUMKEYS_GREATER_THAN_ZERO_MSG}"


class MultipleKeyCommands:
    """Mixed into the engine's sockets, before fakeredis' own commands."""

    _db: Any
    _blocking: Any

    @command("lmpop", fixed=(bytes, bytes, bytes), repeat=(bytes,), key_count=0)
    def engine_lmpop(self, *args: bytes) -> Any:
        keys, left, count = _pop_arguments(args, (b"left", b"right"))
        return self._lmpop(keys, count, left, True)

    @command("blmpop", fixed=(bytes, bytes, bytes, bytes), repeat=(bytes,), key_count=1)
    def engine_blmpop(self, timeout: bytes, *args: bytes) -> Any:
        keys, left, count = _pop_arguments(args, (b"left", b"right"))
        return self._blocking(Timeout.decode(timeout), functools.partial(self._lmpop, keys, count, left))

    @command("zmpop", fixed=(bytes, bytes, bytes), repeat=(bytes,), key_count=0)
    def engine_zmpop(self, *args: bytes) -> Any:
        keys, smallest, count = _pop_arguments(args, (b"min", b"max"))
        return self._zmpop(keys, count, not smallest, True)

    @command("bzmpop", fixed=(bytes, bytes, bytes, bytes), repeat=(bytes,), key_count=1)
    def engine_bzmpop(self, timeout: bytes, *args: bytes) -> Any:
        keys, smallest, count = _pop_arguments(args, (b"min", b"max"))
        return self._blocking(Timeout.decode(timeout), functools.partial(self._zmpop, keys, count, not smallest))

    def _lmpop(self, keys: Sequence[bytes], count: int, left: bool, first_pass: bool) -> Any:
        for key in self._of_type(list, keys, first_pass):
            item = CommandItem(key, self._db, item=self._db.get(key))
            chosen = slice(None, count) if left else slice(None, -count - 1, -1)
            popped = item.value[chosen]
            del item.value[chosen]
            item.updated()
            item.writeback()
            return [key, popped]
        return None

    def _zmpop(self, keys: Sequence[bytes], count: int, reverse: bool, first_pass: bool) -> Any:
        for key in self._of_type(ZSet, keys, first_pass):
            return super()._zmpop([key], count, reverse, first_pass)  # type: ignore[misc]
        return None

    def _bzpop(self, keys: Sequence[bytes], reverse: bool, first_pass: bool) -> Any:
        for key in self._of_type(ZSet, keys, first_pass):
            return super()._bzpop([key], reverse, first_pass)  # type: ignore[misc]
        return None

    def _of_type(self, kind: type, keys: Sequence[bytes], first_pass: bool) -> Any:
        """The keys that are there. One of another type is an error, except for a client that waits already."""
        for key in keys:
            item = self._db.get(key)
            if item is None:
                continue
            if type(item.value) is kind:
                yield key
            elif first_pass:
                raise SimpleError(msgs.WRONGTYPE_MSG)

    @command("sintercard", fixed=(bytes, bytes), repeat=(bytes,), key_count=0)
    def engine_sintercard(self, *args: bytes) -> int:
        number = _in_range(args[0], 1, _NUMKEYS)
        if number > len(args) - 1:
            raise SimpleError(msgs.TOO_MANY_KEYS_MSG)
        limit = _limit(args[1 + number :])
        sets: list[set[bytes]] = []
        for key in args[1 : 1 + number]:
            item = self._db.get(key)
            if item is not None and type(item.value) is not ExpiringMembersSet:
                raise SimpleError(msgs.WRONGTYPE_MSG)
            sets.append(set() if item is None else set(item.value))
        common = len(set.intersection(*sets))
        return min(common, limit) if limit else common

    def zintercard(self, numkeys: int, *args: bytes) -> int:
        if numkeys < 1:
            raise SimpleError(msgs.ZUNIONSTORE_KEYS_MSG.format("zintercard"))
        limit = _limit(args[numkeys:])
        common = len(self._zunioninterdiff("ZINTER", None, numkeys, *args[:numkeys]))  # type: ignore[attr-defined]
        return min(common, limit) if limit else common

    def zdiff(self, numkeys: int, *args: bytes) -> Any:
        return self._combined("ZDIFF", numkeys, args)

    def zinter(self, numkeys: int, *args: bytes) -> Any:
        return self._combined("ZINTER", numkeys, args)

    def zunion(self, numkeys: int, *args: bytes) -> Any:
        return self._combined("ZUNION", numkeys, args)

    def _combined(self, name: str, numkeys: int, args: Sequence[bytes]) -> Any:
        options = args[max(numkeys, 0) :]
        rest = [option for option in options if not casematch(option, b"withscores")]
        if name == "ZDIFF" and rest and numkeys > 0:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        found = self._zunioninterdiff(name, None, numkeys, *args[: max(numkeys, 0)], *rest)  # type: ignore[attr-defined]
        return self._zset_scores_reply(found, len(rest) < len(options))  # type: ignore[attr-defined]


def _limit(options: Sequence[bytes]) -> int:
    """The number after LIMIT, 0 where there is none."""
    limit, rest = 0, iter(options)
    for word in rest:
        value = next(rest, None)
        if not casematch(word, b"limit") or value is None:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        limit = _in_range(value, 0, msgs.LIMIT_NEGATIVE_MSG)
    return limit


def _pop_arguments(args: Sequence[bytes], ends: tuple[bytes, bytes]) -> tuple[Sequence[bytes], bool, int]:
    """The keys, whether the first of the two ends was named, and how many elements to pop."""
    number = _in_range(args[0], 1, _NUMKEYS)
    keys, rest = args[1 : 1 + number], [arg.lower() for arg in args[1 + number :]]
    if not rest or rest[0] not in ends:
        raise SimpleError(msgs.SYNTAX_ERROR_MSG)
    count = 1
    if len(rest) > 1:
        if len(rest) < 3 or rest[1] != b"count":
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        count = _in_range(rest[2], 1, msgs.COUNT_GREATER_THAN_ZERO_MSG)
        if len(rest) > 3:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
    return keys, rest[0] == ends[0], count


def _in_range(text: bytes, least: int, error: str) -> int:
    number = Int.decode(text, error)
    if number < least:
        raise SimpleError(error)
    return number
