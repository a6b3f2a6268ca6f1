"""`CorrectedCommands`: replies of fakeredis' commands whose shape or text is not Redis's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Float, Int
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError, SimpleString
from fakeredis.model import ExpiringMembersSet, Hash, ZSet

from relay_models.embedded.commands.long_double import increment
from relay_models.embedded.commands.server import is_int64
from relay_models.embedded.registry import command
from relay_models.embedded.reply_types import encode_double

__all__ = [
    "CHECKED_BEFORE_TYPE",
    "NULL_ARRAYS",
    "CorrectedCommands",
    "corrected_doubles",
    "corrected_error",
    "doubles_as_text",
]

NULL_ARRAYS: Final = frozenset(
    (
        "xrange", "xrevrange", "zmpop", "bzpopmin", "bzpopmax", "bzmpop", "blpop", "brpop", "blmove", "brpoplpush",
        "lmpop", "blmpop", "xread", "xreadgroup", "exec",
    )
)  # fmt: skip
"""Commands whose reply to nothing is a null array in RESP2, and null in RESP3."""

CHECKED_BEFORE_TYPE: Final = frozenset(
    (
        "bitcount", "bitpos", "decrby", "geoadd", "geodist", "hincrby", "hincrbyfloat", "hrandfield", "linsert", "lpos",
        "setrange", "spop", "srandmember", "xautoclaim", "xpending", "xsetid", "zadd", "zpopmax",
        "zpopmin", "zrandmember", "zrange", "zrank", "zrevrange", "zrevrank",
    )
)  # fmt: skip
"""Commands whose other arguments Redis checks before it looks at what their key holds."""

_SCRIPTS: Final = frozenset(("eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"))
_CURSORS: Final = {"scan": 0, "sscan": 1, "hscan": 1, "zscan": 1}
# Where in the arguments of a blocking command its timeout is.
_TIMEOUTS: Final = {
    "blpop": -1, "brpop": -1, "bzpopmin": -1, "bzpopmax": -1, "brpoplpush": -1, "blmove": -1, "blmpop": 0, "bzmpop": 0,
}  # fmt: skip
_EXPIRE_ERROR = re.compile(r"(ERR invalid expire time in) '?([a-z]+)'?\Z")
_AT_LEAST_ONE = re.compile(r"(ERR at least 1 input key is needed for) ([a-z]+)\Z")
_TEXTS: Final = {
    msgs.BITOP_NOT_ONE_KEY_ONLY: "ERR BITOP NOT must be called with a single source key.",
    msgs.INVALID_MIN_MAX_STR_MSG: "ERR min or max not valid string range item",
}
# Of commands that count their arguments themselves.
_MOST_ARGUMENTS: Final = {"zrank": 3, "zrevrank": 3}
_POSITIVE: Final = "ERR value is out of range, must be positive"
# What Redis says of a word that is no integer, by the command and its place, which is its index or the word before it.
_NO_INTEGER: Final[dict[str, dict[int | bytes, str]]] = {
    "zintercard": {b"limit": msgs.LIMIT_NEGATIVE_MSG},
    "spop": {1: _POSITIVE},
    "wait": {1: "ERR timeout is not an integer or out of range"},
    "xclaim": {3: "ERR Invalid min-idle-time argument for XCLAIM"},
    "xautoclaim": {3: "ERR Invalid min-idle-time argument for XAUTOCLAIM"},
}
# Where commands take doubles; "byscore" and others say so by a word before.
_DOUBLES: Final = {
    **dict.fromkeys(("zcount", "zrangebyscore", "zrevrangebyscore", "zremrangebyscore"), (1, 2)),
    **dict.fromkeys(("georadius", "georadius_ro"), (1, 2, 3)),
    **dict.fromkeys(("georadiusbymember", "georadiusbymember_ro"), (2,)),
    **{name: (place,) for name, place in _TIMEOUTS.items()},
    "zincrby": (1,),
}
_DOUBLES_AFTER: Final[dict[bytes, int]] = {b"fromlonlat": 2, b"bybox": 2, b"byradius": 1}
_FLAGS_OF_ADDING: Final = frozenset((b"nx", b"xx", b"gt", b"lt", b"ch", b"incr"))
_HEXADECIMAL = re.compile(rb"[+-]?0x[0-9a-f]*\.?[0-9a-f]*(p[+-]?[0-9]+)?\Z", re.IGNORECASE)


def corrected_doubles(name: str, args: list[bytes]) -> list[bytes]:
    """The arguments with doubles as Python reads them: C's may be hexadecimal and have no underscores."""
    if name[0] not in "zgb" or not any(b"_" in arg or b"x" in arg or b"X" in arg for arg in args):
        return args
    corrected = list(args)
    for place in _double_places(name, args):
        if -len(args) <= place < len(args):
            corrected[place] = _as_python_reads(args[place])
    return corrected


