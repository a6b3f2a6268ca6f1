"""`RandomCommands`: random elements of sets, hashes and sorted sets, with a bound on how often they are repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError, casematch
from fakeredis.model import ExpiringMembersSet

from relay_models.embedded.registry import command

__all__ = ["RandomCommands"]

# Maximum elements of a reply that may repeat them. Redis has no maximum and sends gigabytes.
REPEATED_LIMIT: Final = 1_000_000


class RandomCommands:
    """Mixed into the engine's sockets; fakeredis' declarations of these commands stand."""

    _resp_version: int

    @command("srandmember", fixed=(Key(ExpiringMembersSet),), repeat=(bytes,))
    def engine_srandmember(self, key: CommandItem, *args: bytes) -> Any:
        if len(args) > 1:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        count = _decoded(args[0]) if args else None
        members: list[bytes] = [] if key.value is None else sorted(key.value)
        if count is None:
            return random.choice(members) if members else None
        return _chosen(members, count)

    def hrandfield(self, key: CommandItem, *args: bytes) -> Any:
        return self._pairs(key, args, b"withvalues")

    def zrandmember(self, key: CommandItem, *args: bytes) -> Any:
        return self._pairs(key, args, b"withscores")

    def _pairs(self, key: CommandItem, args: tuple[bytes, ...], option: bytes) -> Any:
        """Random members, with what belongs to them where the option is given."""
        count = _decoded(args[0]) if args else None
        if len(args) > 2 or (len(args) == 2 and not casematch(args[1], option)):
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        pairs: list[tuple[bytes, Any]] = [] if key.value is None else sorted(key.value.items())
        if count is None:
            return random.choice(pairs)[0] if pairs else None
        chosen = _chosen(pairs, count)
        if len(args) < 2:
            return [member for member, _ in chosen]
        if self._resp_version == 2:
            return [each for pair in chosen for each in pair]
        return [list(pair) for pair in chosen]


def _decoded(text: bytes) -> int:
    count = Int.decode(text)
    if count == Int.MIN_VALUE:
        raise SimpleError(f"ERR value is out of range, value must between {-Int.MAX_VALUE} and {Int.MAX_VALUE}")
    return count


def _chosen(members: Sequence[Any], count: int) -> list[Any]:
    """As many of the members, each once; of a negative number, each perhaps several times."""
    if count >= 0:
        return random.sample(members, min(count, len(members)))
    if not members:
        return []
    if -count > REPEATED_LIMIT:
        raise SimpleError(f"ERR value is out of range, value must between -{REPEATED_LIMIT} and {2**63 - 1}")
    return random.choices(members, k=-count)
