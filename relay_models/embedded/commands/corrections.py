"""`CorrectedCommands`: replies of fakeredis' commands whose shape or text is not Redis's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Float
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError, SimpleString
from fakeredis.model import ZSet

from relay_models.embedded.commands.long_double import increment
from relay_models.embedded.registry import command
from relay_models.embedded.reply_types import encode_double

__all__ = ["NULL_ARRAYS", "CorrectedCommands", "corrected_error", "doubles_as_text"]

NULL_ARRAYS: Final = frozenset(
    (
        "xrange", "xrevrange", "zmpop", "bzpopmin", "bzpopmax", "bzmpop", "blpop", "brpop", "blmove", "brpoplpush",
        "lmpop", "blmpop", "xread", "xreadgroup", "exec",
    )
)  # fmt: skip
"""Commands whose reply to nothing is a null array in RESP2, and null in RESP3."""

_SCRIPTS: Final = frozenset(("eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"))
_CURSORS: Final = {"scan": 0, "sscan": 1, "hscan": 1, "zscan": 1}
# Where in the arguments of a blocking command its timeout is.
_TIMEOUTS: Final = {
    "blpop": -1, "brpop": -1, "bzpopmin": -1, "bzpopmax": -1, "brpoplpush": -1, "blmove": -1, "blmpop": 0, "bzmpop": 0,
}  # fmt: skip
_EXPIRE_ERROR = re.compile(r"(ERR invalid expire time in) '?([a-z]+)'?\Z")
_TEXTS: Final = {
    msgs.BITOP_NOT_ONE_KEY_ONLY: "ERR BITOP NOT must be called with a single source key.",
    msgs.INVALID_MIN_MAX_STR_MSG: "ERR min or max not valid string range item",
    msgs.HEXPIRE_NUMFIELDS_DIFFERENT: f"ERR {msgs.HEXPIRE_NUMFIELDS_DIFFERENT}",
}
# How many entries XAUTOCLAIM may be asked for: as many as a 64-bit machine has room for the IDs of.
CLAIM_LIMIT: Final = (2**63 - 1) // 16

# What these commands say of an argument that is no integer.
_NOT_INTEGER: Final = {
    "spop": msgs.INDEX_NEGATIVE_ERROR_MSG,
    "zpopmin": msgs.INDEX_NEGATIVE_ERROR_MSG,
    "zpopmax": msgs.INDEX_NEGATIVE_ERROR_MSG,
    "xclaim": "ERR Invalid min-idle-time argument for XCLAIM",
    "xautoclaim": "ERR Invalid min-idle-time argument for XAUTOCLAIM",
    "copy": msgs.INVALID_INT_MSG,
    "move": msgs.INVALID_INT_MSG,
}
# Which argument that is, where the command has several.
_PLACES: Final = {"xclaim": 3, "xautoclaim": 3, "move": 1, "copy": -1}
_NO_KEYS = re.compile(r"ERR at least 1 input key is needed for ")


def corrected_error(name: str, args: list[bytes], text: str) -> str:
    """The text of an error as Redis words it."""
    if name in _SCRIPTS:  # whatever they say is theirs
        return text
    if text == msgs.INVALID_INT_MSG and name in _CURSORS and not args[_CURSORS[name]].isdigit():
        return "ERR invalid cursor"
    if text.startswith("ERR BUSYGROUP "):
        return text[4:]
    if text == "ERR Wrong number of args calling Redis command from script":
        return f"ERR wrong number of arguments for '{name.replace(' ', '|')}' command"
    if " " in name:
        text = text.replace(f"arguments for '{name}' command", f"arguments for '{name.replace(' ', '|')}' command")
    if name == "select" and text == msgs.INVALID_DB_MSG and not _is_integer(args[0]):
        return msgs.INVALID_INT_MSG
    if name in _NOT_INTEGER and text in (msgs.INVALID_INT_MSG, msgs.INVALID_DB_MSG):
        return text if name in _PLACES and _is_integer(args[_PLACES[name]]) else _NOT_INTEGER[name]
    if name == "zintercard" and text == msgs.INVALID_INT_MSG and _is_integer(args[0]):
        return msgs.LIMIT_NEGATIVE_MSG
    if name == "swapdb" and text == msgs.INVALID_DB_MSG and not all(map(_is_integer, args)):
        return f"ERR invalid {'second' if _is_integer(args[0]) else 'first'} DB index"
    if name in ("zrange", "zrevrange", "zrangestore") and text == msgs.INVALID_MIN_MAX_FLOAT_MSG:
        return text if b"byscore" in [arg.lower() for arg in args] else msgs.INVALID_INT_MSG
    if _NO_KEYS.match(text):
        return f"ERR at least 1 input key is needed for '{name}' command"
    if text == msgs.TIMEOUT_NEGATIVE_MSG and name in _TIMEOUTS and not _is_number(args[_TIMEOUTS[name]]):
        return "ERR timeout is not a float or out of range"
    if name in ("xread", "xreadgroup") and text in (msgs.SYNTAX_ERROR_MSG, msgs.INVALID_INT_MSG):
        return _read_error(name, args) or text
    found = _EXPIRE_ERROR.match(text)
    if found:
        return f"{found[1]} '{found[2]}' command"
    if text.startswith(("RANK can't", "numkeys should")):
        return f"ERR {text}"
    if name == "xreadgroup" and text == msgs.XGROUP_KEY_NOT_FOUND_MSG:
        words = [arg.decode("utf-8", "replace") for arg in args]
        keys = words[[word.lower() for word in words].index("streams", 3) + 1 :]
        return f"NOGROUP No such key '{keys[0]}' or consumer group '{words[1]}' in XREADGROUP with GROUP option"
    return _TEXTS.get(text, text)


def _read_error(name: str, args: list[bytes]) -> str | None:
    """What Redis says of the arguments of XREAD and XREADGROUP, where that is more than a syntax error."""
    words = [arg.lower() for arg in args]
    begin = words.index(b"streams") + 1 if b"streams" in words else len(words) + 1
    options = words[3 if name == "xreadgroup" else 0 : begin - 1]
    if b"block" in options[:-1] and not _is_integer(options[options.index(b"block") + 1]):
        return "ERR timeout is not an integer or out of range"
    if len(args) < (6 if name == "xreadgroup" else 3):
        return msgs.WRONG_ARGS_MSG6.format(name)
    if begin < len(args) and (len(args) - begin) % 2:
        latest = ">" if name == "xreadgroup" else "$"
        return f"ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{latest}' must be specified."
    return None


def doubles_as_text(value: Any) -> Any:
    """A reply for RESP2, with its doubles as the shortest texts that read back."""
    if type(value) is float:
        return encode_double(value)
    if type(value) is list or type(value) is tuple:
        return [doubles_as_text(each) for each in value]
    if type(value) is dict:
        return {key: doubles_as_text(each) for key, each in value.items()}
    return value


class CorrectedCommands:
    """Mixed into the engine's sockets, before fakeredis' own commands."""

    _db: Any
    _client_info: Any

    @command("touch", fixed=(Key(),), repeat=(Key(),), categories="@keyspace @read @fast")
    def engine_touch(self, *keys: CommandItem) -> int:
        return sum(key.value is not None for key in keys)

    @command("object freq", fixed=(Key(missing_return=None),), categories="@keyspace @read @slow")
    def engine_object_freq(self, key: CommandItem) -> int:
        raise SimpleError(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching"
            " between policies at runtime LRU and LFU data will take some time to adjust."
        )

    # Sums and scores

    @command("incrbyfloat", fixed=(Key(bytes), bytes))
    def engine_incrbyfloat(self, key: CommandItem, amount: bytes) -> bytes:
        total = increment(key.get(b"0"), amount)
        key.update(total)
        return total

    def hincrbyfloat(self, key: CommandItem, field: bytes, amount: bytes) -> bytes:
        try:
            total = increment(key.value.get(field, b"0"), amount)
        except SimpleError as error:
            if error.value == msgs.INVALID_FLOAT_MSG and _is_number(amount):
                raise SimpleError("ERR hash value is not a float") from None
            if amount.lower().lstrip(b"+-") in (b"inf", b"infinity"):
                raise SimpleError("ERR value is NaN or Infinity") from None
            raise
        key.value.update({field: total}, clear_expiration=False)
        key.updated()
        return total

    def _encodefloat(self, value: float, humanfriendly: bool) -> bytes:
        return encode_double(value + 0.0) if not humanfriendly else Float.encode(value, True)

    # When keys expire

    def expire(self, key: CommandItem, seconds: int, *args: bytes) -> int:
        return self._expires("expire", seconds * 1000, True, super().expire, key, seconds, *args)  # type: ignore[misc]

    def pexpire(self, key: CommandItem, ms: int, *args: bytes) -> int:
        return self._expires("pexpire", ms, True, super().pexpire, key, ms, *args)  # type: ignore[misc]

    def expireat(self, key: CommandItem, timestamp: int, *args: bytes) -> int:
        when = timestamp * 1000
        return self._expires("expireat", when, False, super().expireat, key, timestamp, *args)  # type: ignore[misc]

    def pexpireat(self, key: CommandItem, timestamp_ms: int, *args: bytes) -> int:
        when = timestamp_ms
        return self._expires("pexpireat", when, False, super().pexpireat, key, when, *args)  # type: ignore[misc]

    def _expires(self, name: str, when: int, relative: bool, run: Callable[..., int], *args: Any) -> int:
        """Refuse what 64 bits cannot hold, in milliseconds."""
        if {option.lower() for option in args[2:]} == {b"gt", b"lt"}:
            raise SimpleError("ERR GT and LT options at the same time are not compatible")
        base = int(self._db.time * 1000) if relative else 0
        if not -(2**63) <= when < 2**63 or when + base >= 2**63:
            raise SimpleError(f"ERR invalid expire time in '{name}' command")
        return run(*args)

    def hexpire(self, key: CommandItem, seconds: int, *args: bytes) -> Any:
        return self._hash_expires("hexpire", seconds * 1000, True, super().hexpire, key, seconds, *args)  # type: ignore[misc]

    def hpexpire(self, key: CommandItem, ms: int, *args: bytes) -> Any:
        return self._hash_expires("hpexpire", ms, True, super().hpexpire, key, ms, *args)  # type: ignore[misc]

    def hexpireat(self, key: CommandItem, timestamp: int, *args: bytes) -> Any:
        when = timestamp * 1000
        return self._hash_expires("hexpireat", when, False, super().hexpireat, key, timestamp, *args)  # type: ignore[misc]

    def hpexpireat(self, key: CommandItem, timestamp_ms: int, *args: bytes) -> Any:
        when = timestamp_ms
        return self._hash_expires("hpexpireat", when, False, super().hpexpireat, key, when, *args)  # type: ignore[misc]

    def _hash_expires(self, name: str, when: int, relative: bool, run: Callable[..., Any], *args: Any) -> Any:
        """Refuse what the 46 bits that Redis has for the time of a field cannot hold, in milliseconds."""
        if when < 0:
            raise SimpleError(msgs.HEXPIRE_INVALID_TIME_MSG)
        if when + (int(self._db.time * 1000) if relative else 0) >= 2**46:
            raise SimpleError(f"ERR invalid expire time in '{name}' command")
        return run(*args)

    # Streams

    def xpending(self, key: CommandItem, group: bytes, *args: bytes) -> Any:
        reply = super().xpending(key, group, *args)  # type: ignore[misc]
        if args:
            return reply
        if not reply[0]:
            return [0, None, None, None]
        return [*reply[:3], [[consumer, b"%d" % count] for consumer, count in reply[3]]]

    def xinfo_stream(self, key: CommandItem, *args: bytes) -> Any:
        fields = _as_map(super().xinfo_stream(key, *args))  # type: ignore[misc]
        if not isinstance(fields, dict):
            return fields
        names = _STREAM_FIELDS[: _FULL if b"entries" in fields else None]
        return {name: fields[name] for name in names if name in fields}

    def xrange(self, key: CommandItem, start: bytes, end: bytes, *args: bytes) -> Any:
        return _unless_counted(key, args, super().xrange(key, start, end, *args))  # type: ignore[misc]

    def xrevrange(self, key: CommandItem, end: bytes, start: bytes, *args: bytes) -> Any:
        return _unless_counted(key, args, super().xrevrange(key, end, start, *args))  # type: ignore[misc]

    def xautoclaim(
        self, key: CommandItem, group: bytes, consumer: bytes, idle_ms: int, start: bytes, *args: bytes
    ) -> Any:
        count = _count(args)
        if any(arg.lower() == b"count" for arg in args) and (count is None or not 1 <= count <= CLAIM_LIMIT):
            raise SimpleError("ERR COUNT must be > 0")
        first = b"0-0" if start == b"-" else start
        return super().xautoclaim(key, group, consumer, idle_ms, first, *args)  # type: ignore[misc]

    # Sorted sets

    @command("zrangestore", fixed=(Key(), Key(ZSet), bytes, bytes), repeat=(bytes,))
    def engine_zrangestore(self, dest: CommandItem, src: CommandItem, start: bytes, stop: bytes, *args: bytes) -> Any:
        if any(arg.lower() == b"withscores" for arg in args):
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        source = CommandItem(src.key, src.db, default=ZSet()) if src.value is None else src
        # What it replaces may be of any type.
        return super().zrangestore(dest, source, start, stop, *args)  # type: ignore[misc]

    def zpopmin(self, key: CommandItem, *counts: int) -> Any:
        return super().zpopmin(key, *_at_most_one(counts))  # type: ignore[misc]

    def zpopmax(self, key: CommandItem, *counts: int) -> Any:
        return super().zpopmax(key, *_at_most_one(counts))  # type: ignore[misc]

    def spop(self, key: CommandItem, *counts: int) -> Any:
        return super().spop(key, *_at_most_one(counts))  # type: ignore[misc]

    def zscan(self, key: CommandItem, cursor: int, *args: bytes) -> Any:
        """A small sorted set all at once and by score, as the encoding that Redis has for it is read."""
        held = key.value
        if len(held) > 128 or any(len(member) > 64 for member in held):
            return super().zscan(key, cursor, *args)  # type: ignore[misc]
        _, pairs = super().zscan(key, 0, *args, b"COUNT", b"%d" % max(1, len(held)))  # type: ignore[misc]
        scores = dict(zip(pairs[::2], pairs[1::2], strict=True))
        ordered = sorted(scores, key=lambda member: (held[member], member))
        return [b"0", [part for member in ordered for part in (member, scores[member])]]

    # Connections

    @command("debug", fixed=(bytes,), repeat=(bytes,), categories="@admin @slow @dangerous")
    def engine_debug(self, *args: bytes) -> None:
        raise SimpleError(
            'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from'
            " a local connection, otherwise you need to set this option in the configuration file, and then restart the"
            " server."
        )

    def client_setname(self, name: bytes) -> SimpleString:
        if any(not 33 <= byte <= 126 for byte in name):
            raise SimpleError("ERR Client names cannot contain spaces, newlines or special characters.")
        return super().client_setname(name)  # type: ignore[misc, no-any-return]


_STREAM_FIELDS: Final = (
    *(b"length", b"radix-tree-keys", b"radix-tree-nodes", b"last-generated-id", b"max-deleted-entry-id"),
    *(b"entries-added", b"recorded-first-entry-id", b"entries", b"groups", b"first-entry", b"last-entry"),
)
"""What Redis 7.4 tells of a stream, in its order."""
_FULL: Final = _STREAM_FIELDS.index(b"first-entry")  # FULL has what comes before


def _at_most_one(counts: tuple[int, ...]) -> tuple[int, ...]:
    if len(counts) > 1:
        raise SimpleError(msgs.SYNTAX_ERROR_MSG)
    return counts


def _count(args: tuple[bytes, ...]) -> int | None:
    """The value of COUNT, where it is given."""
    words = [arg.lower() for arg in args]
    at = words.index(b"count") + 1 if b"count" in words else len(words)
    return int(words[at]) if at < len(words) and _is_integer(words[at]) else None


def _unless_counted(key: CommandItem, args: tuple[bytes, ...], reply: Any) -> Any:
    """A reply to XRANGE, which is null where no entry was asked for."""
    count = _count(args)
    return None if key.value is not None and count is not None and count < 1 else reply


def _is_integer(text: bytes) -> bool:
    return re.fullmatch(rb"-?[0-9]{1,19}", text) is not None


def _is_number(text: bytes) -> bool:
    try:
        increment(b"0", text)
    except SimpleError:
        return False
    return True


def _as_map(flat: Any) -> Any:
    """The names and values of a list as a map, which RESP3 has."""
    return dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else flat