def _double_places(name: str, args: list[bytes]) -> Iterable[int]:
    words = [arg.lower() for arg in args]
    if name in _DOUBLES:
        return _DOUBLES[name]
    if name in ("zrange", "zrangestore"):
        first = 1 if name == "zrange" else 2
        return (first, first + 1) if b"byscore" in words else ()
    if name in ("zadd", "geoadd"):
        start = next((at for at, word in enumerate(words) if at and word not in _FLAGS_OF_ADDING), len(words))
        each = 2 if name == "zadd" else 3
        return [at for at in range(start, len(words)) if (at - start) % each < each - 1]
    if name in ("geosearch", "geosearchstore"):
        return [at + offset for at, word in enumerate(words) for offset in range(1, _DOUBLES_AFTER.get(word, 0) + 1)]
    counted = 1 if name.endswith("store") else 0
    if name.startswith(("zunion", "zinter")) and len(args) > counted and args[counted].isdigit():
        options = counted + 1 + int(args[counted])
        return range(options, len(words)) if words[options : options + 1] == [b"weights"] else ()
    return ()


def _as_python_reads(word: bytes) -> bytes:
    mark, text = (word[:1], word[1:]) if word[:1] == b"(" else (b"", word)
    if b"_" in text:
        return b"not a number"
    if not _HEXADECIMAL.match(text):
        return word
    try:
        return mark + repr(float.fromhex(text.decode())).encode()
    except (ValueError, OverflowError):
        return word


def corrected_error(name: str, args: list[bytes], text: str) -> str:
    """The text of an error as Redis words it."""
    if name in _SCRIPTS:  # whatever they say is theirs
        return text
    if text == msgs.INVALID_INT_MSG and name in _CURSORS and not args[_CURSORS[name]].isdigit():
        return "ERR invalid cursor"
    if text == msgs.INVALID_INT_MSG and name in _NO_INTEGER:
        return _no_integer(_NO_INTEGER[name], args) or text
    if text == msgs.INVALID_DB_MSG and name in ("move", "swapdb", "copy"):
        return _no_database(name, args) or text
    if text == msgs.SYNTAX_ERROR_MSG and name in ("xgroup create", "xgroup setid"):
        word = name.partition(" ")[2].upper()
        return f"ERR unknown subcommand or wrong number of arguments for '{word}'. Try XGROUP HELP."
    if text == msgs.OVERFLOW_MSG and name == "decrby" and int(args[1]) == -(2**63):
        return "ERR decrement would overflow"
    if text.startswith("ERR BUSYGROUP "):
        return text[4:]
    if text == "ERR Wrong number of args calling Redis command from script":
        return f"ERR wrong number of arguments for '{name.replace(' ', '|')}' command"
    if text == msgs.BAD_COMMAND_IN_PUBSUB_MSG:
        word = name.replace(" ", "|")
        allowed = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET"
        return f"ERR Can't execute '{word}': only {allowed} are allowed in this context"
    if " " in name:
        text = text.replace(f"arguments for '{name}' command", f"arguments for '{name.replace(' ', '|')}' command")
    if text == msgs.XADD_INVALID_ID and name == "xread" and b">" in args:
        return "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
    if name == "select" and text == msgs.INVALID_DB_MSG and not _is_integer(args[0]):
        return msgs.INVALID_INT_MSG
    if name in ("zrange", "zrevrange", "zrangestore") and text == msgs.INVALID_MIN_MAX_FLOAT_MSG:
        return text if b"byscore" in [arg.lower() for arg in args] else msgs.INVALID_INT_MSG
    if text == msgs.TIMEOUT_NEGATIVE_MSG and name in _TIMEOUTS and not _is_number(args[_TIMEOUTS[name]]):
        return "ERR timeout is not a float or out of range"
    if name in ("xread", "xreadgroup") and text in (msgs.SYNTAX_ERROR_MSG, msgs.INVALID_INT_MSG):
        return _read_error(name, args) or text
    found = _AT_LEAST_ONE.match(text)
    if found:
        return f"{found[1]} '{name}' command"
    found = _EXPIRE_ERROR.match(text)
    if found:
        return f"{found[1]} '{found[2]}' command"
    if text == msgs.SYNTAX_ERROR_MSG and len(args) > _MOST_ARGUMENTS.get(name, len(args)):
        return msgs.WRONG_ARGS_MSG6.format(name)
    if text.startswith(("RANK can't", "numkeys should")):
        return f"ERR {text}"
    return _TEXTS.get(text, text)


def _no_integer(texts: dict[int | bytes, str], args: list[bytes]) -> str | None:
    """What Redis says of the first word that is no integer."""
    for place, text in texts.items():
        at = place if isinstance(place, int) else _after(args, place)
        if at < len(args) and not _is_integer(args[at]):
            return text
    return None


def _after(args: list[bytes], word: bytes) -> int:
    """The index after the last word of this kind."""
    found = [at for at, arg in enumerate(args) if arg.lower() == word]
    return found[-1] + 1 if found else len(args)


def _no_database(name: str, args: list[bytes]) -> str | None:
    """What Redis says of a word that is no integer, in place of a database."""
    if name == "swapdb":
        wrong = next((at for at in (0, 1) if at < len(args) and not _is_integer(args[at])), None)
        return None if wrong is None else f"ERR invalid {('first', 'second')[wrong]} DB index"
    at = 1 if name == "move" else _after(args, b"db")
    return msgs.INVALID_INT_MSG if at < len(args) and not _is_integer(args[at]) else None


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
    _blocked: bool

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
        if amount.lower().lstrip(b"+-") in (b"inf", b"infinity"):
            raise SimpleError("ERR value is NaN or Infinity")
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

    def expiretime(self, key: CommandItem) -> int:
        when: int = super().pexpiretime(key)  # type: ignore[misc]
        return when if when < 0 else (when + 500) // 1000

    def _expires(self, name: str, when: int, relative: bool, run: Callable[..., int], *args: Any) -> int:
        """Refuse what 64 bits cannot hold, in milliseconds; a time that has passed deletes the key at once."""
        if {option.lower() for option in args[2:]} == {b"gt", b"lt"}:
            raise SimpleError("ERR GT and LT options at the same time are not compatible")
        now = int(self._db.time * 1000)
        if not -(2**63) <= when < 2**63 or (relative and when + now >= 2**63):
            raise SimpleError(f"ERR invalid expire time in '{name}' command")
        result = run(*args)
        if result and when <= (0 if relative else now):
            args[0].value = None
        return result

    # Sets

    def sadd(self, key: CommandItem, *members: bytes) -> int:
        if key.value and all(member in key.value for member in members):
            return 0  # who watches the key is not told
        return super().sadd(key, *members)  # type: ignore[misc, no-any-return]

    @command("spop", fixed=(Key(ExpiringMembersSet),), repeat=(bytes,))
    def engine_spop(self, key: CommandItem, *args: bytes) -> Any:
        if len(args) > 1:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        return self.spop(key, *map(Int.decode, args))  # type: ignore[attr-defined]

    @command("sscan", fixed=(Key(ExpiringMembersSet), bytes), repeat=(bytes,))
    def engine_sscan(self, key: CommandItem, cursor: bytes, *args: bytes) -> Any:
        return self._scanned(key, cursor, self._sscan, args)

    @command("hscan", fixed=(Key(Hash), bytes), repeat=(bytes,))
    def engine_hscan(self, key: CommandItem, cursor: bytes, *args: bytes) -> Any:
        return self._scanned(key, cursor, self._hscan, args)

    @command("zscan", fixed=(Key(ZSet), bytes), repeat=(bytes,))
    def engine_zscan(self, key: CommandItem, cursor: bytes, *args: bytes) -> Any:
        return self._scanned(key, cursor, self._zscan, args)

    @staticmethod
    def _scanned(key: CommandItem, cursor: bytes, run: Callable[..., Any], args: tuple[bytes, ...]) -> Any:
        if not cursor.isdigit() or len(cursor) > 20 or int(cursor) >= 2**64:
            raise SimpleError("ERR invalid cursor")
        return run(key, int(cursor), *args) if key.value else [b"0", []]

    # Sorted sets

    def _zpop(self, key: CommandItem, *args: Any, **options: Any) -> Any:
        if key.value and type(key.value) is not ZSet:
            raise SimpleError(msgs.WRONGTYPE_MSG)
        return super()._zpop(key, *args, **options)  # type: ignore[misc]

    @command("zpopmin", fixed=(Key(ZSet),), repeat=(bytes,))
    def engine_zpopmin(self, key: CommandItem, *args: bytes) -> Any:
        return self._popped(key, self.zpopmin, args)  # type: ignore[attr-defined]

    @command("zpopmax", fixed=(Key(ZSet),), repeat=(bytes,))
    def engine_zpopmax(self, key: CommandItem, *args: bytes) -> Any:
        return self._popped(key, self.zpopmax, args)  # type: ignore[attr-defined]

    @staticmethod
    def _popped(key: CommandItem, run: Callable[..., Any], args: tuple[bytes, ...]) -> Any:
        if len(args) > 1:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        return run(key, *(Int.decode(arg, _POSITIVE) for arg in args))

    @command("zrangestore", fixed=(Key(), Key(ZSet), bytes, bytes), repeat=(bytes,))
    def engine_zrangestore(self, target: CommandItem, key: CommandItem, start: bytes, stop: bytes, *args: bytes) -> Any:
        if any(arg.lower() == b"withscores" for arg in args):
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        source = CommandItem(key.key, key.db, default=ZSet()) if key.value is None else key
        # What it replaces may be of any type.
        return self.zrangestore(target, source, start, stop, *args)  # type: ignore[attr-defined]

    @command("zrange", fixed=(Key(ZSet), bytes, bytes), repeat=(bytes,))
    def engine_zrange(self, key: CommandItem, start: bytes, stop: bytes, *args: bytes) -> Any:
        if {b"bylex", b"withscores"} <= {arg.lower() for arg in args}:
            raise SimpleError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
        return self.zrange(key, start, stop, *args)  # type: ignore[attr-defined]

    def smembers(self, key: CommandItem) -> list[bytes]:
        return _members(key)

    def _sscan(self, key: CommandItem, cursor: int, *args: bytes) -> Any:
        """A small set all at once and in the order of its members, as the encoding that Redis has for it is read."""
        held = _members(key)
        if len(held) > 512 or (len(held) > 128 and not is_int64(held[0])) or any(len(member) > 64 for member in held):
            return self.sscan(key, cursor, *args)  # type: ignore[attr-defined]
        _, found = self.sscan(key, 0, *args, b"COUNT", b"%d" % max(1, len(held)))  # type: ignore[attr-defined]
        matching = set(found)
        return [b"0", [member for member in held if member in matching]]

    def _hscan(self, key: CommandItem, cursor: int, *args: bytes) -> Any:
        """A small hash all at once and in the order of its fields, as the encoding that Redis has for it is read."""
        held = key.value.getall()
        if len(held) > 128 or any(len(part) > 64 for pair in held.items() for part in pair):
            return self.hscan(key, cursor, *args)  # type: ignore[attr-defined]
        _, found = self.hscan(key, 0, *args, b"COUNT", b"%d" % max(1, len(held)))  # type: ignore[attr-defined]
        if any(arg.lower() == b"novalues" for arg in args):
            matching = set(found)
            return [b"0", [field for field in held if field in matching]]
        matching = set(found[::2])
        return [b"0", [part for pair in held.items() if pair[0] in matching for part in pair]]

    def _zscan(self, key: CommandItem, cursor: int, *args: bytes) -> Any:
        """A small sorted set all at once and by score, as the encoding that Redis has for it is read."""
        held = key.value
        if len(held) > 128 or any(len(member) > 64 for member in held):
            return self.zscan(key, cursor, *args)  # type: ignore[attr-defined]
        _, pairs = self.zscan(key, 0, *args, b"COUNT", b"%d" % max(1, len(held)))  # type: ignore[attr-defined]
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


def _members(key: CommandItem) -> list[bytes]:
    """The members of a set: few integers, which Redis keeps in order, in theirs."""
    held = list(key.value)
    return sorted(held, key=int) if len(held) <= 512 and all(map(is_int64, held)) else held


def _is_integer(text: bytes) -> bool:
    return re.fullmatch(rb"-?[0-9]{1,19}", text) is not None


def _is_number(text: bytes) -> bool:
    try:
        increment(b"0", text)
    except SimpleError:
        return False
    return True
